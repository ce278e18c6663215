//! The chains of one take, and the spans of guest memory that they are made of.

use crate::RingLayout;
use crate::chain::{Chain, ChainBytes, Direction, Extent, Fault, Head, RequestChain};
use crate::chain_layout::{ChainLayout, FixedPiece, ResponsePlace};
use crate::descriptor::RawDescriptor;
use crate::ending::{Search, Wanted};
use crate::long::LongWalk;
use luge_memory::Span;
use std::ops::Range;

/// The most chains of one take.
pub const BATCH: usize = 64;

/// Most descriptors of a chain that is walked in one take, indirect ones included, also where the ring is smaller:
/// as many as drivers make that obey a `seg_max` of 126. Chains that have more are long ([`crate::long`]).
pub(crate) const STEPS_MAX: u16 = 128;

/// Spans beyond one per descriptor, for buffers that lie across regions.
const SPANS_EXTRA: usize = 64;

/// Number of spans of a batch, and so the most of a chain that is not long: eight for each chain.
pub const BATCH_SPANS: usize = 8 * BATCH;

const _: () = assert!(BATCH_SPANS > STEPS_MAX as usize + SPANS_EXTRA);

/// A chain that was walked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<L: ChainLayout> {
    /// A single-segment request, accepted by the fast walk.
    Single(SingleSegment<L>),
    /// Any other chain, with its spans in the list.
    Listed { fault: Option<Fault>, extent: Extent },
}

impl<L: ChainLayout> Shape<L> {
    /// A chain without spans.
    pub(crate) const NONE: Self =
        Self::Listed { fault: None, extent: Extent { first: 0, writable: 0, end: 0 } };
}

/// A request whose header, data and response are one descriptor and one span each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SingleSegment<L: ChainLayout> {
    pub(crate) header: L::Header,
    pub(crate) data: Span,
    pub(crate) response: L::Response,
    pub(crate) direction: Direction,
}

impl<L: ChainLayout> SingleSegment<L> {
    /// Spans of the chain, in its order.
    pub(crate) fn spans(&self) -> [Span; PIECES] {
        let (header, data, response) = (self.header.into(), self.data, self.response.into());
        match (L::RESPONSE, self.direction) {
            (ResponsePlace::First, Direction::Written) => [header, response, data],
            _ => [header, data, response],
        }
    }

    /// Extent of those spans.
    pub(crate) fn extent(&self) -> Extent {
        let readable = match self.direction {
            Direction::Read => 2,
            Direction::Written => 1,
        };
        Extent { first: 0, writable: readable, end: PIECES }
    }
}

/// A chain of the batch: its first descriptor, and the result of its walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<L: ChainLayout> {
    pub(crate) head: Head,
    /// The descriptor at that index.
    pub(crate) descriptor: RawDescriptor,
    pub(crate) shape: Shape<L>,
}

impl<L: ChainLayout> Record<L> {
    /// A place without a chain.
    const NONE: Self = Self { head: Head(0), descriptor: RawDescriptor::NONE, shape: Shape::NONE };
}

/// Pieces of a single-segment request.
const PIECES: usize = 3;

/// The chains of one take, of requests that mostly have the layout `L`. Made once per queue and reused.
pub struct Batch<L: ChainLayout> {
    /// The first `len` count.
    pub(crate) records: [Record<L>; BATCH],
    pub(crate) len: usize,
    /// Number of chains that are not long: all, or all but the last.
    pub(crate) walked: usize,
    /// Room for the spans of one single-segment request, then the spans of all other chains.
    pub(crate) spans: Box<[Span]>,
    /// The search for the response of a chain at fault.
    pub(crate) search: Search,
    /// The walk of the last chain, if that is long.
    pub(crate) long: Option<LongWalk>,
    /// Descriptors after which a take ends, of chains that take the general walk.
    pub(crate) steps_allowed: usize,
    /// Descriptors that the general walk and the search have gone through since the last take, or [`Self::allow`].
    pub(crate) steps: usize,
}

