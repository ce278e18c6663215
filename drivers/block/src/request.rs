//! Requests and how they end.

use crate::Lba;
use luge_memory::Span;

/// Where a completion goes: the session of the core and its slot, and on the way up the volume that
/// the request came down through. Devices hand it back unread.
///
/// One word, from the lowest bit: slot (16 bits), session (16), volume (16), kind (8), and eight zero
/// bits, where a [`Completion`](crate::Completion) has its status. Parts that were stored one by one and are
/// loaded together soon after would keep the CPU waiting until all stores have reached the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Tag(u64);

impl Tag {
    /// Bits below the status of a completion.
    pub(crate) const BITS: u32 = 56;

    /// Slot `slot` of the session with number `session` on its core.
    #[inline]
    #[must_use]
    pub const fn new(session: u16, slot: u16) -> Self {
        Self((session as u64) << 16 | slot as u64)
    }

    /// The same session and slot, for a request of that kind of the volume with number `volume` in its
    /// core's graph.
    #[inline]
    #[must_use]
    pub const fn through(self, volume: u16, kind: Kind) -> Self {
        Self(self.0 & 0xffff_ffff | (volume as u64) << 32 | (kind as u64) << 48)
    }

    /// The session's number on its core.
    #[inline]
    #[must_use]
    pub const fn session(self) -> u16 {
        (self.0 >> 16 & 0xffff) as u16
    }

    /// The session's own number for the request.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The volume's number in its core's graph.
    #[inline]
    #[must_use]
    pub const fn volume(self) -> u16 {
        (self.0 >> 32 & 0xffff) as u16
    }

    /// The kind of the request.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> Kind {
        Kind::of_bits((self.0 >> 48 & 0b11) as u8)
    }

    /// The word, whose highest eight bits are zero.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The tag in the lower bits of a word.
    pub(crate) const fn of_word(word: u64) -> Self {
        Self(word & ((1 << Self::BITS) - 1))
    }
}

/// The class of operations that a request is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A read.
    Read,
    /// A write, also one of zeroes.
    Write,
    /// A discard.
    Unmap,
    /// A flush.
    Flush,
}

impl Kind {
    /// The kind of an operation.
    #[inline]
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::Write(_) | Operation::WriteZeroes | Operation::WriteZeroesUnmap => Self::Write,
            Operation::Discard => Self::Unmap,
            Operation::Flush => Self::Flush,
        }
    }

    const fn of_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Unmap,
            _ => Self::Flush,
        }
    }
}

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When it is in the device's cache.
    Cache,
    /// When it is on the media: FUA, force unit access.
    Media,
}

/// What to do.
///
/// With a tag of its own, so that telling operations apart is one comparison: left to the
/// compiler, it would share a byte with the durability and take several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Operation {
    /// Blocks to memory.
    Read,
    /// Memory to blocks.
    Write(Durability),
    /// Everything completed before this was submitted goes to the media. Has no blocks.
    Flush,
    /// The blocks' contents are no longer needed; they read as anything old or zeroes.
    Discard,
    /// The blocks read as zeroes afterwards and stay allocated.
    WriteZeroes,
    /// The blocks read as zeroes afterwards and may be deallocated.
    WriteZeroesUnmap,
}

impl Operation {
    /// Whether it is a read.
    #[inline]
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(self, Self::Read)
    }

    /// Whether it is a flush.
    #[inline]
    #[must_use]
    pub const fn is_flush(self) -> bool {
        matches!(self, Self::Flush)
    }

    /// Whether it changes data: what a read-only device refuses.
    #[must_use]
    pub const fn changes_data(self) -> bool {
        match self {
            Self::Read | Self::Flush => false,
            Self::Write(_) | Self::Discard | Self::WriteZeroes | Self::WriteZeroesUnmap => true,
        }
    }

    /// Refuses what changes data where the disk is read-only.
    ///
    /// # Errors
    /// [`Status::WriteProtected`].
    #[inline]
    pub fn check_access(self, read_only: bool) -> Result<(), Status> {
        // What few disks are is asked first: reads and writes are mixed, and a branch between
        // them is guessed wrong.
        if read_only { self.check_read_only() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn check_read_only(self) -> Result<(), Status> {
        if self.changes_data() { Err(Status::WriteProtected) } else { Ok(()) }
    }

    /// Whether it has memory: what it reads into or writes from.
    #[must_use]
    pub const fn moves_data(self) -> bool {
        match self {
            Self::Read | Self::Write(_) => true,
            Self::Flush | Self::Discard | Self::WriteZeroes | Self::WriteZeroesUnmap => false,
        }
    }
}

/// One request to a channel. Borrowed during `submit` only: a channel that needs the spans
/// longer copies them.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Comes back in the completion.
    pub tag: Tag,
    /// What to do.
    pub operation: Operation,
    /// The first block. Nothing looks at it in a flush.
    pub lba: Lba,
    /// Number of blocks: at least one, but in a flush, where nothing looks at it.
    pub blocks: u32,
    /// The memory of a read or write: together exactly `blocks` blocks long, none empty,
    /// of any alignment. Empty for other operations.
    pub data: &'a [Span],
}

/// How a request ended. Each front end maps it to its own protocol, exhaustively.
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
}

impl Status {
    /// The status with that discriminant; the last one for a number that none has.
    #[inline]
    pub(crate) const fn of_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Success,
            1 => Self::OutOfRange,
            2 => Self::Invalid,
            3 => Self::Unsupported,
            4 => Self::WriteProtected,
            5 => Self::NoSpace,
            6 => Self::MediaError,
            7 => Self::DeviceError,
            8 => Self::Aborted,
            _ => Self::Gone,
        }
    }
}
