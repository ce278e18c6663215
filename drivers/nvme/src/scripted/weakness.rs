//! What a scripted SSD of some model cannot bear.

use super::script::Weakness;
use super::ssd::State;
use luge_spec::nvme::{Cns, IoOpcode, SubmissionEntry, offset};
use std::time::Instant;

/// CSTS.CFS.
const FATAL: u32 = 2;

impl State {
    /// A register is about to be read.
    pub(super) fn endure_read(&mut self, at: u32) {
        let Some(Weakness::LookAfterDisable(pause)) = self.script.weakness else { return };
        if at == offset::CSTS && self.disabled_at.is_some_and(|disabled| disabled.elapsed() < pause) {
            self.broken = true;
            self.status |= FATAL;
        }
    }

    /// A register is about to be written.
    pub(super) fn endure_write(&mut self) {
        let Some(Weakness::WriteAfterReset(pause)) = self.script.weakness else { return };
        if self.reset_at.elapsed() < pause {
            self.broken = true;
        }
    }

    /// The controller is about to be enabled.
    pub(super) fn endure_enabling(&mut self) {
        let entries = (self.admin[0] & 0xfff) + 1;
        if self.script.weakness == Some(Weakness::PartOfPage) && !(entries * 64).is_multiple_of(4096) {
            self.broken = true;
        }
    }

    /// An admin command is about to be executed.
    pub(super) fn endure_identify(&mut self, cns: Cns) {
        if self.script.weakness == Some(Weakness::IdentifyBeyondBasic) && cns.0 > Cns::CONTROLLER.0 {
            self.status |= FATAL;
        }
    }

    /// Whether an I/O command is forgotten, or breaks the SSD. `left` more are in its queue.
    pub(super) fn endure_command(&mut self, queue: u16, entry: &SubmissionEntry, left: u16) -> bool {
        match self.script.weakness {
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
