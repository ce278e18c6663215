//! Status of a command, as its completion entry has it.

use luge_block::Status;
use luge_spec::nvme::StatusCode;

/// Status field without the phase tag. Base 2.0, clause 3.3.3.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct CommandStatus(u16);

impl CommandStatus {
    /// The command succeeded.
    pub const SUCCESS: Self = Self(0);

    const MORE: u16 = 1 << 13;
    const DO_NOT_RETRY: u16 = 1 << 14;

    /// A failure that the same command may not meet again.
    #[must_use]
    pub const fn failed(code: StatusCode) -> Self {
        Self(code.0)
    }

    /// A refusal: the same command would be refused again (DNR).
    #[must_use]
    pub const fn refused(code: StatusCode) -> Self {
        Self(code.0 | Self::DO_NOT_RETRY)
    }

    /// Sets More: the error information log has an entry for the command.
    #[must_use]
    pub const fn with_more(self) -> Self {
        Self(self.0 | Self::MORE)
    }

    /// SCT and SC: status code type and status code.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        StatusCode(self.0 & 0x7ff)
    }

    /// Whether the command succeeded.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// DNR: whether the same command would fail again.
    #[must_use]
    pub const fn do_not_retry(self) -> bool {
        self.0 & Self::DO_NOT_RETRY != 0
    }

    /// The field above a phase tag of zero, as the error log has it.
    #[must_use]
    pub(crate) const fn field(self) -> u16 {
        self.0 << 1
    }

    /// The field in its place in the second word of a completion entry.
    #[must_use]
    pub(crate) const fn in_word(self) -> u64 {
        (self.0 as u64) << 49
    }

    /// Status of a request of a volume. `reads` tells reads from writes, where a failure of the media differs.
    pub(crate) const fn of_block(status: Status, reads: bool) -> Self {
        match status {
            Status::Success => Self::SUCCESS,
            Status::OutOfRange => Self::refused(StatusCode::LBA_OUT_OF_RANGE),
            Status::Invalid => Self::refused(StatusCode::INVALID_FIELD),
            Status::Unsupported => Self::refused(StatusCode::INVALID_OPCODE),
            Status::WriteProtected => Self::refused(StatusCode::NAMESPACE_WRITE_PROTECTED),
            Status::NoSpace => Self::refused(StatusCode::CAPACITY_EXCEEDED),
            Status::MediaError if reads => Self::refused(StatusCode::UNRECOVERED_READ),
            Status::MediaError => Self::refused(StatusCode::WRITE_FAULT),
            Status::DeviceError | Status::Aborted => Self::failed(StatusCode::INTERNAL_ERROR),
            Status::Gone => Self::refused(StatusCode::INTERNAL_ERROR),
            Status::CompareFailed => Self::refused(StatusCode::COMPARE_FAILURE),
        }
    }
}
