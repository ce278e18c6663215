//! Outcome of an admin command.

use crate::commands::CommandStatus;
use luge_spec::nvme::StatusCode;

/// Outcome of an admin command that succeeded, or will be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Completed, with DW0 and DW1 of the completion.
    Completed(u64),
    /// To be completed later, by whoever ends what it waits for.
    Later,
}

impl Outcome {
    /// Completed without a result.
    pub(crate) const DONE: Self = Self::Completed(0);
}

/// Outcome of an admin command, or the status with which it is refused.
pub(crate) type Reply = Result<Outcome, CommandStatus>;

/// A refusal that the same command would meet again.
pub(crate) const fn refuse<T>(code: StatusCode) -> Result<T, CommandStatus> {
    Err(CommandStatus::refused(code))
}

/// A field of a command has an invalid value.
pub(crate) const INVALID_FIELD: CommandStatus = CommandStatus::refused(StatusCode::INVALID_FIELD);

/// The namespace does not exist, or is not attached.
pub(crate) const INVALID_NAMESPACE: CommandStatus = CommandStatus::refused(StatusCode::INVALID_NAMESPACE);
