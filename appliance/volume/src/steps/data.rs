//! Memory that a request compares blocks with, and that it writes.

use crate::buffer::{gather, skip};
use luge_memory::Span;
use std::convert::Infallible;
use std::ops::Range;

/// Spans of a request: those that are compared, and behind them those that are written.
#[derive(Default)]
pub(super) struct Data {
    spans: Box<[Span]>,
    /// Spans that are left to be compared. The first one is shortened as it is used up.
    compared: Range<usize>,
    written: Range<usize>,
}

impl Data {
    /// Room for the spans of a request, of which one may lie in both halves of a compare-and-write.
    pub(super) fn new(spans: usize) -> Self {
        Self { spans: vec![Span::EMPTY; spans + 1].into_boxed_slice(), ..Self::default() }
    }

    /// Takes the memory of a request, of which the first `compared` bytes are compared. It fits.
    pub(super) fn take(&mut self, data: &[Span], compared: u64) {
        let (mut left, mut places) = (compared, self.spans.iter_mut());
        let (mut used, mut all) = (0, 0);
        for span in data {
            let (first, second) = span.split_at(u32::try_from(left).unwrap_or(u32::MAX));
            left -= u64::from(first.len());
            for (part, place) in [first, second].into_iter().filter(|part| !part.is_empty()).zip(&mut places)
            {
                *place = part;
                all += 1;
            }
            used += usize::from(!first.is_empty());
        }
        (self.compared, self.written) = (0..used, used..all);
    }

    /// Spans that are left to be compared.
    pub(super) fn compared(&self) -> &[Span] {
        self.spans.get(self.compared.clone()).unwrap_or_default()
    }

    /// Compares the next bytes, and goes on behind them.
    ///
    /// # Errors
    /// The number of bytes before the first that differs.
    pub(super) fn compare(&mut self, with: Span) -> Result<(), u32> {
        first_difference(self.compared(), with)?;
        self.skip(with.len());
        Ok(())
    }

    /// Compares the memory, which is one block, with each of the blocks.
    ///
    /// # Errors
    /// The number of bytes before the first that differs.
    pub(super) fn compare_each(&self, blocks: Span, block_bytes: u32) -> Result<(), u32> {
        for_each_block(blocks, block_bytes, |offset, block| {
            first_difference(self.compared(), block).map_err(|equal| offset + equal)
        })
    }

    /// Copies the memory, which is one block, to each of the blocks; zeroes, where there is none.
    pub(super) fn fill(&self, blocks: Span, block_bytes: u32) {
        let (first, others) = blocks.split_at(block_bytes);
        if self.compared().is_empty() {
            return blocks.fill(0);
        }
        gather(self.compared(), first);
        let copy = |_, block| -> Result<(), Infallible> {
            first.copy_to(&block);
            Ok(())
        };
        let Ok(()) = for_each_block(others, block_bytes, copy);
    }

    /// Copies the next bytes that are compared into one piece.
    pub(super) fn gather_compared(&self, to: Span) {
        gather(self.compared(), to);
    }

    /// Goes on behind the next `bytes` bytes that are compared.
    pub(super) fn skip(&mut self, bytes: u32) {
        let spans = self.spans.get_mut(self.compared.clone()).unwrap_or_default();
        self.compared.start += skip(spans, bytes);
    }

    /// Copies what is to be written into one piece.
    pub(super) fn gather_written(&self, to: Span) {
        gather(self.spans.get(self.written.clone()).unwrap_or_default(), to);
    }
}

/// Compares spans with as many bytes in one piece.
///
/// # Errors
/// The number of bytes before the first that differs.
fn first_difference(spans: &[Span], with: Span) -> Result<(), u32> {
    let (mut rest, mut equal) = (with, 0);
    for span in spans {
        let (part, after) = rest.split_at(span.len());
        if let Some(differs) = part.first_difference(span) {
            return Err(equal + differs);
        }
        (rest, equal) = (after, equal + part.len());
    }
    Ok(())
}

/// Calls `work` with the offset of each block, and the block, until it fails.
fn for_each_block<E>(
    blocks: Span,
    block_bytes: u32,
    mut work: impl FnMut(u32, Span) -> Result<(), E>,
) -> Result<(), E> {
    let (mut rest, mut offset) = (blocks, 0);
    while !rest.is_empty() {
        let (block, after) = rest.split_at(block_bytes);
        work(offset, block)?;
        (rest, offset) = (after, offset + block.len());
    }
    Ok(())
}
