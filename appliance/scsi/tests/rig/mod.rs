//! A logical unit as tests see it.

use luge_block::{Blocks, Durability};
use luge_scsi::{SenseFormat, UnitView};

/// A unit of 1000 blocks that has all commands.
pub const UNIT: UnitView = UnitView {
    block_bytes: 512,
    blocks: Blocks(1000),
    read_only: false,
    least_durability: Durability::Cache,
    sense_format: SenseFormat::Fixed,
    unmap_blocks_max: 1000,
    write_same_blocks_max: 900,
    verify_blocks_max: 900,
    verify_data_blocks_max: 64,
    compare_and_write_blocks_max: 32,
};
