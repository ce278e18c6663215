//! Opcodes of the admin and the NVM command set.

/// Opcode of a command on the admin queue. Base 2.0, figure 138.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct AdminOpcode(pub u8);

impl AdminOpcode {
    /// Delete I/O Submission Queue.
    pub const DELETE_SUBMISSION_QUEUE: Self = Self(0x00);
    /// Create I/O Submission Queue.
    pub const CREATE_SUBMISSION_QUEUE: Self = Self(0x01);
    /// Get Log Page.
    pub const GET_LOG_PAGE: Self = Self(0x02);
    /// Delete I/O Completion Queue.
    pub const DELETE_COMPLETION_QUEUE: Self = Self(0x04);
    /// Create I/O Completion Queue.
    pub const CREATE_COMPLETION_QUEUE: Self = Self(0x05);
    /// Identify.
    pub const IDENTIFY: Self = Self(0x06);
    /// Abort.
    pub const ABORT: Self = Self(0x08);
    /// Set Features.
    pub const SET_FEATURES: Self = Self(0x09);
    /// Get Features.
    pub const GET_FEATURES: Self = Self(0x0a);
    /// Asynchronous Event Request.
    pub const ASYNC_EVENT_REQUEST: Self = Self(0x0c);
    /// Namespace Attachment.
    pub const NAMESPACE_ATTACHMENT: Self = Self(0x15);
    /// Keep Alive.
    pub const KEEP_ALIVE: Self = Self(0x18);
    /// Doorbell Buffer Config.
    pub const DOORBELL_BUFFER_CONFIG: Self = Self(0x7c);
    /// Format NVM.
    pub const FORMAT: Self = Self(0x80);

    /// Name of the command, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DELETE_SUBMISSION_QUEUE => "Delete I/O Submission Queue",
            Self::CREATE_SUBMISSION_QUEUE => "Create I/O Submission Queue",
            Self::GET_LOG_PAGE => "Get Log Page",
            Self::DELETE_COMPLETION_QUEUE => "Delete I/O Completion Queue",
            Self::CREATE_COMPLETION_QUEUE => "Create I/O Completion Queue",
            Self::IDENTIFY => "Identify",
            Self::ABORT => "Abort",
            Self::SET_FEATURES => "Set Features",
            Self::GET_FEATURES => "Get Features",
            Self::ASYNC_EVENT_REQUEST => "Asynchronous Event Request",
            Self::NAMESPACE_ATTACHMENT => "Namespace Attachment",
            Self::KEEP_ALIVE => "Keep Alive",
            Self::DOORBELL_BUFFER_CONFIG => "Doorbell Buffer Config",
            Self::FORMAT => "Format NVM",
            _ => "unknown command",
        }
    }
}

/// Opcode of a command on an I/O queue. NVM 1.0, figure 14, and Base 2.0, figure 389.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct IoOpcode(pub u8);

impl IoOpcode {
    /// Flush.
    pub const FLUSH: Self = Self(0x00);
    /// Write.
    pub const WRITE: Self = Self(0x01);
    /// Read.
    pub const READ: Self = Self(0x02);
    /// Write Uncorrectable.
    pub const WRITE_UNCORRECTABLE: Self = Self(0x04);
    /// Compare.
    pub const COMPARE: Self = Self(0x05);
    /// Write Zeroes.
    pub const WRITE_ZEROES: Self = Self(0x08);
    /// Dataset Management.
    pub const DATASET_MANAGEMENT: Self = Self(0x09);
    /// Verify.
    pub const VERIFY: Self = Self(0x0c);
    /// Reservation Register.
    pub const RESERVATION_REGISTER: Self = Self(0x0d);
    /// Reservation Report.
    pub const RESERVATION_REPORT: Self = Self(0x0e);
    /// Reservation Acquire.
    pub const RESERVATION_ACQUIRE: Self = Self(0x11);
    /// Reservation Release.
    pub const RESERVATION_RELEASE: Self = Self(0x15);
    /// Copy.
    pub const COPY: Self = Self(0x19);
}
