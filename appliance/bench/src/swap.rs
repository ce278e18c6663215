//! Contract between the increments and a protocol: compare-and-write of a disk's first block.

use crate::queue::{Done, Queue};
use luge_memory::Span;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: u32 = 512;

/// Compare-and-writes at the same time.
pub(crate) const SWAPS: u16 = 16;

/// A queue whose protocol has compare-and-write.
pub(crate) trait Swap: Queue {
    /// Blocks of a request's data.
    const BLOCKS: u32;
    /// Number of slots of a compare-and-write.
    const SLOTS_EACH: u16;
    /// The slot whose request reads the block: that behind all of those.
    const READER: u16 = SWAPS * Self::SLOTS_EACH;

    /// Data that the first block is compared with, and data that it gets, by a compare-and-write.
    fn operands(&self, swap: u16) -> [Span; 2];

    /// Submits a compare-and-write of the first block.
    fn submit_swap(&mut self, swap: u16);

    /// Whether a compare-and-write has written the block, according to the answers.
    ///
    /// # Errors
    /// Name of a status that is neither.
    fn was_swapped(&self, swap: u16, done: &[Done]) -> Result<bool, String>;
}
