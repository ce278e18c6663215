//! Requests.

use crate::{Lba, Operation, Tag};
use luge_memory::Span;

/// One request to a channel. Borrowed during `submit` only: a channel that needs the spans
/// longer copies them.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Comes back in the completion.
    pub tag: Tag,
    /// Operation of a request.
    pub operation: Operation,
    /// The first block. Nothing looks at it in a flush.
    pub lba: Lba,
    /// Number of blocks: at least one, but in a flush, where nothing looks at it.
    pub blocks: u32,
    /// The memory of a read, write or compare: together exactly `blocks` blocks long, none empty,
    /// of any alignment; twice that of a compare-and-write. Empty for other operations.
    pub data: &'a [Span],
}

/// Blocks to be discarded or zeroed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRange {
    /// A discard, or one of the writes of zeroes.
    pub operation: Operation,
    /// The first block.
    pub lba: Lba,
    /// Number of blocks, at least one.
    pub blocks: u32,
}

impl BlockRange {
    /// A range of no blocks.
    pub const EMPTY: Self = Self { operation: Operation::Discard, lba: Lba(0), blocks: 0 };
}

/// Blocks that are the source of a copy, or a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyRange {
    /// The first block.
    pub lba: Lba,
    /// Number of blocks, at least one.
    pub blocks: u32,
}

impl CopyRange {
    /// A range of no blocks.
    pub const EMPTY: Self = Self { lba: Lba(0), blocks: 0 };
}
