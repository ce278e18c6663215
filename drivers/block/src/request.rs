//! Requests and how they end.

use crate::Lba;
use luge_memory::Span;

/// Whose request it is: a session of the core, and a slot of that session. Devices hand it
/// back unread.
///
/// One word: two halves that were stored one by one and are loaded together soon after would
/// keep the CPU waiting until both stores have reached the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Tag(u32);

impl Tag {
    /// Slot `slot` of the session with number `session` on its core.
    #[inline]
    #[must_use]
    pub const fn new(session: u16, slot: u16) -> Self {
        Self((session as u32) << 16 | slot as u32)
    }

    /// The session's number on its core.
    #[inline]
    #[must_use]
    pub const fn session(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The session's own number for the request.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 & 0xffff) as u16
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
