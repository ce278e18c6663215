//! A request in steps.
//!
//! ```text
//!  (1) free     --a compare-and-write-->            (2) locking
//!  (1) free     --a write-same-->                   (5) read: it has nothing to read
//!  (1) free     --a write-and-verify or -compare--> (6) to write
//!  (1) free     --any other request-->              (3) to read
//!  (2) locking  --its blocks are locked-->          (3)
//!  (3) to read  --the base takes the next blocks--> (4) reading
//!  (4) reading  --done-->                           (5) read
//!  (5) read     --equal, or only verified-->        (3), or (6) where all of a compare-and-write is equal
//!  (5) read     --to be copied, or the buffer is filled with the one block--> (6)
//!  (6) to write --the base takes the blocks-->      (7) writing
//!  (7) writing  --done-->                           (3), or (6) of a write-same
//!  (3) to (7)   --all blocks done, a failure, a difference--> (8) over
//!  (8) over     --its completion goes up-->         (1)
//! ```
//!
//! One part is with the base at a time. A base that compares or verifies by itself is asked to, instead of read.

use super::data::Data;
use crate::VolumeId;
use crate::limits::Limits;
use luge_block::{Completion, CopyRange, Durability, Lba, Operation, Refusal, Request, Status, Stepped, Tag};
use luge_memory::Span;
use std::ops::Range;

/// A copy of blocks of a volume to other blocks of it, as one request with one completion.
#[derive(Clone, Copy, Debug)]
pub struct CopyRequest<'a> {
    /// Tag of the completion.
    pub tag: Tag,
    /// Blocks to be copied, in their order; they count from the start of the volume.
    pub sources: &'a [CopyRange],
    /// The first block that is written.
    pub lba: Lba,
    /// Moment at which the writes count as done.
    pub durability: Durability,
}

/// State of a slot, as in the diagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Step {
    #[default]
    Free,
    Locking,
    ToRead,
    Reading,
    Read,
    ToWrite,
    Writing,
    Over,
}

/// Request that a slot is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Work {
    #[default]
    Verify,
    Compare,
    CompareSame,
    CompareAndWrite(Durability),
    Copy(Durability),
    WriteSame(Durability),
    WriteAndVerify,
    WriteAndCompare,
}

impl Work {
    fn of(operation: Operation) -> Self {
        match operation {
            Operation::Compare => Self::Compare,
            Operation::CompareAndWrite(when) => Self::CompareAndWrite(when),
            Operation::Stepped(Stepped::CompareSame) => Self::CompareSame,
            Operation::Stepped(Stepped::WriteSame(same)) => Self::WriteSame(same.durability()),
            Operation::Stepped(Stepped::WriteAndVerify) => Self::WriteAndVerify,
            Operation::Stepped(Stepped::WriteAndCompare) => Self::WriteAndCompare,
            _ => Self::Verify,
        }
    }

    /// State in which blocks are worked on first.
    fn first(self) -> Step {
        match self {
            Self::WriteSame(_) | Self::WriteAndVerify | Self::WriteAndCompare => Step::ToWrite,
            Self::Verify | Self::Compare | Self::CompareSame | Self::CompareAndWrite(_) | Self::Copy(_) => {
                Step::ToRead
            }
        }
    }

    /// Whether blocks are read after they were written.
    fn reads_back(self) -> bool {
        matches!(self, Self::WriteAndVerify | Self::WriteAndCompare)
    }
}

/// Room for a request in steps, and its progress.
#[derive(Default)]
pub(crate) struct Slot {
    /// Volume of the request; none in (1).
    pub(crate) volume: Option<VolumeId>,
    /// Tag of the request.
    tag: Tag,
    /// Session and slot of the parts.
    part: Tag,
    pub(crate) step: Step,
    work: Work,
    limits: Limits,
    /// Blocks of the base that are to be read next: of a copy, those of its present source range.
    source: Blocks,
    /// Source ranges that follow.
    ranges: Box<[CopyRange]>,
    next_ranges: Range<usize>,
    /// All blocks of the request but the sources of a copy: those that it changes, if it changes any.
    whole: Blocks,
    /// First block of a copy's next write.
    to: Lba,
    /// Number of blocks of the step.
    blocks: u32,
    data: Data,
    buffer: Span,
    /// Status of a request that has failed, or found a difference.
    failure: Option<Status>,
    /// Bytes that were found equal.
    equal_bytes: u64,
    /// Whether the base has found a difference, whose place is to be found.
    differs: bool,
}

/// Consecutive blocks of a base.
#[derive(Clone, Copy, Default)]
struct Blocks {
    lba: Lba,
    count: u32,
}

impl Slot {
    /// A free slot with a buffer for a step.
    pub(super) fn new(buffer: Span, ranges: usize, spans: usize) -> Self {
        let ranges = vec![CopyRange::EMPTY; ranges].into_boxed_slice();
        Self { buffer, ranges, data: Data::new(spans), ..Self::default() }
    }

