//! What one take brought: chains, and the pieces of guest memory they are made of.

use crate::descriptor::RawDescriptor;
use crate::ending::Search;
use crate::long::LongWalk;
use crate::walk::Fault;
use crate::{QueueSize, RingLayout};
use luge_memory::{FixedSpan, Span};
use std::ops::Range;

/// The most chains of one take.
pub const BATCH: usize = 64;

/// Steps that a chain may always have, also where the ring is smaller: drivers that use
/// indirect tables go by `seg_max`, which they learn before they choose a size.
const STEPS_MIN: u16 = 128;

/// Steps that a chain may have in any ring, unless it is long.
const STEPS_MAX: u16 = 512;

/// Spans beyond one per descriptor, for buffers that lie across regions.
const SPANS_EXTRA: usize = 64;

/// Spans of an average chain, times a batch.
const SPANS_MIN: usize = 8 * BATCH;

/// The index of a chain's first descriptor: its name while it is in the device's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Head(pub u16);

/// How many descriptors a chain of a ring may have, indirect ones included, to be walked in one take.
/// Those that have more are long ([`crate::long`]).
pub(crate) fn steps_max(size: QueueSize) -> u16 {
    size.get().clamp(STEPS_MIN, STEPS_MAX)
}

/// A chain's spans in the list: `first..writable` and `writable..end`.
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
pub(crate) enum Shape<const HEADER: usize, const STATUS: usize> {
    Plain(Plain<HEADER, STATUS>),
    /// Anything else, with its spans in the list.
    Any {
        fault: Option<Fault>,
        extent: Extent,
    },
}

impl<const HEADER: usize, const STATUS: usize> Shape<HEADER, STATUS> {
    /// A chain without spans.
    pub(crate) const NONE: Self = Self::Any { fault: None, extent: Extent { first: 0, writable: 0, end: 0 } };
}

/// The pieces of a plain chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<const HEADER: usize, const STATUS: usize> {
    pub(crate) header: FixedSpan<HEADER>,
    pub(crate) data: Span,
    pub(crate) status: FixedSpan<STATUS>,
    pub(crate) direction: Direction,
}

/// A chain of the batch: what it begins with, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<const HEADER: usize, const STATUS: usize> {
    pub(crate) head: Head,
    /// The descriptor there.
    pub(crate) descriptor: RawDescriptor,
    pub(crate) shape: Shape<HEADER, STATUS>,
}

impl<const HEADER: usize, const STATUS: usize> Record<HEADER, STATUS> {
    /// What is in a place where there was no chain yet.
    const NONE: Self = Self { head: Head(0), descriptor: RawDescriptor::NONE, shape: Shape::NONE };
}

/// Pieces of a plain chain.
const PIECES: usize = 3;

/// The chains of one take, of requests that mostly begin with `HEADER` bytes and end with `STATUS`
/// bytes. Made once per queue and used again and again.
pub struct Batch<const HEADER: usize, const STATUS: usize> {
    /// The first `len` count.
    pub(crate) records: [Record<HEADER, STATUS>; BATCH],
    pub(crate) len: usize,
    /// Number of chains that are not long: all, or all but the last.
    pub(crate) walked: usize,
    /// Room for those of a plain chain, then those of others.
    pub(crate) spans: Box<[Span]>,
    /// The search in the last chain at fault.
    pub(crate) search: Search,
    /// The walk of the last chain, if that is long.
    pub(crate) long: Option<LongWalk>,
}

impl<const HEADER: usize, const STATUS: usize> Batch<HEADER, STATUS> {
    /// Room for the chains of a queue with this layout.
    #[must_use]
    pub fn new(layout: &RingLayout) -> Self {
        let spans = usize::from(steps_max(layout.size)).saturating_add(SPANS_EXTRA).max(SPANS_MIN);
        let spans = vec![Span::EMPTY; PIECES.saturating_add(spans)].into_boxed_slice();
        Self {
            records: [Record::NONE; BATCH],
            len: 0,
            walked: 0,
            spans,
            search: Search::new(layout.size),
            long: None,
        }
    }

