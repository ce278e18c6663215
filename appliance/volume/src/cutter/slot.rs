//! A whole request in parts.
//!
//! ```text
//!  (1) free    --a list is reserved--------------------> (2) filling: a front end writes spans
//!  (2) filling --given up------------------------------> (1)
//!  (1)         --a whole request, in order-------------> (3) going on: parts are left
//!  (2)         --a whole request for the list----------> (6) checking: a bounded number of spans a turn
//!  (6)         --the list is the memory of its blocks--> (3)
//!  (6)         --it is not-----------------------------> (4)
//!  (3)         --the base takes a part-----------------> (3), or (4) after the last one
//!  (3) (4)     --a part ends---------------------------> stays; notes the first failure
//!  (3)         --a part failed or was refused----------> (4) ending: nothing more is submitted
//!  (3)         --next block, or a write that must not be cut, in more pieces than the base takes, which
//!                has no part of it---------------------> (5) in the base's own buffer
//!  (5)         --the part ends-------------------------> (3) or (4)
//!  (4)         --no part is with the base any more-----> (1), one completion; of a durable request without a failure
//!                                                        (3) once more, with a flush as its last part
//! ```

use super::cut::Cut;
use super::data_check::DataCheck;
use crate::VolumeId;
use crate::buffer::{BlockBuffer, gather, scatter, skip};
use crate::limits::{Limits, STEP_SPANS_MAX};
use luge_block::{BlockRange, Completion, Lba, Operation, Refusal, Request, Status, Tag};
use luge_memory::Span;
use std::ops::Range;

/// Spans of a list that are checked for a step of work: their lengths are all that is looked at.
const CHECKED_PER_STEP: usize = 8;

/// A request that is to become parts: a transfer with its data, or ranges.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    /// Tag of its completion, through its volume.
    pub(crate) tag: Tag,
    pub(crate) content: Content<'a>,
}

impl Whole<'_> {
    /// Number of spans and of ranges.
    pub(super) fn lists(&self) -> (usize, usize) {
        match self.content {
            Content::One(request) | Content::Durable(request) => (request.data.len(), 0),
            Content::Ranges(ranges, _) => (0, ranges.len()),
        }
    }
}

impl Whole<'_> {
    /// Whether the parts are done in steps.
    pub(super) fn is_in_steps(&self, limits: &Limits) -> bool {
        match self.content {
            Content::One(request) | Content::Durable(request) => limits.parts_in_steps(request.operation),
            Content::Ranges(..) => false,
        }
    }

    /// Whether a transfer has exactly the memory of its blocks, and can be cut to the limits. Ranges were checked
    /// when they were admitted.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Status> {
        let (Content::One(request) | Content::Durable(request)) = self.content else { return Ok(()) };
        let Request { operation, blocks, data, .. } = *request;
        if blocks == 0 {
            return Err(Status::Invalid);
        }
        if self.is_in_steps(limits) {
            return limits.check_steps(request);
        }
        DataCheck::new(operation, blocks, limits).run(data)
    }
}

/// Blocks of a whole request. They count from the start of the base.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    /// A request with one range of blocks.
    One(&'a Request<'a>),
    /// A request with one range of blocks and without memory that ends when it is on the media.
    Durable(&'a Request<'a>),
    /// Ranges to be discarded or zeroed, which begin at this block of the base.
    Ranges(&'a [BlockRange], Lba),
}

/// Most pieces of a list that are copied in one turn.
const GATHERED_MAX: usize = 2048;

/// Pieces of memory of a request in steps.
pub(crate) type Gathered = heapless::Vec<Span, STEP_SPANS_MAX>;

/// A request whose data is in a list of the cutter.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Tag of the completion.
    pub tag: Tag,
    /// Operation of the request.
    pub operation: Operation,
    /// The first block, from the start of the volume.
    pub lba: Lba,
    /// Number of blocks.
    pub blocks: u32,
    /// Place of the data in the list.
    pub data: Range<usize>,
}

/// Blocks that the base has not got yet, and what to do with them.
#[derive(Clone, Copy)]
struct Left {
    operation: Operation,
    lba: Lba,
    blocks: u32,
}

impl Left {
    const NOTHING: Self = Self { operation: Operation::Flush, lba: Lba(0), blocks: 0 };