    /// (1) to (2), (3), (5) or (6): takes a request, translated and checked, whose parts have the tag `part`.
    pub(crate) fn begin(&mut self, request: &Request<'_>, part: Tag, limits: Limits) {
        let Request { operation, lba, blocks, data, .. } = *request;
        self.work = Work::of(operation);
        self.source = Blocks { lba, count: blocks };
        (self.whole, self.next_ranges) = (self.source, 0..0);
        self.data.take(data, u64::from(blocks) * u64::from(limits.block_bytes));
        self.reset(request.tag, part, limits);
        self.blocks = self.next_blocks();
        self.step = match self.work {
            Work::CompareAndWrite(_) => Step::Locking,
            Work::WriteSame(_) => Step::Read,
            work => work.first(),
        };
    }

    /// Number of blocks that fit in the buffer, and are left.
    fn next_blocks(&self) -> u32 {
        let most = match self.work {
            Work::CompareAndWrite(_) => self.limits.largest_step_blocks(),
            _ => self.limits.step_blocks(),
        };
        most.min(self.source.count)
    }

    /// Whether the request is a part of another one, of the same volume.
    pub(super) fn is_part_of_another(&self) -> bool {
        self.tag.session() == self.part.session() - 1
    }

    /// (1) to (3): takes a copy, checked, from and to a volume that starts at block `first` of its base.
    pub(crate) fn begin_copy(&mut self, copy: &CopyRequest<'_>, first: Lba, part: Tag, limits: Limits) {
        (self.work, self.step) = (Work::Copy(copy.durability), Step::ToRead);
        for (place, range) in self.ranges.iter_mut().zip(copy.sources) {
            *place = CopyRange { lba: Lba(first.0 + range.lba.0), blocks: range.blocks };
        }
        self.next_ranges = 0..copy.sources.len();
        self.to = Lba(first.0 + copy.lba.0);
        let count = copy.sources.iter().map(|source| source.blocks).sum();
        self.whole = Blocks { lba: self.to, count };
        self.next_range();
        self.reset(copy.tag, part, limits);
    }

    fn reset(&mut self, tag: Tag, part: Tag, limits: Limits) {
        (self.tag, self.part, self.limits) = (tag, part, limits);
        (self.failure, self.equal_bytes, self.blocks, self.differs) = (None, 0, 0, false);
    }

    /// Tag of the request.
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether the request is one that locks its blocks.
    pub(crate) fn needs_lock(&self) -> bool {
        matches!(self.work, Work::CompareAndWrite(_))
    }

    /// (8): completion of the request, and for a comparison that failed the place of the first byte that differs,
    /// where that is known.
    pub(super) fn end(&mut self) -> (Completion, Option<u64>) {
        self.step = Step::Free;
        let status = self.failure.unwrap_or(Status::Success);
        let differs = status == Status::CompareFailed && !self.compares_natively();
        (Completion::new(self.tag, status), differs.then(|| self.place_in_memory()))
    }

    /// Place in the request's memory of the byte behind those that were found equal.
    fn place_in_memory(&self) -> u64 {
        match self.work {
            Work::CompareSame => self.equal_bytes % u64::from(self.limits.block_bytes.max(1)),
            _ => self.equal_bytes,
        }
    }

    /// Whether the request has begun, and none of its blocks are awaited.
    ///
    /// A part of another request is never apart: that one is.
    pub(super) fn is_apart(&self, awaited: impl Fn(Lba, u32) -> bool) -> bool {
        let has_begun = !matches!(self.step, Step::Free | Step::Locking);
        let mut sources = self.ranges.iter().take(self.next_ranges.end);
        has_begun
            && !self.is_part_of_another()
            && !awaited(self.whole.lba, self.whole.count)
            && !sources.any(|source| awaited(source.lba, source.blocks))
    }

    /// Whether a part is to be submitted.
    pub(crate) fn has_part(&self) -> bool {
        matches!(self.step, Step::ToRead | Step::ToWrite)
    }