/// Descriptors of general walks after which a take ends, unless [`Batch::allow`] says otherwise.
const STEPS_PER_TAKE: usize = 1024;

impl<L: ChainLayout> Batch<L> {
    /// An empty batch for a queue with this layout.
    #[must_use]
    pub fn new(layout: &RingLayout) -> Self {
        let spans = vec![Span::EMPTY; PIECES.saturating_add(BATCH_SPANS)].into_boxed_slice();
        Self {
            records: [Record::NONE; BATCH],
            len: 0,
            walked: 0,
            spans,
            search: Search::new(layout.size, Wanted::of::<L>()),
            long: None,
            steps_allowed: STEPS_PER_TAKE,
            steps: 0,
        }
    }

    /// Lets each take, and each step of a long walk, go through about `steps` descriptors that the fast walk does
    /// not take, from now on. The rest of the chains is for the next take.
    #[inline]
    pub fn allow(&mut self, steps: usize) {
        (self.steps_allowed, self.steps) = (steps.max(1), 0);
    }

    /// Descriptors that were gone through since the last take, or [`Self::allow`], other than by the fast walk.
    #[inline]
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Takes the number of [`Self::steps`], which then begins at zero.
    #[inline]
    pub fn take_steps(&mut self) -> usize {
        std::mem::take(&mut self.steps)
    }

    /// Room for the spans of chains that are not single-segment requests.
    pub(crate) fn listed(spans: &mut [Span]) -> &mut [Span] {
        spans.get_mut(PIECES..).unwrap_or_default()
    }

    /// Number of chains.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of chains that are not long.
    #[must_use]
    pub fn walked(&self) -> usize {
        self.walked
    }

    /// Whether the batch has no chain.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether chain `index` is one that [`crate::SplitQueue::walk_long`] walks. It is the last one then.
    #[must_use]
    pub fn is_long(&self, index: usize) -> bool {
        self.long.is_some() && index.checked_add(1) == Some(self.len)
    }

    /// Head of the long chain at the end of the batch; none if there is no such chain.
    #[must_use]
    pub fn long_head(&self) -> Option<Head> {
        self.long.as_ref()?;
        self.records.get(self.walked).map(|record| record.head)
    }

