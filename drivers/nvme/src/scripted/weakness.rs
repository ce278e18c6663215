//! Failures of a scripted SSD that is used in a way that its model does not tolerate.

use super::script::Weakness;
use super::ssd::State;
use luge_spec::nvme::{Cns, IoOpcode, SubmissionEntry, offset};
use std::time::Instant;

/// CSTS.CFS.
const FATAL: u32 = 2;

impl State {
    /// Breaks the SSD if a register must not be read now.
    pub(super) fn before_read(&mut self, at: u32) {
        let Some(Weakness::LookAfterDisable(pause)) = self.script.weakness else { return };
        if at == offset::CSTS && self.disabled_at.is_some_and(|disabled| disabled.elapsed() < pause) {
            self.broken = true;
            self.status |= FATAL;
        }
    }

    /// Breaks the SSD if no register may be written now.
    pub(super) fn before_write(&mut self) {
        let Some(Weakness::WriteAfterReset(pause)) = self.script.weakness else { return };
        if self.reset_at.elapsed() < pause {
            self.broken = true;
        }
    }

    /// Breaks the SSD if it must not be enabled with such an admin queue.
    pub(super) fn before_enabling(&mut self) {
        let entries = (self.admin[0] & 0xfff) + 1;
        if self.script.weakness == Some(Weakness::PartOfPage) && !(entries * 64).is_multiple_of(4096) {
            self.broken = true;
        }
    }

    /// Fails if that Identify page must not be asked for.
    pub(super) fn before_identify(&mut self, cns: Cns) {
        if self.script.weakness == Some(Weakness::IdentifyBeyondBasic) && cns.0 > Cns::CONTROLLER.0 {
            self.status |= FATAL;
        }
    }

    /// Fails if a command must not have its identifier; returns whether that is so.
    pub(super) fn before_command(&mut self, queue: u16, entry: &SubmissionEntry) -> bool {
        let entries = self.submissions.get(&queue).map_or(0, |queue| queue.entries);
        let fails = self.script.weakness == Some(Weakness::LargeIdentifiers) && entry.command_id >= entries;
        if fails {
            self.status |= FATAL;
        }
        fails
    }

    /// Whether an I/O command is never executed; `left` more are in its queue.
    pub(super) fn drops_command(&mut self, queue: u16, entry: &SubmissionEntry, left: u16) -> bool {
        match self.script.weakness {
            Some(Weakness::LargeIdentifiers) => self.before_command(queue, entry),
            Some(Weakness::CommandAfterCreation(pause)) => {
                self.created_at.get(&queue).map(Instant::elapsed).is_some_and(|age| age < pause)
            }
            Some(Weakness::TwoCommands) if left > 0 => {
                self.status |= FATAL;
                true
            }
            Some(Weakness::WriteZeroes) if IoOpcode(entry.opcode) == IoOpcode::WRITE_ZEROES => {
                self.status |= FATAL;
                true
            }
            _ => false,
        }
    }
}
