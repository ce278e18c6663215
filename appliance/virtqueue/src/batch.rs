//! What one take brought: chains, and the pieces of guest memory they are made of.

use crate::walk::{Fault, RawDescriptor};
use crate::{QueueSize, RingLayout};
use luge_memory::Span;

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

/// A chain as it lies in the batch: its spans are `first..writable` and `writable..end`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) descriptor: RawDescriptor,
    pub(crate) first: usize,
    pub(crate) writable: usize,
    pub(crate) end: usize,
    pub(crate) fault: Option<Fault>,
}

/// The chains of one take. Made once per queue and used again and again.
pub struct Batch {
    pub(crate) records: Vec<Record>,
    pub(crate) spans: Vec<Span>,
}

impl Batch {
    /// Room for the chains of a queue with this layout.
    #[must_use]
    pub fn new(layout: &RingLayout) -> Self {
        let spans = usize::from(steps_max(layout.size)).saturating_add(SPANS_EXTRA).max(SPANS_MIN);
        Self { records: Vec::with_capacity(BATCH), spans: Vec::with_capacity(spans) }
    }

    /// Number of chains.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Chain `index`, in the order the driver made them available.
    #[inline]
    pub fn chain(&mut self, index: usize) -> Option<Chain<'_>> {
        let Record { head, first, writable, end, fault, .. } = *self.records.get(index)?;
        let readable_len = writable.checked_sub(first)?;
        let (readable, writable) = self.spans.get_mut(first..end)?.split_at_mut_checked(readable_len)?;
        Some(Chain { head, fault, readable, writable })
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.spans.clear();
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
    /// What the device reads.
    pub readable: &'a mut [Span],
    /// What the device writes.
    pub writable: &'a mut [Span],
}
