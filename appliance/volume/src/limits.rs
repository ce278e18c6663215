//! Limits of a volume's base. What exceeds them is cut.

use luge_block::{Geometry, Operation, OperationLimits, Request};
use luge_memory::Span;

/// Limits of the base of a volume.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) block_bytes: u32,
    /// Blocks of a read or write.
    pub(crate) transfer_blocks: u32,
    /// Spans of a read or write.
    pub(crate) spans: usize,
    /// Spans of a block: without limit where the base has memory for a block in too many.
    pub(crate) block_spans: usize,
    /// Blocks of a write that is never cut.
    atomic_blocks: u32,
    /// Blocks of a discard; zero where the base cannot discard.
    discard_blocks: u32,
    /// Blocks of a write of zeroes; zero where the base cannot.
    write_zeroes_blocks: u32,
    /// Blocks of what the base does in one step; zeroes where it cannot.
    pub(crate) native: OperationLimits,
}

impl From<&Geometry> for Limits {
    fn from(geometry: &Geometry) -> Self {
        Self {
            block_bytes: geometry.block_bytes,
            transfer_blocks: geometry.transfer_blocks_max,
            spans: geometry.spans_max.into(),
            block_spans: geometry.spans_max.into(),
            atomic_blocks: geometry.atomic_blocks,
            discard_blocks: geometry.discard_blocks_max,
            write_zeroes_blocks: geometry.write_zeroes_blocks_max,
            native: geometry.operations,
        }
    }
}

impl Limits {
    /// Limits of a base that has memory for a block in more spans than it takes.
    pub(crate) fn with_block_buffer(self) -> Self {
        Self { block_spans: usize::MAX, ..self }
    }

    /// Whether no block of a transfer's data is in too many spans. Those must be refused before a part of the
    /// transfer takes effect.
    pub(crate) fn take_blocks_of(&self, data: &[Span]) -> bool {
        let (mut missing, mut spans) = (self.block_bytes, 0);
        data.iter().all(|span| {
            let fits = spans < self.block_spans;
            match span.len().checked_sub(missing) {
                None => {
                    missing -= span.len();
                    spans += 1;
                }
                Some(rest) => {
                    let begun = rest % self.block_bytes;
                    (missing, spans) = (self.block_bytes - begun, usize::from(begun > 0));
                }
            }
            fits
        })
    }

    /// The most blocks of a request that has blocks; zero where the base cannot do it.
    pub(crate) fn blocks(&self, operation: Operation) -> u32 {
        match operation {
            Operation::Read | Operation::Write(_) | Operation::Flush => self.transfer_blocks,
            Operation::Discard => self.discard_blocks,
            Operation::WriteZeroes | Operation::WriteZeroesUnmap => self.write_zeroes_blocks,
            Operation::Compare => self.native.compare_blocks_max,
            Operation::Verify => self.native.verify_blocks_max,
            Operation::CompareAndWrite(_) => self.native.compare_and_write_blocks_max,
            Operation::WriteUncorrectable => self.native.write_uncorrectable_blocks_max,
        }
    }

    /// Whether a request is a write that must not be cut.
    pub(crate) fn keep_whole(&self, operation: Operation, blocks: u32) -> bool {
        matches!(operation, Operation::Write(_)) && blocks <= self.atomic_blocks
    }

    /// Whether a request is beyond the limits, and can be cut. One that the base cannot do at all is for
    /// the base to refuse.
    pub(crate) fn cut(&self, request: &Request<'_>) -> bool {
        let Request { operation, blocks, data, .. } = *request;
        match operation {
            Operation::Flush | Operation::Compare | Operation::Verify | Operation::CompareAndWrite(_) => {
                false
            }
            Operation::Read | Operation::Write(_) => blocks > self.transfer_blocks || data.len() > self.spans,
            Operation::Discard
            | Operation::WriteZeroes
            | Operation::WriteZeroesUnmap
            | Operation::WriteUncorrectable => (1..blocks).contains(&self.blocks(operation)),
        }
    }
}
