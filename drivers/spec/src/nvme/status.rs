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

            /// What the code means, where it is known here.
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
    /// The command did what it was to do.
    SUCCESS = 0x000, "success";
    /// There is no such command.
    INVALID_OPCODE = 0x001, "invalid opcode";
    /// A field has a value that is not possible.
    INVALID_FIELD = 0x002, "invalid field";
    /// Two commands with one identifier.
    COMMAND_ID_CONFLICT = 0x003, "command identifier conflict";
    /// The data did not reach the other side.
    DATA_TRANSFER_ERROR = 0x004, "data transfer error";
    /// Power was going.
    ABORTED_POWER_LOSS = 0x005, "aborted by a loss of power";
    /// The controller's own mistake.
    INTERNAL_ERROR = 0x006, "internal error";
    /// Aborted by an Abort command.
    ABORT_REQUESTED = 0x007, "aborted on request";
    /// Aborted since its submission queue was deleted.
    ABORTED_QUEUE_DELETED = 0x008, "aborted by deletion of its queue";
    /// There is no such namespace, or its format does not fit.
    INVALID_NAMESPACE = 0x00b, "invalid namespace or format";
    /// PRP1's offset is not possible.
    PRP_OFFSET_INVALID = 0x013, "invalid PRP offset";
    /// A sanitize operation failed, so access is refused.
    SANITIZE_FAILED = 0x01c, "sanitize failed";
    /// A sanitize operation is under way.
    SANITIZE_IN_PROGRESS = 0x01d, "sanitize in progress";
    /// The namespace is write protected.
    NAMESPACE_WRITE_PROTECTED = 0x020, "namespace is write protected";
    /// Try again.
    COMMAND_INTERRUPTED = 0x021, "command interrupted";
    /// A block is past the end.
    LBA_OUT_OF_RANGE = 0x080, "block out of range";
    /// A thin namespace has no room left.
    CAPACITY_EXCEEDED = 0x081, "capacity exceeded";
    /// The namespace is not ready yet.
    NAMESPACE_NOT_READY = 0x082, "namespace not ready";
    /// Another host holds a reservation.
    RESERVATION_CONFLICT = 0x083, "reservation conflict";
    /// The namespace is being formatted.
    FORMAT_IN_PROGRESS = 0x084, "format in progress";
    /// The completion queue named does not exist.
    INVALID_COMPLETION_QUEUE = 0x100, "invalid completion queue";
    /// The queue identifier is taken or too large.
    INVALID_QUEUE_ID = 0x101, "invalid queue identifier";
    /// The queue's size is not possible.
    INVALID_QUEUE_SIZE = 0x102, "invalid queue size";
    /// More Asynchronous Event Requests than allowed.
    EVENT_LIMIT_EXCEEDED = 0x105, "too many asynchronous event requests";
    /// There is no such log page.
    INVALID_LOG_PAGE = 0x109, "invalid log page";
    /// The blocks are read-only.
    READ_ONLY_RANGE = 0x182, "attempted write to a read-only range";
    /// The data did not go to the media.
    WRITE_FAULT = 0x280, "write fault";
    /// The media lost the data.
    UNRECOVERED_READ = 0x281, "unrecovered read error";
    /// Access is denied.
    ACCESS_DENIED = 0x286, "access denied";
}

impl StatusCode {
    /// SCT: generic, command specific, media and data integrity, path related.
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 8 & 7) as u8
    }

    /// Whether it is a media or data integrity error.
    #[must_use]
    pub const fn is_media_error(self) -> bool {
        self.kind() == 2
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text().unwrap_or("status unknown to us");
        write!(f, "{text} ({}/{:#04x})", self.kind(), self.0 & 0xff)
    }
}
