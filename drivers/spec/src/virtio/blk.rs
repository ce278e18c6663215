//! The block device (virtio 1.3, clause 5.2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A sector of this device type, whatever its block size.
pub const SECTOR_BYTES: u32 = 512;
/// Bytes of the answer to [`RequestType::GET_ID`].
pub const ID_BYTES: usize = 20;

/// What a request starts with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RequestHeader {
    /// What to do.
    pub kind: RequestType,
    /// Zero.
    pub reserved: U32,
    /// The first sector of a read or write, in units of [`SECTOR_BYTES`]; zero otherwise.
    pub sector: U64,
}

const _: () = assert!(size_of::<RequestHeader>() == 16);

/// What a request asks for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct RequestType(pub U32);

impl RequestType {
    /// Read.
    pub const IN: Self = Self(U32::new(0));
    /// Write.
    pub const OUT: Self = Self(U32::new(1));
    /// Flush the cache.
    pub const FLUSH: Self = Self(U32::new(4));
    /// Tell the serial number.
    pub const GET_ID: Self = Self(U32::new(8));
    /// Discard ranges.
    pub const DISCARD: Self = Self(U32::new(11));
    /// Write zeroes to ranges.
    pub const WRITE_ZEROES: Self = Self(U32::new(13));
}

/// How a request ended: the last byte the device writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct RequestStatus(pub u8);

impl RequestStatus {
    /// Done.
    pub const OK: Self = Self(0);
    /// It failed.
    pub const IOERR: Self = Self(1);
    /// The device cannot do that.
    pub const UNSUPP: Self = Self(2);
}

/// A range of a discard or write-zeroes request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RangeSegment {
    /// First sector.
    pub sector: U64,
    /// Number of sectors.
    pub sectors: U32,
    /// [`Self::UNMAP`] or zero; others are to be refused.
    pub flags: U32,
}

const _: () = assert!(size_of::<RangeSegment>() == 16);

impl RangeSegment {
    /// Write zeroes only: the range may be deallocated.
    pub const UNMAP: u32 = 1;
}

/// The configuration space, up to and with the secure-erase fields.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Config {
    /// Size in sectors.
    pub capacity: U64,
    /// The longest segment in bytes.
    pub size_max: U32,
    /// The most segments of a request.
    pub seg_max: U32,
    /// Cylinders, for software that asks.
    pub cylinders: U16,
    /// Heads.
    pub heads: u8,
    /// Sectors of a track.
    pub sectors: u8,
    /// Block size in bytes.
    pub blk_size: U32,
    /// Blocks of a physical block, as a power of two.
    pub physical_block_exp: u8,
    /// Blocks before the first aligned one.
    pub alignment_offset: u8,
    /// Blocks from which on I/O is efficient; a multiple of the physical block.
    pub min_io_size: U16,
    /// Blocks of the best I/O; zero where none is better.
    pub opt_io_size: U32,
    /// Cache mode.
    pub writeback: u8,
    /// Zero.
    pub unused0: u8,
    /// Number of queues.
    pub num_queues: U16,
    /// Sectors of the largest discard range.
    pub max_discard_sectors: U32,
    /// The most ranges of a discard.
    pub max_discard_seg: U32,
    /// What discards are best aligned to, in sectors.
    pub discard_sector_alignment: U32,
    /// Sectors of the largest write-zeroes range.
    pub max_write_zeroes_sectors: U32,
    /// The most ranges of a write-zeroes.
    pub max_write_zeroes_seg: U32,
    /// Whether write zeroes may deallocate.
    pub write_zeroes_may_unmap: u8,
    /// Zero.
    pub unused1: [u8; 3],
    /// Sectors of the largest secure-erase range.
    pub max_secure_erase_sectors: U32,
    /// The most ranges of a secure erase.
    pub max_secure_erase_seg: U32,
    /// What secure erases are best aligned to, in sectors.
    pub secure_erase_sector_alignment: U32,
}

const _: () = assert!(size_of::<Config>() == 72);
const _: () = assert!(std::mem::offset_of!(Config, blk_size) == 20);
const _: () = assert!(std::mem::offset_of!(Config, num_queues) == 34);
const _: () = assert!(std::mem::offset_of!(Config, max_write_zeroes_sectors) == 48);
