//! Status codes. Base 2.0, clause 3.3.3.2.1, and NVM 1.0, clause 3.1.2.

use std::fmt;

/// A status code type and a status code: `SCT << 8 | SC`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct StatusCode(pub u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl StatusCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Meaning of the code; none for a code that is not in this list.
            #[must_use]
            pub const fn text(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The command succeeded.
    SUCCESS = 0x000, "success";
    /// The command does not exist.
    INVALID_OPCODE = 0x001, "invalid opcode";
    /// A field has an invalid value.
    INVALID_FIELD = 0x002, "invalid field";
    /// The command identifier is in use.
    COMMAND_ID_CONFLICT = 0x003, "command identifier conflict";
    /// The data could not be transferred.
    DATA_TRANSFER_ERROR = 0x004, "data transfer error";
    /// Aborted, because power was failing.
    ABORTED_POWER_LOSS = 0x005, "aborted by a loss of power";
    /// Error inside of the controller.
    INTERNAL_ERROR = 0x006, "internal error";
    /// Aborted by an Abort command.
    ABORT_REQUESTED = 0x007, "aborted on request";
    /// Aborted, because its submission queue was deleted.
    ABORTED_QUEUE_DELETED = 0x008, "aborted by deletion of its queue";
    /// Aborted, because the other command of a fused pair failed.
    ABORTED_FAILED_FUSED = 0x009, "aborted by a failed fused command";
    /// Aborted, because the other command of a fused pair is missing.
    ABORTED_MISSING_FUSED = 0x00a, "aborted by a missing fused command";
    /// The command came at a wrong time.
    COMMAND_SEQUENCE_ERROR = 0x00c, "command sequence error";
    /// The namespace does not exist, or has another format.
    INVALID_NAMESPACE = 0x00b, "invalid namespace or format";
    /// A segment descriptor of an SGL is invalid, or where it may not be.
    INVALID_SGL_SEGMENT = 0x00d, "invalid SGL segment descriptor";
    /// An SGL has too many or too few descriptors.
    INVALID_SGL_COUNT = 0x00e, "invalid number of SGL descriptors";
    /// The data of an SGL is shorter than that of the command.
    DATA_SGL_LENGTH_INVALID = 0x00f, "invalid data SGL length";
    /// The type of an SGL descriptor is invalid, or where it may not be.
    SGL_TYPE_INVALID = 0x011, "invalid SGL descriptor type";
    /// The offset in PRP1 is invalid.
    PRP_OFFSET_INVALID = 0x013, "invalid PRP offset";
    /// The command is longer than the atomic write unit.
    ATOMIC_WRITE_UNIT_EXCEEDED = 0x014, "atomic write unit exceeded";
    /// The offset in an SGL descriptor is invalid.
    SGL_OFFSET_INVALID = 0x016, "invalid SGL offset";
    /// Access is refused, because a sanitize operation failed.
    SANITIZE_FAILED = 0x01c, "sanitize failed";
    /// A sanitize operation is in progress.
    SANITIZE_IN_PROGRESS = 0x01d, "sanitize in progress";
    /// The namespace is write protected.
    NAMESPACE_WRITE_PROTECTED = 0x020, "namespace is write protected";
    /// The command was interrupted and may be retried.
    COMMAND_INTERRUPTED = 0x021, "command interrupted";
    /// A block is past the end of the namespace.
    LBA_OUT_OF_RANGE = 0x080, "block out of range";
    /// A thin namespace has no capacity left.
    CAPACITY_EXCEEDED = 0x081, "capacity exceeded";
    /// The namespace is not ready yet.
    NAMESPACE_NOT_READY = 0x082, "namespace not ready";
    /// Another host holds a reservation.
    RESERVATION_CONFLICT = 0x083, "reservation conflict";
    /// The namespace is being formatted.
    FORMAT_IN_PROGRESS = 0x084, "format in progress";
    /// The completion queue does not exist.
    INVALID_COMPLETION_QUEUE = 0x100, "invalid completion queue";
    /// The queue identifier is in use or too large.
    INVALID_QUEUE_ID = 0x101, "invalid queue identifier";
    /// The queue size is invalid.
    INVALID_QUEUE_SIZE = 0x102, "invalid queue size";
    /// More Abort commands than allowed.
    ABORT_LIMIT_EXCEEDED = 0x103, "too many abort commands";
    /// More Asynchronous Event Requests than allowed.
    EVENT_LIMIT_EXCEEDED = 0x105, "too many asynchronous event requests";
    /// The interrupt vector does not exist.
    INVALID_INTERRUPT_VECTOR = 0x108, "invalid interrupt vector";
    /// The log page does not exist.
    INVALID_LOG_PAGE = 0x109, "invalid log page";
    /// The format does not exist.
    INVALID_FORMAT = 0x10a, "invalid format";
    /// Submission queues use the completion queue.
    INVALID_QUEUE_DELETION = 0x10c, "invalid queue deletion";
    /// The feature cannot be saved.
    FEATURE_NOT_SAVEABLE = 0x10d, "feature cannot be saved";
    /// The feature cannot be changed.
    FEATURE_NOT_CHANGEABLE = 0x10e, "feature cannot be changed";
    /// The feature has one value for all namespaces.
    FEATURE_NOT_PER_NAMESPACE = 0x10f, "feature is not of a namespace";
    /// The namespace is attached to the controller.
    NAMESPACE_ALREADY_ATTACHED = 0x118, "namespace is attached already";
    /// The namespace is not attached to the controller.
    NAMESPACE_NOT_ATTACHED = 0x11a, "namespace is not attached";
    /// The list of controllers is invalid.
    INVALID_CONTROLLER_LIST = 0x11c, "invalid controller list";
    /// No combination of command sets has that index.
    COMMAND_SET_COMBINATION_REJECTED = 0x12b, "combination of I/O command sets rejected";
    /// The blocks are read-only.
    READ_ONLY_RANGE = 0x182, "attempted write to a read-only range";
    /// A Copy has more ranges or blocks than the namespace takes.
    COMMAND_SIZE_LIMIT_EXCEEDED = 0x183, "command size limit exceeded";
    /// A source of a Copy overlaps its destination.
    OVERLAPPING_RANGE = 0x187, "overlapping range";
    /// The data could not be written to the media.
    WRITE_FAULT = 0x280, "write fault";
    /// The data could not be read from the media.
    UNRECOVERED_READ = 0x281, "unrecovered read error";
    /// The data on the media differs from that of a Compare.
    COMPARE_FAILURE = 0x285, "compare failure";
    /// Access is denied.
    ACCESS_DENIED = 0x286, "access denied";
}

impl StatusCode {
    /// SCT: 0 generic, 1 command specific, 2 media and data integrity, 3 path related.
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 8 & 7) as u8
    }

    /// Whether the code is a media or data integrity error.
    #[must_use]
    pub const fn is_media_error(self) -> bool {
        self.kind() == 2
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text().unwrap_or("unknown status");
        write!(f, "{text} ({}/{:#04x})", self.kind(), self.0 & 0xff)
    }
}
