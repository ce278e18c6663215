//! Logical units, as cores know them.

use crate::sense::SenseFormat;
use luge_block::{Blocks, Durability, Geometry};

/// Bytes of the longest WRITE SAME, and of the longest VERIFY without data: a tenth of a second of an SSD's work. Whoever
/// aborts such a command, or removes its unit, waits for its end.
const LONGEST_BYTES: u32 = 256 << 20;

/// Size, limits and settings of a logical unit, as commands are checked against them. Plain data, which a change of the
/// unit replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitView {
    /// Size of a block in bytes.
    pub block_bytes: u32,
    /// Number of blocks.
    pub blocks: Blocks,
    /// Whether everything that changes data is refused.
    pub read_only: bool,
    /// Durability that writes have at least: on the media, where the write cache is off (WCE=0).
    pub least_durability: Durability,
    /// Format of sense data (D_SENSE).
    pub sense_format: SenseFormat,
    /// The most blocks of one UNMAP in all its ranges together; zero where nothing can be deallocated.
    pub unmap_blocks_max: u32,
    /// The most blocks of one WRITE SAME.
    pub write_same_blocks_max: u32,
    /// The most blocks of one VERIFY without data, or with one block of data for all.
    pub verify_blocks_max: u32,
    /// The most blocks of one VERIFY or WRITE AND VERIFY with data.
    pub verify_data_blocks_max: u32,
    /// The most blocks of one COMPARE AND WRITE.
    pub compare_and_write_blocks_max: u8,
}

impl UnitView {
    /// The view of a unit whose volume has a geometry: with a write cache, and sense data in fixed format.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        let blocks_max = u32::try_from(geometry.blocks.0).unwrap_or(u32::MAX);
        let longest = LONGEST_BYTES.checked_div(geometry.block_bytes).unwrap_or(0).max(1);
        let operations = geometry.operations;
        let compare_and_write = u8::try_from(operations.compare_and_write_blocks_max).unwrap_or(u8::MAX);
        Self {
            block_bytes: geometry.block_bytes,
            blocks: geometry.blocks,
            read_only: geometry.read_only,
            least_durability: Durability::Cache,
            sense_format: SenseFormat::Fixed,
            unmap_blocks_max: if geometry.discard_blocks_max == 0 { 0 } else { blocks_max },
            write_same_blocks_max: longest,
            verify_blocks_max: longest,
            verify_data_blocks_max: operations.compare_blocks_max,
            compare_and_write_blocks_max: compare_and_write,
        }
    }
}