    /// Room for the spans of chains that are not plain.
    pub(crate) fn others(spans: &mut [Span]) -> &mut [Span] {
        spans.get_mut(PIECES..).unwrap_or_default()
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

    /// Chain `index`, in the order the driver made them available; none if it is long. Its spans last until
    /// this is called for another chain.
    #[inline]
    pub fn chain(&mut self, index: usize) -> Option<Chain<'_>> {
        if index >= self.len || self.is_long(index) {
            return None;
        }
        let Record { head, shape, .. } = *self.records.get(index)?;
        let (fault, extent) = match shape {
            Shape::Plain(Plain { header, data, status, direction }) => {
                *self.spans.first_chunk_mut()? = [header.into(), data, status.into()];
                (None, direction.extent())
            }
            Shape::Any { fault, extent } => (fault, extent.after(PIECES)),
        };
        let readable_len = extent.writable.checked_sub(extent.first)?;
        let spans = self.spans.get_mut(extent.first..extent.end)?;
        let (readable, writable) = spans.split_at_mut_checked(readable_len)?;
        Some(Chain { head, fault, first: extent.first, readable, writable })
    }

    /// The chains from `index` on, at most so many, as far as they are framed and were walked
    /// straight: with one piece of data, which nearly all have.
    #[inline]
    pub fn plain(&self, index: usize, most: usize) -> impl Iterator<Item = Framed<'_, HEADER, STATUS>> {
        self.from(index, most).map_while(|&Record { head, ref shape, .. }| {
            let &Shape::Plain(Plain { header, ref data, status, direction }) = shape else { return None };
            let (data, bytes) = (std::slice::from_ref(data), data.len());
            Some(Framed { head, header, data, bytes, direction, status })
        })
    }

    /// The chains from `index` on, at most so many, as far as they are framed, but took the general
    /// walk: nearly all of those have several pieces of data.
    #[inline]
    pub fn several(&self, index: usize, most: usize) -> impl Iterator<Item = Framed<'_, HEADER, STATUS>> {
        self.from(index, most).map_while(|&Record { head, ref shape, .. }| match shape {
            Shape::Any { fault: None, extent } => self.framed(head, extent),
            Shape::Any { fault: Some(_), .. } | Shape::Plain(_) => None,
        })
    }

    #[inline]
    fn from(&self, index: usize, most: usize) -> impl Iterator<Item = &Record<HEADER, STATUS>> {
        let end = self.walked.min(index.saturating_add(most));
        self.records.get(index..end).unwrap_or_default().iter()
    }

    /// A chain that took the general walk, if it is framed.
    #[inline(never)]
    fn framed(&self, head: Head, &extent: &Extent) -> Option<Framed<'_, HEADER, STATUS>> {
        let Extent { first, writable, end } = extent.after(PIECES);
        let [header, data @ .., status] = self.spans.get(first..end)? else { return None };
        if data.is_empty() {
            return None;
        }
        let direction = if writable == first.checked_add(1)? {
            Direction::Written
        } else if writable == end.checked_sub(1)? {
            Direction::Read
        } else {
            return None;
        };
        let bytes = u32::try_from(Span::total(data)).ok()?;
        Some(Framed { head, header: header.fixed()?, data, bytes, direction, status: status.fixed()? })
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
    /// The fault of a chain that is not as it must be. There is nothing to read then, and one byte to
    /// write: the last one of the chain's last writable buffer, as far as the chain can be followed.
    /// Nothing to write is left where it has no such buffer, or that byte is not in the guest's memory.
    pub fault: Option<Fault>,
    /// Index of its first span in the batch: those it reads, then those it writes.
    pub first: usize,
    /// What the device reads.
    pub readable: &'a mut [Span],
    /// What the device writes.
    pub writable: &'a mut [Span],
}

/// A chain as nearly all requests are: a header to read, data, and a status to write, where header
/// and status are in one piece each. Nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'a, const HEADER: usize, const STATUS: usize> {
    /// Its name.
    pub head: Head,
    /// What the device reads first.
    pub header: FixedSpan<HEADER>,
    /// The data. No piece is empty.
    pub data: &'a [Span],
    /// How many bytes of data there are.
    pub bytes: u32,
    /// What the device does with the data.
    pub direction: Direction,
    /// What the device writes last.
    pub status: FixedSpan<STATUS>,
}

/// What the device does with the data of a [`Framed`] chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It reads it.
    Read,
    /// It writes it.
    Written,
}

impl Direction {
    /// Where a plain chain's spans are, at the start of the list.
    pub(crate) fn extent(self) -> Extent {
        let readable = match self {
            Self::Read => 2,
            Self::Written => 1,
        };
        Extent { first: 0, writable: readable, end: PIECES }
    }
}
