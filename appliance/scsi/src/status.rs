//! Endings of commands: a status, and sense data.

use crate::command::BlockCommand;
use crate::sense::Sense;
use crate::view::UnitView;
use luge_block::{Operation, Status, Stepped};
use luge_spec::scsi::{AdditionalSense, ScsiStatus, SenseKey};

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

    /// The end of a command whose request ended with a status, or was refused with it, where nothing else is known of
    /// the command.
    #[must_use]
    pub const fn of(status: Status) -> Self {
        let (key, code) = match status {
            Status::Success => return Self::GOOD,
            Status::ReservationConflict => return Self::RESERVATION_CONFLICT,
            Status::OutOfRange => (SenseKey::ILLEGAL_REQUEST, AdditionalSense::LBA_OUT_OF_RANGE),
            Status::Invalid => (SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_FIELD_IN_CDB),
            Status::Unsupported => (SenseKey::ILLEGAL_REQUEST, AdditionalSense::INVALID_OPERATION_CODE),
            Status::WriteProtected => (SenseKey::DATA_PROTECT, AdditionalSense::WRITE_PROTECTED),
            Status::NoSpace => (SenseKey::DATA_PROTECT, AdditionalSense::SPACE_ALLOCATION_FAILED),
            Status::MediaError => (SenseKey::MEDIUM_ERROR, AdditionalSense::WRITE_ERROR),
            // Another attempt may succeed, and initiators make one.
            Status::DeviceError | Status::Aborted => {
                (SenseKey::ABORTED_COMMAND, AdditionalSense::INTERNAL_TARGET_FAILURE)
            }
            Status::Gone => (SenseKey::ILLEGAL_REQUEST, AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED),
            Status::CompareFailed => (SenseKey::MISCOMPARE, AdditionalSense::MISCOMPARE_DURING_VERIFY),
        };
        Self { status: ScsiStatus::CHECK_CONDITION, sense: Some(Sense::new(key, code)) }
    }

    fn with_sense(self, change: impl FnOnce(Sense) -> Sense) -> Self {
        Self { sense: self.sense.map(change), ..self }
    }
}

/// CHECK CONDITION.
impl From<Sense> for Ending {
    fn from(sense: Sense) -> Self {
        Self { status: ScsiStatus::CHECK_CONDITION, sense: Some(sense) }
    }
}

impl BlockCommand {
    /// The end of the command whose request ended with a status, or was refused with it. `differs_at` is the place of
    /// the first byte that differs, where a comparison failed (`Graph::mismatch`).
    #[must_use]
    pub fn ended(&self, view: &UnitView, status: Status, differs_at: Option<u64>) -> Ending {
        let ending = Ending::of(status);
        match status {
            Status::OutOfRange => {
                ending.with_sense(|sense| sense.with_information(self.lba.0.max(view.blocks.0)))
            }
            Status::MediaError => ending.with_sense(|sense| self.media_error(sense)),
            Status::CompareFailed => {
                // Offset in data-out. SBC-3, clause 5.2.
                ending.with_sense(|sense| Sense { information: differs_at, ..sense })
            }
            Status::Success
            | Status::Invalid
            | Status::Unsupported
            | Status::WriteProtected
            | Status::NoSpace
            | Status::DeviceError
            | Status::Aborted
            | Status::Gone
            | Status::ReservationConflict => ending,
        }
    }

    /// The block is told where it is known: where the command has one.
    fn media_error(&self, sense: Sense) -> Sense {
        let code = if self.only_writes() {
            AdditionalSense::WRITE_ERROR
        } else {
            AdditionalSense::UNRECOVERED_READ_ERROR
        };
        Sense { code, information: (self.blocks == 1).then_some(self.lba.0), ..sense }
    }

    /// Whether no part of the command reads blocks.
    const fn only_writes(&self) -> bool {
        match self.operation {
            Operation::Write(_)
            | Operation::Flush
            | Operation::Discard
            | Operation::WriteZeroes
            | Operation::WriteZeroesUnmap
            | Operation::WriteUncorrectable
            | Operation::Stepped(Stepped::WriteSame(_)) => true,
            Operation::Read
            | Operation::Compare
            | Operation::Verify
            | Operation::CompareAndWrite(_)
            | Operation::Stepped(Stepped::CompareSame | Stepped::WriteAndVerify | Stepped::WriteAndCompare) => {
                false
            }
        }
    }
}
