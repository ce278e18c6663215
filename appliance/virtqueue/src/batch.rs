//! What one take brought: chains, and the pieces of guest memory they are made of.

use crate::descriptor::RawDescriptor;
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

/// A chain's spans in the batch: `first..writable` and `writable..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: usize,
    pub(crate) writable: usize,
    pub(crate) end: usize,
}

impl Extent {
    /// The same after so many spans.
    fn after(self, spans: usize) -> Self {
        let [first, writable, end] = [self.first, self.writable, self.end].map(|at| at.saturating_add(spans));
        Self { first, writable, end }
    }
}

/// What came of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Three pieces, at its place in `Batch::plain`.
    Plain(Direction),
    /// Anything else, with its spans behind those of all plain chains.
    Any { fault: Option<Fault>, extent: Extent },
}

/// A chain as it lies in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) shape: Shape,
}

/// Pieces of a plain chain.
pub(crate) const PIECES: usize = 3;

/// Spans at the start of the list that belong to plain chains: some for each chain of a batch.
pub(crate) const PLAIN_SPANS: usize = PIECES * BATCH;

/// The chains of one take. Made once per queue and used again and again.
pub struct Batch {
    /// What a take begins with: heads, and the descriptors there.
    pub(crate) begun: [(Head, RawDescriptor); BATCH],
    /// What came of it; the first `len` count.
    pub(crate) records: [Record; BATCH],
    pub(crate) len: usize,
    /// Those of plain chains, then those of others.
    pub(crate) spans: Box<[Span]>,
}

impl Batch {
    /// Room for the chains of a queue with this layout.
    #[must_use]
    pub fn new(layout: &RingLayout) -> Self {
        let spans = usize::from(steps_max(layout.size)).saturating_add(SPANS_EXTRA).max(SPANS_MIN);
        Self {
            begun: [Default::default(); BATCH],
            records: [Record { head: Head(0), shape: Shape::Plain(Direction::Read) }; BATCH],
            len: 0,
            spans: vec![Span::EMPTY; PLAIN_SPANS.saturating_add(spans)].into_boxed_slice(),
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
        let Record { head, shape } = *self.records.get(index)?;
        let (fault, extent) = match shape {
            Shape::Plain(direction) => (None, direction.extent().after(index.checked_mul(PIECES)?)),
            Shape::Any { fault, extent } => (fault, extent.after(PLAIN_SPANS)),
        };
        let readable_len = extent.writable.checked_sub(extent.first)?;
        let spans = self.spans.get_mut(extent.first..extent.end)?;
        let (readable, writable) = spans.split_at_mut_checked(readable_len)?;
        Some(Chain { head, fault, first: extent.first, readable, writable })
    }

    /// The chains from `index` on, as far as they are plain, and at most so many.
    #[inline]
    pub fn plain(&self, index: usize, most: usize) -> impl Iterator<Item = PlainChain<'_>> {
        let records = self.records.get(index..self.len).unwrap_or_default();
        let (pieces, _) = self.spans.as_chunks::<PIECES>();
        let pieces = pieces.get(index..).unwrap_or_default();
        records.iter().zip(pieces).take(most).map_while(|(record, [header, data, status])| {
            let Shape::Plain(direction) = record.shape else { return None };
            Some(PlainChain { head: record.head, header, data, direction, status })
        })
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

/// A chain as most requests are: a piece to read, one of data, and a piece to write, each in one
/// region of memory, none empty. Nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct PlainChain<'a> {
    /// Its name.
    pub head: Head,
    /// The first piece, which the device reads.
    pub header: &'a Span,
    /// The second.
    pub data: &'a Span,
    /// What the device does with the second.
    pub direction: Direction,
    /// The third piece, which the device writes.
    pub status: &'a Span,
}

/// What the device does with the data of a [`PlainChain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It reads it.
    Read,
    /// It writes it.
    Written,
}

impl Direction {
    /// Where a plain chain's spans are, if the first is the first of all.
    fn extent(self) -> Extent {
        let readable = match self {
            Self::Read => 2,
            Self::Written => 1,
        };
        Extent { first: 0, writable: readable, end: PIECES }
    }
}
