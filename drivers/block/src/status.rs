//! Results of requests.

use std::fmt;

/// Result of a request. Each front end maps it to its own protocol, exhaustively.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Success,
    /// A block is past the end of the device.
    OutOfRange,
    /// The request is malformed or over the device's limits.
    Invalid,
    /// The device cannot do that.
    Unsupported,
    /// The device is read-only.
    WriteProtected,
    /// The device has no room left to write.
    NoSpace,
    /// The media lost the data, or could not take it.
    MediaError,
    /// The device failed otherwise; the same request may work later.
    DeviceError,
    /// The device was reset with the request in flight; whether it took effect is unknown.
    Aborted,
    /// The device is no longer there.
    Gone,
    /// The blocks are not equal to the memory that they were compared with.
    CompareFailed,
    /// Somebody else has reserved the volume, or the device, so that it does not do this for whoever asked.
    ReservationConflict,
}

impl Status {
    /// Whether a request that was refused with it was in order, and the device is at fault.
    #[must_use]
    pub const fn is_of_the_device(self) -> bool {
        match self {
            Self::NoSpace | Self::MediaError | Self::DeviceError | Self::Aborted | Self::Gone => true,
            Self::Success
            | Self::OutOfRange
            | Self::Invalid
            | Self::Unsupported
            | Self::WriteProtected
            | Self::CompareFailed
            | Self::ReservationConflict => false,
        }
    }

    /// The status with that discriminant; the last one for a number that none has.
    #[inline]
    pub(crate) const fn of_number(number: u64) -> Self {
        match number {
            0 => Self::Success,
            1 => Self::OutOfRange,
            2 => Self::Invalid,
            3 => Self::Unsupported,
            4 => Self::WriteProtected,
            5 => Self::NoSpace,
            6 => Self::MediaError,
            7 => Self::DeviceError,
            8 => Self::Aborted,
            9 => Self::Gone,
            10 => Self::CompareFailed,
            _ => Self::ReservationConflict,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "done",
            Self::OutOfRange => "a block is past the end of the device",
            Self::Invalid => "the request is invalid",
            Self::Unsupported => "the device cannot do that",
            Self::WriteProtected => "the device is read-only",
            Self::NoSpace => "the device has no room left",
            Self::MediaError => "the media lost the data, or could not take it",
            Self::DeviceError => "the device failed",
            Self::Aborted => "the device was reset",
            Self::Gone => "the device is gone",
            Self::CompareFailed => "the blocks differ from what they were compared with",
            Self::ReservationConflict => "the volume is reserved by somebody else",
        })
    }
}