    /// First spans of a long chain, those that the device reads, as the take has found them; none of any other.
    #[must_use]
    pub fn beginning(&self, index: usize) -> &[Span] {
        let record = self.records.get(index).filter(|_| self.is_long(index));
        let Some(Record { shape: Shape::Listed { extent, .. }, .. }) = record else { return &[] };
        let Extent { first, writable, .. } = extent.after(PIECES);
        self.spans.get(first..writable).unwrap_or_default()
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
            Shape::Single(request) => {
                *self.spans.first_chunk_mut()? = request.spans();
                (None, request.extent())
            }
            Shape::Listed { fault, extent } => (fault, extent.after(PIECES)),
        };
        let readable_len = extent.writable.checked_sub(extent.first)?;
        let spans = self.spans.get_mut(extent.first..extent.end)?;
        let (readable, writable) = spans.split_at_mut_checked(readable_len)?;
        let bytes = ChainBytes::of(readable, writable);
        Some(Chain { head, fault, first: extent.first, readable, writable, bytes })
    }

    /// Iterates over at most `most` chains from `index` on, up to the first that is no single-segment request.
    #[inline]
    pub fn single_segment(
        &self,
        index: usize,
        most: usize,
    ) -> impl Iterator<Item = RequestChain<'_, L>> + Clone {
        self.from(index, most).map_while(|&Record { head, ref shape, .. }| {
            let &Shape::Single(SingleSegment { header, ref data, response, direction }) = shape else {
                return None;
            };
            let (data, bytes) = (std::slice::from_ref(data), data.len());
            Some(RequestChain { head, header, data, bytes, direction, response })
        })
    }

    /// Iterates over at most `most` chains from `index` on, up to the first that is no scattered request: one
    /// that the general walk has accepted, nearly always because its data is in several segments.
    #[inline]
    pub fn scattered(&self, index: usize, most: usize) -> impl Iterator<Item = RequestChain<'_, L>> {
        self.from(index, most).map_while(|&Record { head, ref shape, .. }| match shape {
            Shape::Listed { fault: None, extent } => self.scattered_request(head, extent),
            Shape::Listed { fault: Some(_), .. } | Shape::Single(_) => None,
        })
    }

    /// Chain `index` as a single-segment request; none if it is no such request.
    #[inline]
    #[must_use]
    pub fn single_segment_at(&self, index: usize) -> Option<RequestChain<'_, L>> {
        let &Record { head, ref shape, .. } = self.records.get(index)?;
        let &Shape::Single(SingleSegment { header, ref data, response, direction }) = shape else {
            return None;
        };
        let (data, bytes) = (std::slice::from_ref(data), data.len());
        Some(RequestChain { head, header, data, bytes, direction, response })
    }

    /// Headers of the chains that are not long, in their order; none of a chain whose first piece is no header.
    #[inline]
    pub fn headers(&self) -> impl Iterator<Item = Option<L::Header>> {
        self.from(0, BATCH).map(|record| self.header(record))
    }

    /// Header of chain `index`, as in [`Self::headers`]; none of a long one.
    #[inline]
    #[must_use]
    pub fn header_at(&self, index: usize) -> Option<L::Header> {
        self.from(index, 1).next().and_then(|record| self.header(record))
    }

    #[inline]
    fn header(&self, record: &Record<L>) -> Option<L::Header> {
        match &record.shape {
            Shape::Single(SingleSegment { header, .. }) => Some(*header),
            Shape::Listed { fault: None, extent } => self.first_piece(extent),
            Shape::Listed { fault: Some(_), .. } => None,
        }
    }

    /// Header of a chain that the general walk has accepted.
    #[cold]
    #[inline(never)]
    fn first_piece(&self, extent: &Extent) -> Option<L::Header> {
        let Extent { first, writable, .. } = extent.after(PIECES);
        L::Header::of(self.spans.get(first..writable)?.first()?)
    }

    /// Chain `index` as a scattered request, as [`Self::scattered`]; none if it is no such request.
    #[must_use]
    pub fn scattered_at(&self, index: usize) -> Option<RequestChain<'_, L>> {
        self.scattered(index, 1).next()
    }

    #[inline]
    fn from(&self, index: usize, most: usize) -> impl Iterator<Item = &Record<L>> + Clone {
        let end = self.walked.min(index.saturating_add(most));
        self.records.get(index..end).unwrap_or_default().iter()
    }

    /// Reads the spans of a chain as a request; none if they are not in the layout.
    #[inline(never)]
    fn scattered_request(&self, head: Head, &extent: &Extent) -> Option<RequestChain<'_, L>> {
        let Extent { first, writable, end } = extent.after(PIECES);
        let direction = if writable == first.checked_add(1)? {
            Direction::Written
        } else if writable == end.checked_sub(1)? {
            Direction::Read
        } else {
            return None;
        };
        let (header, rest) = self.spans.get(first..end)?.split_first()?;
        let (response, data) = match (L::RESPONSE, direction) {
            (ResponsePlace::First, Direction::Written) => rest.split_first()?,
            _ => rest.split_last()?,
        };
        if data.is_empty() {
            return None;
        }
        let bytes = u32::try_from(Span::total(data)).ok()?;
        let (header, response) = (L::Header::of(header)?, L::Response::of(response)?);
        Some(RequestChain { head, header, data, bytes, direction, response })
    }

    /// Spans of the batch, by their indices; none past the end.
    #[inline]
    pub fn spans(&mut self, range: Range<usize>) -> Option<&mut [Span]> {
        self.spans.get_mut(range)
    }
}
