//! Attempt to take the command at the head of a queue.

use super::turn::Turn;
use crate::commands::{BlockCommand, CommandStatus};
use luge_block::{Geometry, Refusal, Status};
use luge_spec::nvme::{IoOpcode, StatusCode, SubmissionEntry};
use luge_volume::{Graph, VolumeHandle, VolumeId};

/// Outcome of serving the commands of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Served {
    /// So many commands, at least one, have left the queue.
    Some(usize),
    /// None: the next command is not for that.
    None,
    /// Fewer than wait: there is no room beneath for the next one.
    Full(usize),
}

impl Served {
    /// Number of commands that have left the queue.
    #[inline]
    pub(super) fn count(self) -> usize {
        match self {
            Self::Some(count) | Self::Full(count) => count,
            Self::None => 0,
        }
    }
}

/// Reason why a command was not given to a volume or to the controller's thread.
pub(super) enum Untaken {
    /// The command is answered with this status, which may be success.
    Answered(CommandStatus),
    /// There is no room.
    Full,
}

impl Untaken {
    /// A refusal: the same command would be refused again.
    pub(super) const fn refused(code: StatusCode) -> Self {
        Self::Answered(CommandStatus::refused(code))
    }

    /// Refusal of a volume, for a command that reads or does not.
    pub(super) fn of(refusal: Refusal, reads: bool) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::Failed(status) => Self::Answered(CommandStatus::of_block(status, reads)),
        }
    }
}

impl From<CommandStatus> for Untaken {
    fn from(status: CommandStatus) -> Self {
        Self::Answered(status)
    }
}

/// Attempt to take the command at the head of a queue.
pub(super) struct Attempt<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) turn: &'a mut Turn,
    /// Index of the queue in the session.
    pub(super) index: u16,
    /// The command, copied from guest memory.
    pub(super) entry: SubmissionEntry,
}

impl Attempt<'_> {
    /// Whether the command is a read.
    pub(super) fn is_read(&self) -> bool {
        self.entry.opcode == IoOpcode::READ.0
    }
}

/// Namespace of a command.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) volume: VolumeId,
    pub(super) geometry: Geometry,
}

impl Target {
    /// Checks that the namespace has the operation and the blocks of a command.
    pub(super) fn check(&self, command: BlockCommand) -> Result<(), Untaken> {
        let BlockCommand { operation, lba, blocks } = command;
        if self.geometry.blocks_max(operation) == 0 {
            return Err(Untaken::refused(StatusCode::INVALID_OPCODE));
        }
        if !self.geometry.contains(lba, blocks) {
            return Err(Untaken::refused(StatusCode::LBA_OUT_OF_RANGE));
        }
        let access = operation.check_access(self.geometry.read_only);
        access.map_err(|status| Untaken::Answered(CommandStatus::of_block(status, false)))
    }

    /// Checks that the namespace has the blocks of a fused pair, and takes so many at once.
    pub(super) fn check_pair(&self, command: BlockCommand) -> Result<(), Untaken> {
        if command.blocks > self.geometry.blocks_max(command.operation) {
            return Err(Untaken::refused(StatusCode::ATOMIC_WRITE_UNIT_EXCEEDED));
        }
        self.check(command)
    }

    /// Bytes of a command's blocks.
    pub(super) fn bytes(&self, command: BlockCommand) -> u64 {
        u64::from(command.blocks).saturating_mul(self.geometry.block_bytes.into())
    }
}

/// Submits to a volume; one that is gone refuses.
pub(super) fn submit_to(
    volume: Option<VolumeHandle<'_>>,
    submit: impl FnOnce(&mut VolumeHandle<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match volume {
        Some(mut volume) => submit(&mut volume),
        None => Err(Refusal::Failed(Status::Gone)),
    }
}
