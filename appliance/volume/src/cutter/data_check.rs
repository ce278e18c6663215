//! Check of the data of a transfer, before any part of it is submitted.

use crate::limits::Limits;
use luge_block::{Operation, Status};
use luge_memory::Span;

/// Check that spans are exactly the memory of a transfer's blocks, with no block in more spans than its base
/// takes. Gets the spans in order, in as many pieces as the caller likes.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataCheck {
    block_bytes: u32,
    block_spans: usize,
    /// Bytes that are to come.
    missing: u64,
    /// Bytes that are to come of the block that the next span continues or begins.
    missing_of_block: u32,
    /// Number of that block's spans so far.
    spans_of_block: usize,
}

impl DataCheck {
    /// A check of the data of `blocks` blocks. Operations without data have no bytes.
    pub(super) fn new(operation: Operation, blocks: u32, limits: &Limits) -> Self {
        let Limits { block_bytes, block_spans, .. } = *limits;
        let bytes = if operation.moves_data() { block_bytes } else { 0 };
        let missing = u64::from(blocks) * u64::from(bytes);
        Self { block_bytes, block_spans, missing, missing_of_block: block_bytes, spans_of_block: 0 }
    }

    /// Checks all spans at once.
    pub(super) fn run(mut self, data: &[Span]) -> Result<(), Status> {
        self.add(data)?;
        self.end()
    }

    /// Checks the next spans.
    pub(super) fn add(&mut self, data: &[Span]) -> Result<(), Status> {
        let fits = data.iter().all(|span| self.add_one(span.len()).is_some());
        if fits { Ok(()) } else { Err(Status::Invalid) }
    }

    /// Checks that nothing is missing after the last span.
    pub(super) fn end(&self) -> Result<(), Status> {
        if self.missing == 0 { Ok(()) } else { Err(Status::Invalid) }
    }

    fn add_one(&mut self, len: u32) -> Option<()> {
        if len == 0 || self.spans_of_block >= self.block_spans {
            return None;
        }
        self.missing = self.missing.checked_sub(len.into())?;
        match len.checked_sub(self.missing_of_block) {
            None => {
                self.missing_of_block -= len;
                self.spans_of_block += 1;
            }
            Some(rest) => {
                let begun = rest % self.block_bytes;
                self.missing_of_block = self.block_bytes - begun;
                self.spans_of_block = usize::from(begun > 0);
            }
        }
        Some(())
    }
}
