//! Commands with a list of ranges: Dataset Management, which deallocates them, and Copy, whose source they are.

use super::attempt::{Attempt, Target, Untaken, submit_to};
use super::queue_session::QueueSession;
use crate::commands::{CommandStatus, CopyCommand};
use luge_block::{BlockRange, CopyRange, Lba, Operation};
use luge_memory::{Span, Use};
use luge_spec::nvme::{CopySource, DatasetRange, StatusCode};
use luge_volume::{CopyRequest, RANGES_MAX};
use zerocopy::{FromZeros, IntoBytes};

/// Ranges of one command. NR has eight bits.
type Ranges = heapless::Vec<BlockRange, RANGES_MAX>;

/// Source ranges of a copy.
type Sources = heapless::Vec<CopyRange, RANGES_MAX>;

impl QueueSession {
    /// Deallocates `count` ranges of a namespace.
    pub(super) fn deallocate(
        &mut self,
        attempt: &mut Attempt<'_>,
        target: &Target,
        count: u32,
    ) -> Result<(), Untaken> {
        let access = Operation::Discard.check_access(target.geometry.read_only);
        access.map_err(|status| CommandStatus::of_block(status, false))?;
        let ranges = self.read_ranges(attempt, count)?;
        // Deallocation is a hint: there is nothing to do where the device has none.
        if target.geometry.blocks_max(Operation::Discard) == 0 || ranges.is_empty() {
            return Err(Untaken::Answered(CommandStatus::SUCCESS));
        }
        let tag = self.fill_slot(attempt, 0)?;
        let volume = attempt.graph.volume(target.volume);
        let submitted = submit_to(volume, |volume| volume.submit_ranges(tag, &ranges));
        self.submitted(attempt, tag, submitted)
    }

    /// Copies ranges within a namespace.
    pub(super) fn copy(
        &mut self,
        attempt: &mut Attempt<'_>,
        target: &Target,
        copy: CopyCommand,
    ) -> Result<(), Untaken> {
        let limits = target.geometry.operations.copy;
        if limits.ranges_max == 0 {
            return Err(Untaken::refused(StatusCode::INVALID_OPCODE));
        }
        if copy.ranges > limits.ranges_max.into() {
            return Err(Untaken::refused(StatusCode::COMMAND_SIZE_LIMIT_EXCEEDED));
        }
        let sources = self.read_sources(attempt, copy.ranges)?;
        check_copy(copy, target, &sources)?;
        let tag = self.fill_slot(attempt, 0)?;
        let CopyCommand { lba, durability, .. } = copy;
        let request = CopyRequest { tag, sources: &sources, lba, durability };
        let volume = attempt.graph.volume(target.volume);
        let submitted = submit_to(volume, |volume| volume.submit_copy(&request));
        self.submitted(attempt, tag, submitted)?;
        let blocks = sources.iter().map(|source| u64::from(source.blocks)).sum::<u64>();
        attempt.turn.moved(blocks.saturating_mul(target.geometry.block_bytes.into()));
        Ok(())
    }

    /// Reads the source ranges of a copy.
    fn read_sources(&mut self, attempt: &mut Attempt<'_>, count: u32) -> Result<Sources, Untaken> {
        let mut read = [CopySource::default(); RANGES_MAX];
        let read = read.get_mut(..count as usize).unwrap_or_default();
        self.read_list(attempt, read.as_mut_bytes())?;
        let source = |source: &CopySource| CopyRange {
            lba: Lba(source.lba),
            blocks: u32::from(source.blocks_z).wrapping_add(1),
        };
        Ok(read.iter().map(source).collect())
    }

    /// Copies the data of a command, which is a list, into `list`.
    fn read_list(&mut self, attempt: &mut Attempt<'_>, list: &mut [u8]) -> Result<(), Untaken> {
        let bytes = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let spans = self.collect(attempt, bytes, Use::Read, 0)?;
        let spans = spans.ok_or(Untaken::refused(StatusCode::INVALID_SGL_COUNT))?;
        copy_out(self.spans.get(..spans).unwrap_or_default(), list);
        Ok(())
    }

    /// Reads the ranges of a command that have blocks.
    fn read_ranges(&mut self, attempt: &mut Attempt<'_>, count: u32) -> Result<Ranges, Untaken> {
        let mut read = [DatasetRange::new_zeroed(); RANGES_MAX];
        let read = read.get_mut(..count as usize).unwrap_or_default();
        self.read_list(attempt, read.as_mut_bytes())?;
        let with_blocks = read.iter().filter(|range| range.blocks > 0);
        let range = |range: &DatasetRange| BlockRange {
            operation: Operation::Discard,
            lba: Lba(range.lba),
            blocks: range.blocks,
        };
        Ok(with_blocks.map(range).collect())
    }
}

/// Checks the limits of a copy, each of which has a status of its own.
fn check_copy(copy: CopyCommand, target: &Target, sources: &[CopyRange]) -> Result<(), Untaken> {
    let limits = target.geometry.operations.copy;
    let total: u64 = sources.iter().map(|source| u64::from(source.blocks)).sum();
    let longest = sources.iter().map(|source| source.blocks).max();
    if longest > Some(limits.range_blocks_max) || total > limits.blocks_max.into() {
        return Err(Untaken::refused(StatusCode::COMMAND_SIZE_LIMIT_EXCEEDED));
    }
    let end = copy.lba.0.saturating_add(total);
    let overlaps = |source: &CopyRange| {
        source.lba.0 < end && copy.lba.0 < source.lba.0.saturating_add(source.blocks.into())
    };
    if sources.iter().any(overlaps) {
        return Err(Untaken::refused(StatusCode::OVERLAPPING_RANGE));
    }
    Ok(())
}

/// Copies the bytes of spans into `to`, as many as fit.
pub(super) fn copy_out(spans: &[Span], mut to: &mut [u8]) {
    for span in spans {
        let copied = span.read(to);
        to = to.get_mut(copied..).unwrap_or_default();
    }
}
