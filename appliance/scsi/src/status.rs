//! Endings of commands: a status, and sense data.

use crate::command::BlockCommand;
use crate::sense::Sense;
use crate::view::UnitView;
use luge_block::Status;
use luge_spec::scsi::ScsiStatus;

/// The end of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// Status.
    pub status: ScsiStatus,
    /// Sense data of CHECK CONDITION.
    pub sense: Option<Sense>,
}

impl Ending {
    /// The command succeeded.
    pub const GOOD: Self = Self { status: ScsiStatus::GOOD, sense: None };

    /// Somebody else has reserved the logical unit.
    pub const RESERVATION_CONFLICT: Self = Self { status: ScsiStatus::RESERVATION_CONFLICT, sense: None };
}

/// CHECK CONDITION.
impl From<Sense> for Ending {
    fn from(sense: Sense) -> Self {
        Self { status: ScsiStatus::CHECK_CONDITION, sense: Some(sense) }
    }
}

impl BlockCommand {
    /// The end of a command whose request ended with a status, or was refused with it. `differs_at` is the place of the
    /// first byte that differs, where a comparison failed (`Graph::mismatch`).
    #[must_use]
    pub fn ended(&self, _view: &UnitView, status: Status, _differs_at: Option<u64>) -> Ending {
        match status {
            Status::Success => Ending::GOOD,
            _ => Sense::invalid_opcode().into(),
        }
    }
}