    /// Takes `blocks` blocks off the front.
    fn skip(&mut self, blocks: u32) {
        self.lba.0 += u64::from(blocks);
        self.blocks -= blocks;
    }
}

/// Size of a part that was submitted.
#[derive(Clone, Copy)]
pub(crate) struct PartSize {
    pub(crate) spans: usize,
    pub(crate) blocks: u32,
}

/// Blocks of a whole request: consecutive ones, or those of the first ranges of the list.
#[derive(Clone, Copy)]
struct Taken {
    lba: Lba,
    blocks: u32,
    ranges: usize,
}

/// Room for a whole request, and its progress.
pub(crate) struct Slot {
    /// The volume that it belongs to; none in (1).
    pub(crate) volume: Option<VolumeId>,
    /// Tag of the whole request.
    tag: Tag,
    /// Session and slot of the parts.
    part: Tag,
    limits: Limits,
    /// Whether it is a write that must not be cut, in more spans than the base takes.
    keep_whole: bool,
    /// Whether a flush is to follow the last part.
    flush: bool,
    left: Left,
    /// Spans of the list that are left.
    data: Range<usize>,
    /// State of the check of the list, in (6), and the first span that was not checked yet.
    check: Option<DataCheck>,
    unchecked: usize,
    spans: Box<[Span]>,
    /// Ranges of the list that are left, behind `left`.
    next_ranges: Range<usize>,
    ranges: Box<[BlockRange]>,
    /// The base's memory of the one part that it has, while that is a block in too many pieces.
    buffered: Option<Span>,
    /// Blocks of the whole request; none before there is one.
    taken: Option<Taken>,
    /// Number of parts that the base has.
    outstanding: usize,
    /// The first failure of a part.
    result: Status,
}

/// Placeholder for a slot that is lent.
impl Default for Slot {
    fn default() -> Self {
        Self::new(0, 0, Tag::default())
    }
}

impl Slot {
    /// A free slot for so many spans and ranges, whose parts have this tag.
    pub(super) fn new(spans: usize, ranges: usize, part: Tag) -> Self {
        Self {
            volume: None,
            tag: Tag::default(),
            part,
            limits: Limits::default(),
            keep_whole: false,
            flush: false,
            left: Left::NOTHING,
            data: 0..0,
            check: None,
            unchecked: 0,
            spans: vec![Span::EMPTY; spans].into_boxed_slice(),
            next_ranges: 0..0,
            ranges: vec![BlockRange::EMPTY; ranges].into_boxed_slice(),
            buffered: None,
            taken: None,
            outstanding: 0,
            result: Status::Success,
        }
    }

    /// (1) to (3): takes the request's lists. They fit.
    pub(super) fn begin(&mut self, whole: &Whole<'_>, limits: Limits) {
        (self.tag, self.limits, self.result) = (whole.tag, limits, Status::Success);
        (self.data, self.next_ranges) = (0..0, 0..0);
        self.flush = matches!(whole.content, Content::Durable(_));
        match whole.content {
            Content::One(&Request { operation, lba, blocks, data, .. })
            | Content::Durable(&Request { operation, lba, blocks, data, .. }) => {
                self.left = Left { operation, lba, blocks };
                self.taken = Some(Taken { lba, blocks, ranges: 0 });
                self.data = copy(data, &mut self.spans);
                self.keep_whole = limits.keep_whole(operation, blocks);
            }
            Content::Ranges(ranges, first) => {
                (self.left, self.keep_whole) = (Left::NOTHING, false);
                self.next_ranges = copy(ranges, &mut self.ranges);
                self.taken = Some(Taken { lba: Lba(0), blocks: 0, ranges: ranges.len() });
                let taken = self.ranges.get_mut(self.next_ranges.clone()).unwrap_or_default();
                taken.iter_mut().for_each(|range| range.lba.0 += first.0);
                self.next_range();
            }
        }
    }

