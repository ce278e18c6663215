//! Dataset Management: ranges of blocks that are deallocated by one command.

use super::QueueSession;
use super::attempt::{Attempt, Target, Untaken};
use super::single::submit_to;
use crate::commands::CommandStatus;
use luge_block::{BlockRange, Lba, Operation};
use luge_memory::{Span, Use};
use luge_spec::nvme::{DatasetRange, StatusCode};
use luge_volume::RANGES_MAX;
use zerocopy::{FromZeros, IntoBytes};

/// Ranges of one command. NR has eight bits.
type Ranges = heapless::Vec<BlockRange, RANGES_MAX>;

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
        let tag = self.fill_slot(attempt)?;
        let volume = attempt.graph.volume(target.volume);
        let submitted = submit_to(volume, |volume| volume.submit_ranges(tag, &ranges));
        self.submitted(attempt, tag, submitted)
    }

    /// Reads the ranges of a command that have blocks.
    fn read_ranges(&mut self, attempt: &mut Attempt<'_>, count: u32) -> Result<Ranges, Untaken> {
        let mut read = [DatasetRange::new_zeroed(); RANGES_MAX];
        let read = read.get_mut(..count as usize).unwrap_or_default();
        let bytes = u32::try_from(size_of_val(read)).unwrap_or(u32::MAX);
        let spans = self.collect(attempt, bytes, Use::Read)?;
        let spans = spans.ok_or(Untaken::refused(StatusCode::INVALID_SGL_COUNT))?;
        copy_out(self.spans.get(..spans).unwrap_or_default(), read.as_mut_bytes());
        let with_blocks = read.iter().filter(|range| range.blocks > 0);
        let range = |range: &DatasetRange| BlockRange {
            operation: Operation::Discard,
            lba: Lba(range.lba),
            blocks: range.blocks,
        };
        Ok(with_blocks.map(range).collect())
    }
}

/// Copies the bytes of spans into `to`, as many as fit.
pub(super) fn copy_out(spans: &[Span], mut to: &mut [u8]) {
    for span in spans {
        let copied = span.read(to);
        to = to.get_mut(copied..).unwrap_or_default();
    }
}