    /// (3) to (4), or (6) to (7): submits the next part.
    ///
    /// # Errors
    /// [`Refusal`] of the base; nothing has changed then.
    pub(crate) fn submit_next(
        &mut self,
        submit: impl FnOnce(&Request<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self.step {
            Step::ToWrite => self.submit_write(submit),
            _ => self.submit_read(submit),
        }
    }

    fn submit_read(
        &mut self,
        submit: impl FnOnce(&Request<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (operation, blocks) = self.next_read();
        let memory = [self.memory(blocks)];
        let data: &[Span] = match operation {
            Operation::Read => &memory,
            Operation::Compare => self.data.compared(),
            _ => &[],
        };
        let tag = self.tag.with_slot_of(self.part);
        submit(&Request { tag, operation, lba: self.source.lba, blocks, data })?;
        (self.step, self.blocks) = (Step::Reading, blocks);
        Ok(())
    }

    /// Operation and number of blocks of the next part that reads.
    fn next_read(&self) -> (Operation, u32) {
        let (left, in_buffer) = (self.source.count, self.next_blocks());
        let verified = self.limits.native.verify_blocks_max;
        match self.work {
            Work::Verify if verified > 0 => (Operation::Verify, left.min(verified)),
            Work::WriteAndVerify if verified >= in_buffer => (Operation::Verify, in_buffer),
            _ if self.compares_natively() => (Operation::Compare, left),
            _ => (Operation::Read, in_buffer),
        }
    }

    /// Whether it is a compare-and-write, whose base compares, and has not found a difference.
    fn compares_natively(&self) -> bool {
        self.needs_lock() && !self.differs && self.limits.native.compare_blocks_max > 0
    }

    fn submit_write(
        &mut self,
        submit: impl FnOnce(&Request<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (lba, when) = match self.work {
            Work::Copy(when) => (self.to, when),
            Work::CompareAndWrite(when) | Work::WriteSame(when) => (self.source.lba, when),
            Work::WriteAndVerify | Work::WriteAndCompare => (self.source.lba, Durability::Media),
            Work::Verify | Work::Compare | Work::CompareSame => (self.source.lba, Durability::Cache),
        };
        let memory = self.memory(self.blocks);
        match self.work {
            Work::CompareAndWrite(_) => self.data.gather_written(memory),
            Work::WriteAndVerify | Work::WriteAndCompare => self.data.gather_compared(memory),
            Work::Verify | Work::Compare | Work::CompareSame | Work::Copy(_) | Work::WriteSame(_) => {}
        }
        let (tag, operation) = (self.tag.with_slot_of(self.part), Operation::Write(when));
        submit(&Request { tag, operation, lba, blocks: self.blocks, data: &[memory] })?;
        self.step = Step::Writing;
        Ok(())
    }

    /// Memory of the buffer for so many blocks.
    fn memory(&self, blocks: u32) -> Span {
        self.buffer.split_at(blocks.saturating_mul(self.limits.block_bytes)).0
    }

    /// (4) to (5), or (7) to (3) or (6); (8) where the part failed or was the last one. A base that has compared and
    /// found a difference does not tell where: then the blocks are read, back from (4) to (3).
    ///
    /// # Panics
    /// If no part is with the base: it made up a completion.
    pub(super) fn end_part(&mut self, status: Status) {
        match self.step {
            Step::Reading if status == Status::Success => self.step = Step::Read,
            Step::Reading if status == Status::CompareFailed && self.compares_natively() => {
                (self.step, self.differs) = (Step::ToRead, true);
            }
            Step::Writing if status == Status::Success && self.work.reads_back() => self.step = Step::ToRead,
            Step::Writing if status == Status::Success => self.skip(),
            Step::Reading | Step::Writing => self.fail(status),
            step => panic!("a step ends that nobody has submitted: {step:?}"),
        }
    }

    /// (8): a part failed, or was refused.
    pub(crate) fn fail(&mut self, status: Status) {
        (self.step, self.failure) = (Step::Over, Some(status));
    }

    /// (2) to (3): its blocks are locked.
    pub(crate) fn locked(&mut self) {
        self.step = Step::ToRead;
    }

    /// (5) to (3), (6) or (8): works on what was read.
    pub(crate) fn work(&mut self) {
        if self.step != Step::Read {
            return;
        }
        match self.work {
            Work::Verify => self.skip(),
            Work::Copy(_) => self.step = Step::ToWrite,
            Work::CompareAndWrite(_) if self.compares_natively() => self.step = Step::ToWrite,
            Work::Compare | Work::CompareSame | Work::CompareAndWrite(_) | Work::WriteAndCompare => {
                self.compare();
            }
            Work::WriteSame(_) => {
                self.data.fill(self.memory(self.blocks), self.limits.block_bytes);
                self.step = Step::ToWrite;
            }
            Work::WriteAndVerify => {
                self.data.skip(self.memory(self.blocks).len());
                self.skip();
            }
        }
    }

    fn compare(&mut self) {
        let memory = self.memory(self.blocks);
        let compared = match self.work {
            Work::CompareSame => self.data.compare_each(memory, self.limits.block_bytes),
            _ => self.data.compare(memory),
        };
        if let Err(equal) = compared {
            self.equal_bytes += u64::from(equal);
            return self.fail(Status::CompareFailed);
        }
        self.equal_bytes += u64::from(memory.len());
        match self.work {
            Work::CompareAndWrite(_) => self.step = Step::ToWrite,
            _ => self.skip(),
        }
    }

    /// Goes on behind the blocks of the step: to (3), or to (8) after the last ones.
    fn skip(&mut self) {
        self.source.lba.0 += u64::from(self.blocks);
        self.to.0 += u64::from(self.blocks);
        self.source.count = self.source.count.saturating_sub(self.blocks);
        if self.source.count == 0 {
            self.next_range();
        }
        self.step = if self.source.count > 0 { self.work.first() } else { Step::Over };
        if self.step == Step::ToWrite {
            self.blocks = self.next_blocks();
        }
    }

    fn next_range(&mut self) {
        let next = self.next_ranges.next().and_then(|next| self.ranges.get(next));
        if let Some(&CopyRange { lba, blocks }) = next {
            self.source = Blocks { lba, count: blocks };
        }
    }
}