    /// (2) to (6): takes a request whose data is in the slot's list, at `data`.
    ///
    /// # Errors
    /// [`Status::Invalid`] if it is no read or write, or has no blocks, or the list ends before.
    pub(crate) fn begin_list(
        &mut self,
        request: &Request<'_>,
        data: Range<usize>,
        limits: Limits,
    ) -> Result<(), Status> {
        let &Request { tag, operation, lba, blocks, .. } = request;
        if blocks == 0 || !operation.is_transfer() || self.spans.get(data.clone()).is_none() {
            return Err(Status::Invalid);
        }
        (self.check, self.unchecked) = (Some(DataCheck::new(operation, blocks, &limits)), data.start);
        (self.tag, self.limits, self.result) = (tag, limits, Status::Success);
        (self.data, self.next_ranges, self.flush) = (data, 0..0, false);
        self.left = Left { operation, lba, blocks };
        self.taken = Some(Taken { lba, blocks, ranges: 0 });
        self.keep_whole = self.data.len() > limits.spans && limits.keep_whole(operation, blocks);
        Ok(())
    }

    /// (6) to (3) or (4): checks the next spans of the list, of which `steps` are taken off. None are left if the
    /// check is not at its end.
    pub(crate) fn check_list(&mut self, steps: &mut usize) {
        let Some(mut check) = self.check.take() else { return };
        let end = self.data.end.min(self.unchecked + *steps * CHECKED_PER_STEP);
        let next = self.spans.get(self.unchecked..end).unwrap_or_default();
        *steps -= next.len().div_ceil(CHECKED_PER_STEP);
        let checked = check.add(next);
        self.unchecked = end;
        match checked.and_then(|()| if end == self.data.end { check.end() } else { Ok(()) }) {
            Err(status) => self.fail(status),
            Ok(()) if end < self.data.end => self.check = Some(check),
            Ok(()) => {}
        }
    }

    /// A copy of a part of the list, with pieces joined that touch each other; none where it has too many.
    pub(crate) fn gather(&self, data: Range<usize>) -> Option<Gathered> {
        let spans = self.spans.get(data).filter(|spans| spans.len() <= GATHERED_MAX)?;
        let mut gathered = Gathered::new();
        for &span in spans {
            match gathered.last().and_then(|last| last.joined(&span)) {
                Some(joined) => *gathered.last_mut()? = joined,
                None => gathered.push(span).ok()?,
            }
        }
        Some(gathered)
    }

    /// The slot's list of spans.
    pub(super) fn list(&mut self) -> &mut [Span] {
        &mut self.spans
    }

    /// Tag of the whole request.
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether the parts are done in steps.
    pub(crate) fn is_in_steps(&self) -> bool {
        self.left.blocks > 0 && self.limits.parts_in_steps(self.left.operation)
    }

    /// Part of the work of a turn, of which there are `of`, that a part of so many blocks is worth.
    pub(crate) fn part_of_turn(&self, blocks: u32, of: usize) -> usize {
        if self.is_in_steps() { 0 } else { self.limits.part_of_turn(blocks, of) }
    }

    /// (4) to (1): forgets the request.
    pub(super) fn clear(&mut self) {
        (self.volume, self.taken) = (None, None);
    }

    /// Whether it has a request none of whose blocks are awaited.
    pub(super) fn is_apart(&self, awaited: impl Fn(Lba, u32) -> bool) -> bool {
        let Some(Taken { lba, blocks, ranges }) = self.taken else { return false };
        let mut ranges = self.ranges.iter().take(ranges);
        !awaited(lba, blocks) && !ranges.any(|range| awaited(range.lba, range.blocks))
    }

    /// Whether there is a part left to submit.
    pub(crate) fn has_more(&self) -> bool {
        let has_part = self.left.blocks > 0 || self.flush && self.outstanding == 0;
        has_part && self.result == Status::Success && self.buffered.is_none()
    }

    /// Whether nothing is left to submit, nor is any part with the base.
    pub(crate) fn is_over(&self) -> bool {
        self.outstanding == 0 && !self.has_more()
    }

    /// The completion of the whole request, once it is over.
    pub(super) fn completion(&self) -> Completion {
        Completion::new(self.tag, self.result)
    }

