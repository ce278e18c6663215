//! A request in steps.
//!
//! ```text
//!  (1) free     --a compare-and-write-->            (2) locking
//!  (1) free     --any other request-->              (3) to read
//!  (2) locking  --its blocks are locked-->          (3)
//!  (3) to read  --the base takes the next blocks--> (4) reading
//!  (4) reading  --done-->                           (5) read
//!  (5) read     --equal, or only verified-->        (3), or (6) where all of a compare-and-write is equal
//!  (5) read     --to be copied-->                   (6) to write
//!  (6) to write --the base takes the blocks-->      (7) writing
//!  (7) writing  --done-->                           (3)
//!  (3) to (7)   --all blocks done, a failure, a difference--> (8) over
//!  (8) over     --its completion goes up-->         (1)
//! ```
//!
//! One part is with the base at a time. A base that compares or verifies by itself is asked to, instead of read.

use super::data::Data;
use crate::VolumeId;
use crate::limits::Limits;
use luge_block::{Completion, CopyRange, Durability, Kind, Lba, Operation, Refusal, Request, Status, Tag};
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
    CompareAndWrite(Durability),
    Copy(Durability),
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

    /// (1) to (2) or (3): takes a request, translated and checked, whose parts have the tag `part`.
    pub(crate) fn begin(&mut self, request: &Request<'_>, part: Tag, limits: Limits) {
        let Request { operation, lba, blocks, data, .. } = *request;
        self.work = match operation {
            Operation::CompareAndWrite(when) => Work::CompareAndWrite(when),
            Operation::Compare => Work::Compare,
            _ => Work::Verify,
        };
        self.step = if self.needs_lock() { Step::Locking } else { Step::ToRead };
        self.source = Blocks { lba, count: blocks };
        (self.whole, self.next_ranges) = (self.source, 0..0);
        self.data.take(data, u64::from(blocks) * u64::from(limits.block_bytes));
        self.reset(request.tag, part, limits);
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
        (self.failure, self.equal_bytes, self.blocks) = (None, 0, 0);
    }

    /// Kind of the request.
    pub(crate) fn kind(&self) -> Kind {
        self.tag.kind()
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
        (Completion::new(self.tag, status), differs.then_some(self.equal_bytes))
    }

    /// Whether the request has begun, and none of its blocks are awaited.
    pub(super) fn is_apart(&self, awaited: impl Fn(Lba, u32) -> bool) -> bool {
        let has_begun = !matches!(self.step, Step::Free | Step::Locking);
        let mut sources = self.ranges.iter().take(self.next_ranges.end);
        has_begun
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
        let left = self.source.count;
        let in_buffer = self.limits.step_blocks().min(left);
        match self.work {
            Work::Verify if self.limits.native.verify_blocks_max > 0 => {
                (Operation::Verify, left.min(self.limits.native.verify_blocks_max))
            }
            _ if self.compares_natively() => (Operation::Compare, left),
            _ => (Operation::Read, in_buffer),
        }
    }

    /// Whether it is a compare-and-write, whose base compares.
    fn compares_natively(&self) -> bool {
        self.needs_lock() && self.limits.native.compare_blocks_max > 0
    }

    fn submit_write(
        &mut self,
        submit: impl FnOnce(&Request<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (lba, when) = match self.work {
            Work::Copy(when) => (self.to, when),
            Work::CompareAndWrite(when) => (self.source.lba, when),
            Work::Verify | Work::Compare => (self.source.lba, Durability::Cache),
        };
        let memory = self.memory(self.blocks);
        if self.needs_lock() {
            self.data.gather_written(memory);
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

    /// (4) to (5), or (7) to (3); (8) where the part failed or was the last one.
    ///
    /// # Panics
    /// If no part is with the base: it made up a completion.
    pub(super) fn end_part(&mut self, status: Status) {
        match self.step {
            Step::Reading if status == Status::Success => self.step = Step::Read,
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
            Work::Compare | Work::CompareAndWrite(_) => self.compare(),
        }
    }

    fn compare(&mut self) {
        let memory = self.memory(self.blocks);
        if let Err(equal) = self.data.compare(memory) {
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
        self.step = if self.source.count > 0 { Step::ToRead } else { Step::Over };
    }

    fn next_range(&mut self) {
        let next = self.next_ranges.next().and_then(|next| self.ranges.get(next));
        if let Some(&CopyRange { lba, blocks }) = next {
            self.source = Blocks { lba, count: blocks };
        }
    }
}
