//! Requests and how they end.

use crate::Lba;
use luge_memory::Span;
use std::fmt;

/// Where a completion goes: the session of the core and its slot, and on the way up the volume that
/// the request came down through. Devices hand it back unread.
///
/// One word, from the lowest bit: session (16 bits), volume (16), slot (16), eight times the kind (8),
/// and eight zero bits, where a [`Completion`](crate::Completion) has its status. Parts that were
/// stored one by one and are loaded together soon after would keep the CPU waiting until all stores
/// have reached the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Tag(u64);

/// Where the parts of a tag begin.
const VOLUME: u32 = 16;
const SLOT: u32 = 32;
const KIND: u32 = 48;
const STATUS: u32 = 56;

/// Bits of one counter in a word that has one for each kind.
const COUNTER: u8 = 8;

impl Tag {
    /// The most levels of volumes above each other on a core.
    pub const LEVELS_MAX: u16 = 16;

    /// Number of sessions that tags can name. Those beyond are for parts of requests ([`Self::of_part`]).
    pub const SESSIONS_MAX: u16 = u16::MAX - Self::LEVELS_MAX + 1;

    /// Tag of a part of a request, made for a volume of a level of its core's graph, from slot `slot` of
    /// that level.
    #[must_use]
    pub const fn of_part(level: u16, slot: u16) -> Self {
        assert!(level < Self::LEVELS_MAX, "more levels of volumes than tags can tell apart");
        Self::new(Self::SESSIONS_MAX + level, slot)
    }

    /// Whether the request is a part made for a volume of that level.
    #[inline]
    #[must_use]
    pub const fn is_of_part(self, level: u16) -> bool {
        self.session() == Self::SESSIONS_MAX + level
    }

    /// Slot `slot` of the session with number `session` on its core.
    #[inline]
    #[must_use]
    pub const fn new(session: u16, slot: u16) -> Self {
        Self(session as u64 | (slot as u64) << SLOT)
    }

    /// The part of a tag that says volume `volume` of a core's graph.
    #[inline]
    #[must_use]
    pub const fn of_volume(volume: u16) -> Self {
        Self((volume as u64) << VOLUME)
    }

    /// Returns the tag, of a session, for a request of that kind of the volume.
    #[inline]
    #[must_use]
    pub const fn through(self, volume: Self, kind: Kind) -> Self {
        Self(self.0 | volume.0 | (kind as u64 * COUNTER as u64) << KIND)
    }

    /// The part of the tag that says the volume.
    #[must_use]
    pub const fn way(self) -> Self {
        Self::of_volume(self.volume())
    }

    /// Whether both are of requests that one session made of one volume.
    #[inline]
    #[must_use]
    pub const fn same_way(self, other: Self) -> bool {
        (self.0 ^ other.0) & 0xffff_ffff == 0
    }

    /// The session's number on its core.
    #[inline]
    #[must_use]
    pub const fn session(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The session's own number for the request.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 >> SLOT & 0xffff) as u16
    }

    /// The volume's number in its core's graph.
    #[inline]
    #[must_use]
    pub const fn volume(self) -> u16 {
        (self.0 >> VOLUME & 0xffff) as u16
    }

    /// The kind of the request.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> Kind {
        Kind::of_number((self.0 >> KIND & 0xff) as u8 / COUNTER)
    }

    /// One, in the counter of the request's kind: see [`Kind::count`].
    #[inline]
    #[must_use]
    pub const fn one(self) -> u64 {
        1_u64.wrapping_shl((self.0 >> KIND & 0x3f) as u32)
    }

    /// The tag and a status in one word.
    #[inline]
    pub(crate) const fn with_status(self, status: Status) -> u64 {
        self.0 | (status as u64) << STATUS
    }

    /// The tag in a word that has a status, too.
    #[inline]
    pub(crate) const fn of_word(word: u64) -> Self {
        Self(word & ((1 << STATUS) - 1))
    }
}

/// The kind of a request: its operation, without how durable a write is to be.
///
/// In the order of [`Operation`], so that one is made of the other without a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A flush.
    Flush,
    /// A discard.
    Discard,
    /// A write of zeroes.
    WriteZeroes,
    /// A write of zeroes that may deallocate.
    WriteZeroesUnmap,
}

