//! What one take brought: chains, and the pieces of guest memory they are made of.

use crate::descriptor::RawDescriptor;
use crate::plain::Extent;
use crate::walk::Fault;
use crate::{QueueSize, RingLayout};
use luge_memory::Span;
use std::ops::Range;

/// The most chains of one take.
pub const BATCH: usize = 64;

/// Steps that a chain may always have, also where the ring is smaller: drivers that use
/// indirect tables go by `seg_max`, which they learn before they choose a size.
const STEPS_MIN: u16 = 128;

/// Spans beyond one per descriptor, for buffers that lie across regions.
const SPANS_EXTRA: usize = 64;

/// Spans of an average chain, times a batch.
const SPANS_MIN: usize = 8 * BATCH;

/// The index of a chain's first descriptor: its name while it is in the device's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Head(pub u16);

/// How many descriptors a chain of a ring may have, indirect ones included.
pub(crate) fn steps_max(size: QueueSize) -> u16 {
    size.get().max(STEPS_MIN)
}

/// A chain as it lies in the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) fault: Option<Fault>,
    pub(crate) extent: Extent,
}

/// The chains of one take. Made once per queue and used again and again.
pub struct Batch {
    /// What a take begins with: heads, and the descriptors there.
    pub(crate) begun: [(Head, RawDescriptor); BATCH],
    /// What came of it; the first `len` count.
    pub(crate) records: [Record; BATCH],
    pub(crate) len: usize,
    pub(crate) spans: Box<[Span]>,
}

impl Batch {
    /// Room for the chains of a queue with this layout.
    #[must_use]
    pub fn new(layout: &RingLayout) -> Self {
        let spans = usize::from(steps_max(layout.size)).saturating_add(SPANS_EXTRA).max(SPANS_MIN);
        Self {
            begun: [Default::default(); BATCH],
            records: [Record::default(); BATCH],
            len: 0,
            spans: vec![Span::EMPTY; spans].into_boxed_slice(),
        }
    }

    /// Number of chains.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Chain `index`, in the order the driver made them available.
    #[inline]
    pub fn chain(&mut self, index: usize) -> Option<Chain<'_>> {
        if index >= self.len {
            return None;
        }
        let Record { head, fault, extent } = *self.records.get(index)?;
        let readable_len = extent.writable.checked_sub(extent.first)?;
        let spans = self.spans.get_mut(extent.first..extent.end)?;
        let (readable, writable) = spans.split_at_mut_checked(readable_len)?;
        Some(Chain { head, fault, first: extent.first, readable, writable })
    }

    /// Spans of the batch, by their indices; none past the end.
    #[inline]
    pub fn spans(&mut self, range: Range<usize>) -> Option<&mut [Span]> {
        self.spans.get_mut(range)
    }
}

/// A descriptor chain: guest memory to read from, and guest memory to write to. The spans
/// are the caller's to cut; none is empty.
#[derive(Debug)]
pub struct Chain<'a> {
    /// Its name.
    pub head: Head,
    /// What is wrong with it, if something is. The readable spans are then of no use; the
    /// writable ones are those at the end of the chain, after the last fault, if any.
    pub fault: Option<Fault>,
    /// Index of its first span in the batch: those it reads, then those it writes.
    pub first: usize,
    /// What the device reads.
    pub readable: &'a mut [Span],
    /// What the device writes.
    pub writable: &'a mut [Span],
}
