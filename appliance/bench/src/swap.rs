//! Contract between the increments and a protocol: compare-and-write of a disk's first block.

use crate::queue::{Done, Queue};
use luge_memory::Span;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: u32 = 512;

/// A queue whose protocol has compare-and-write.
pub(crate) trait Swap: Queue {
    /// Blocks of a request's data.
    const BLOCKS: u32;
    /// Number of slots.
    const SLOTS: u16;
    /// The slot whose request reads the block.
    const READER: u16;

    /// Data that the first block is compared with, and data that it gets.
    fn operands(&self) -> [Span; 2];

    /// Submits and shows a compare-and-write of the first block.
    fn submit_swap(&mut self);

    /// Whether the block was written, according to the answers.
    ///
    /// # Errors
    /// Name of a status that is neither.
    fn was_swapped(&self, done: &[Done]) -> Result<bool, String>;
}