    /// Submits the next part; returns its size.
    ///
    /// # Errors
    /// [`Refusal`] of the base; nothing has changed then.
    pub(crate) fn submit_next(
        &mut self,
        buffer: &mut BlockBuffer,
        submit: impl FnOnce(&Request<'_>) -> Result<(), Refusal>,
    ) -> Result<PartSize, Refusal> {
        let Left { operation, lba, blocks } = self.left;
        let tag = self.tag.with_slot_of(self.part);
        if blocks == 0 {
            submit(&Request { tag, operation: Operation::Flush, lba, blocks, data: &[] })?;
            (self.flush, self.outstanding) = (false, 1);
            return Ok(PartSize { spans: 0, blocks });
        }
        if self.is_in_steps() {
            let blocks = blocks.min(self.limits.part_blocks(operation));
            let data = self.spans.get(self.data.clone()).unwrap_or_default();
            submit(&Request { tag, operation, lba, blocks, data })?;
            self.taken(blocks);
            return Ok(PartSize { spans: self.data.len(), blocks });
        }
        if !operation.moves_data() {
            let blocks = blocks.min(self.limits.part_blocks(operation));
            submit(&Request { tag, operation, lba, blocks, data: &[] })?;
            self.taken(blocks);
            return Ok(PartSize { spans: 0, blocks });
        }
        if self.keep_whole {
            return self.submit_buffered(tag, blocks, buffer, submit);
        }
        let data = self.spans.get_mut(self.data.clone()).unwrap_or_default();
        let Some(cut) = Cut::new(data, blocks, &self.limits) else {
            return self.submit_buffered(tag, 1, buffer, submit);
        };
        let part = data.get(..cut.spans).unwrap_or_default();
        submit(&Request { tag, operation, lba, blocks: cut.blocks, data: part })
            .inspect_err(|_| cut.undo(data))?;
        self.data.start += cut.done(data);
        self.taken(cut.blocks);
        Ok(PartSize { spans: cut.spans, blocks: cut.blocks })
    }

    /// (3) to (5): submits the next blocks in the base's own memory. Alone, so that it is known which part
    /// has ended.
    fn submit_buffered(
        &mut self,
        tag: Tag,
        blocks: u32,
        buffer: &mut BlockBuffer,
        submit: impl FnOnce(&Request<'_>) -> Result<(), Refusal>,
    ) -> Result<PartSize, Refusal> {
        let Left { operation, lba, .. } = self.left;
        let bytes = blocks * self.limits.block_bytes;
        let memory = buffer.memory(bytes)?;
        if self.outstanding > 0 {
            return Err(Refusal::Full);
        }
        let data = self.spans.get(self.data.clone()).unwrap_or_default();
        if !operation.is_read() {
            gather(data, memory);
        }
        submit(&Request { tag, operation, lba, blocks, data: &[memory] })?;
        buffer.lend();
        (self.buffered, self.outstanding) = (Some(memory), 1);
        Ok(PartSize { spans: data.len().min(bytes as usize), blocks })
    }

    /// (5) to (3) or (4): the blocks have ended. They are the front of the data still.
    fn end_buffered(&mut self, memory: Span, status: Status) {
        let data = self.spans.get_mut(self.data.clone()).unwrap_or_default();
        if self.left.operation.is_read() && status == Status::Success {
            scatter(memory, data);
        }
        self.data.start += skip(data, memory.len());
        self.left.skip(memory.len() / self.limits.block_bytes);
    }

    /// The base has taken a part of so many blocks.
    fn taken(&mut self, blocks: u32) {
        self.outstanding += 1;
        self.left.skip(blocks);
        if self.left.blocks == 0 {
            self.next_range();
        }
    }

    /// Notes that a part failed, or was refused. The first failure counts.
    pub(crate) fn fail(&mut self, status: Status) {
        if self.result == Status::Success {
            self.result = status;
        }
    }

    /// Ends a part; returns whether it was in the block buffer of the base.
    ///
    /// # Panics
    /// If the base has none: it made up a completion.
    pub(super) fn end_part(&mut self, status: Status) -> bool {
        self.outstanding = self.outstanding.checked_sub(1).expect("a part ends that nobody has submitted");
        let buffered = self.buffered.take();
        if let Some(memory) = buffered {
            self.end_buffered(memory, status);
        }
        if status != Status::Success {
            self.fail(status);
        }
        buffered.is_some()
    }

    /// Goes on with the next range, if there is one.
    fn next_range(&mut self) {
        let next = self.next_ranges.next().and_then(|next| self.ranges.get(next));
        self.left = match next {
            Some(&BlockRange { operation, lba, blocks }) => Left { operation, lba, blocks },
            None => Left::NOTHING,
        };
    }
}

/// Copies a list; returns its place. It fits.
fn copy<T: Copy>(from: &[T], to: &mut [T]) -> Range<usize> {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    0..from.len()
}
