//! Operations of requests.

use crate::Status;
use std::fmt;

/// Moment at which a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The data is in the device's cache.
    Cache,
    /// The data is on the media: FUA, force unit access.
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
    /// Comparison of blocks with memory; [`Status::CompareFailed`] where they differ.
    Compare,
    /// Read of the blocks whose data goes nowhere: the media is asked whether it has them.
    Verify,
    /// Comparison of blocks with the first half of the memory, and if they are equal, a write of the second half:
    /// nobody reads or writes the blocks between the two.
    CompareAndWrite(Durability),
    /// Reads of the blocks fail with [`Status::MediaError`] afterwards, until they are written.
    WriteUncorrectable,
    /// Reads and writes that a volume makes in steps; no device does it by itself.
    Stepped(Stepped),
}

/// Operation that a volume does in steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stepped {
    /// A write of one block of memory to each of the blocks; of zeroes where there is no memory.
    WriteSame(WriteSame),
    /// Comparison of each of the blocks with one block of memory; [`Status::CompareFailed`] where they differ.
    CompareSame,
    /// A write to the media, and a read whose data goes nowhere: the media is asked whether it has the blocks.
    WriteAndVerify,
    /// A write to the media, and a comparison of the blocks with the memory.
    WriteAndCompare,
}

/// Moment at which a write-same counts as done, and whether it may deallocate blocks of zeroes. One enum without fields,
/// so that operations have two bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteSame {
    /// The data is in the device's cache.
    Cache,
    /// The data is on the media.
    Media,
    /// The data is in the device's cache; blocks of zeroes may be deallocated.
    UnmapCache,
    /// The data is on the media; blocks of zeroes may be deallocated.
    UnmapMedia,
}

const _: () = assert!(size_of::<Operation>() == 2);

impl WriteSame {
    /// A write-same that leaves all blocks allocated.
    #[must_use]
    pub const fn new(when: Durability) -> Self {
        match when {
            Durability::Cache => Self::Cache,
            Durability::Media => Self::Media,
        }
    }

    /// Lets the write-same deallocate blocks of zeroes.
    #[must_use]
    pub const fn unmapping(self) -> Self {
        match self {
            Self::Cache | Self::UnmapCache => Self::UnmapCache,
            Self::Media | Self::UnmapMedia => Self::UnmapMedia,
        }
    }

    /// Moment at which it counts as done.
    #[must_use]
    pub const fn durability(self) -> Durability {
        match self {
            Self::Cache | Self::UnmapCache => Durability::Cache,
            Self::Media | Self::UnmapMedia => Durability::Media,
        }
    }

    /// Write of zeroes that it is for blocks of zeroes.
    #[must_use]
    pub const fn of_zeroes(self) -> Operation {
        match self {
            Self::Cache | Self::Media => Operation::WriteZeroes,
            Self::UnmapCache | Self::UnmapMedia => Operation::WriteZeroesUnmap,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write(_) => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
            Self::WriteZeroes | Self::WriteZeroesUnmap => "write-zeroes",
            Self::Compare => "compare",
            Self::Verify => "verify",
            Self::CompareAndWrite(_) => "compare-and-write",
            Self::WriteUncorrectable => "write-uncorrectable",
            Self::Stepped(Stepped::WriteSame(_)) => "write-same",
            Self::Stepped(Stepped::CompareSame) => "compare-same",
            Self::Stepped(Stepped::WriteAndVerify) => "write-and-verify",
            Self::Stepped(Stepped::WriteAndCompare) => "write-and-compare",
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

    /// Place in the list of operations: zero of a read, one of a write. The compiler makes it a load of the enum's
    /// own tag.
    #[inline]
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::Write(_) => 1,
            Self::Flush => 2,
            Self::Discard => 3,
            Self::WriteZeroes => 4,
            Self::WriteZeroesUnmap => 5,
            Self::Compare => 6,
            Self::Verify => 7,
            Self::CompareAndWrite(_) => 8,
            Self::WriteUncorrectable => 9,
            Self::Stepped(_) => 10,
        }
    }

    /// Whether it is a read or a write, which move data and do nothing else.
    #[inline]
    #[must_use]
    pub const fn is_transfer(self) -> bool {
        matches!(self, Self::Read | Self::Write(_))
    }

    /// Whether it compares blocks with memory.
    #[must_use]
    pub const fn is_compare(self) -> bool {
        matches!(self, Self::Compare | Self::CompareAndWrite(_))
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
            Self::Read | Self::Flush | Self::Compare | Self::Verify => false,
            Self::Write(_)
            | Self::Discard
            | Self::WriteZeroes
            | Self::WriteZeroesUnmap
            | Self::CompareAndWrite(_)
            | Self::WriteUncorrectable => true,
            Self::Stepped(stepped) => stepped.changes_data(),
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

    /// Whether it has memory: what it reads into, writes from or compares with.
    #[must_use]
    pub const fn moves_data(self) -> bool {
        self.memory_of(1) > 0
    }

    /// Blocks of memory that a request of so many blocks has.
    #[must_use]
    pub const fn memory_of(self, blocks: u32) -> u64 {
        match self {
            Self::Read | Self::Write(_) | Self::Compare => blocks as u64,
            Self::CompareAndWrite(_) => 2 * blocks as u64,
            Self::Flush
            | Self::Discard
            | Self::WriteZeroes
            | Self::WriteZeroesUnmap
            | Self::Verify
            | Self::WriteUncorrectable => 0,
            Self::Stepped(stepped) => stepped.memory_of(blocks),
        }
    }
}

impl Stepped {
    const fn changes_data(self) -> bool {
        !matches!(self, Self::CompareSame)
    }

    /// Blocks of memory that a request of so many blocks has. A write of zeroes may have none.
    const fn memory_of(self, blocks: u32) -> u64 {
        match self {
            Self::WriteSame(_) | Self::CompareSame => 1,
            Self::WriteAndVerify | Self::WriteAndCompare => blocks as u64,
        }
    }
}