impl Kind {
    /// The kind of an operation.
    #[inline]
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::Write(_) => Self::Write,
            Operation::Flush => Self::Flush,
            Operation::Discard => Self::Discard,
            Operation::WriteZeroes => Self::WriteZeroes,
            Operation::WriteZeroesUnmap => Self::WriteZeroesUnmap,
        }
    }

    /// The number of requests of this kind in a sum of at most 255 [`Tag::one`].
    #[inline]
    #[must_use]
    pub const fn count(self, sum: u64) -> u64 {
        sum >> (self as u8 * COUNTER) & 0xff
    }

    /// Whether a sum of [`Tag::one`] counts requests other than reads and writes.
    #[inline]
    #[must_use]
    pub const fn has_others(sum: u64) -> bool {
        sum >> (Self::Flush as u8 * COUNTER) != 0
    }

    /// The kind with that discriminant; the last one for a number that none has.
    #[inline]
    const fn of_number(number: u8) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Flush,
            3 => Self::Discard,
            4 => Self::WriteZeroes,
            _ => Self::WriteZeroesUnmap,
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

/// Operation of a request.
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

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write(_) => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::WriteZeroes | Self::WriteZeroesUnmap => "write-zeroes",
        })
    }
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
    /// Operation of a request.
    pub operation: Operation,
    /// The first block. Nothing looks at it in a flush.
    pub lba: Lba,
    /// Number of blocks: at least one, but in a flush, where nothing looks at it.
    pub blocks: u32,
    /// The memory of a read or write: together exactly `blocks` blocks long, none empty,
    /// of any alignment. Empty for other operations.
    pub data: &'a [Span],
}

/// Blocks to be discarded or zeroed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRange {
    /// A discard, or one of the writes of zeroes.
    pub operation: Operation,
    /// The first block.
    pub lba: Lba,
    /// Number of blocks, at least one.
    pub blocks: u32,
}

impl BlockRange {
    /// A range of no blocks.
    pub const EMPTY: Self = Self { operation: Operation::Discard, lba: Lba(0), blocks: 0 };
}

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
}

impl Status {
    /// Whether a request that was refused with it was in order, and the device is at fault.
    #[must_use]
    pub const fn is_of_the_device(self) -> bool {
        match self {
            Self::NoSpace | Self::MediaError | Self::DeviceError | Self::Aborted | Self::Gone => true,
            Self::Success | Self::OutOfRange | Self::Invalid | Self::Unsupported | Self::WriteProtected => {
                false
            }
        }
    }

    /// Whether the status in a word that has a tag, too, is [`Self::Success`].
    #[inline]
    pub(crate) const fn is_success_in(word: u64) -> bool {
        word >> STATUS == Self::Success as u64
    }

    /// The status in a word that has a tag, too; the last one for a number that none has.
    #[inline]
    pub(crate) const fn of_word(word: u64) -> Self {
        match word >> STATUS {
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Completion;

    const KINDS: [Kind; 6] =
        [Kind::Read, Kind::Write, Kind::Flush, Kind::Discard, Kind::WriteZeroes, Kind::WriteZeroesUnmap];

    #[test]
    fn a_completion_gives_back_all_parts_of_its_tag_and_its_status() {
        for (kind, status) in KINDS.into_iter().zip([Status::Success, Status::Gone].into_iter().cycle()) {
            let tag = Tag::new(0xfedc, 0xba98).through(Tag::of_volume(0x7654), kind);
            let end = Completion::new(tag, status);
            assert_eq!(end.tag(), tag);
            assert_eq!(end.tag().session(), 0xfedc);
            assert_eq!(end.tag().slot(), 0xba98);
            assert_eq!(end.tag().volume(), 0x7654);
            assert_eq!(end.tag().kind(), kind);
            assert_eq!(end.status(), status);
            assert_eq!(end.succeeded(), status == Status::Success);
        }
    }

    #[test]
    fn the_kinds_of_255_requests_are_counted_in_one_word() {
        let tag = |kind| Tag::new(1, 2).through(Tag::of_volume(3), kind);
        for kind in KINDS {
            let sum = (0..255).map(|_| tag(kind).one()).sum();
            let counts = KINDS.map(|kind| kind.count(sum));
            assert_eq!(counts.iter().sum::<u64>(), 255, "{kind:?}: {counts:?}");
            assert_eq!(kind.count(sum), 255);
            assert_eq!(Kind::has_others(sum), !matches!(kind, Kind::Read | Kind::Write), "{kind:?}");
        }
    }
}
