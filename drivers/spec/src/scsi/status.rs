//! Status of a command.

/// Status code. SAM, clause 5.3.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ScsiStatus(pub u8);

impl ScsiStatus {
    /// The command succeeded.
    pub const GOOD: Self = Self(0x00);
    /// The command failed, or there is a unit attention; sense data tells which.
    pub const CHECK_CONDITION: Self = Self(0x02);
    /// Somebody else has reserved the logical unit.
    pub const RESERVATION_CONFLICT: Self = Self(0x18);
    /// There is no room for another command.
    pub const TASK_SET_FULL: Self = Self(0x28);
    /// The logical unit cannot take the command now.
    pub const BUSY: Self = Self(0x08);
    /// The command was aborted by another initiator.
    pub const TASK_ABORTED: Self = Self(0x40);
}
