//! The block device (virtio 1.3, clause 5.2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a sector, the unit of addresses, whatever the block size.
pub const SECTOR_BYTES: u32 = 512;
/// Bytes of the response to [`RequestType::GET_ID`].
pub const ID_BYTES: usize = 20;

/// Header of a request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RequestHeader {
    /// Type of the request.
    pub kind: RequestType,
    /// Reserved, zero.
    pub reserved: U32,
    /// First sector of a read or write, in units of [`SECTOR_BYTES`]; zero otherwise.
    pub sector: U64,
}

const _: () = assert!(size_of::<RequestHeader>() == 16);

/// Type of a request.
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
    /// Return the serial number.
    pub const GET_ID: Self = Self(U32::new(8));
    /// Discard ranges.
    pub const DISCARD: Self = Self(U32::new(11));
    /// Write zeroes to ranges.
    pub const WRITE_ZEROES: Self = Self(U32::new(13));
}

/// Status of a request: the last byte that the device writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct RequestStatus(pub u8);

impl RequestStatus {
    /// Success.
    pub const OK: Self = Self(0);
    /// The request failed.
    pub const IOERR: Self = Self(1);
    /// The device does not support the request.
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
    /// [`Self::UNMAP`] or zero; other bits have to be refused.
    pub flags: U32,
}

const _: () = assert!(size_of::<RangeSegment>() == 16);

impl RangeSegment {
    /// For write zeroes only: the range may be deallocated.
    pub const UNMAP: u32 = 1;
}

/// Configuration space, up to and including the secure-erase fields.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Config {
    /// Size in sectors.
    pub capacity: U64,
    /// Longest segment in bytes.
    pub size_max: U32,
    /// Most segments of a request.
    pub seg_max: U32,
    /// Cylinders, of the legacy geometry.
    pub cylinders: U16,
    /// Heads, of the legacy geometry.
    pub heads: u8,
    /// Sectors per track, of the legacy geometry.
    pub sectors: u8,
    /// Block size in bytes.
    pub blk_size: U32,
    /// Blocks per physical block, as a power of two.
    pub physical_block_exp: u8,
    /// Blocks before the first aligned block.
    pub alignment_offset: u8,
    /// Smallest efficient I/O in blocks; a multiple of the physical block.
    pub min_io_size: U16,
    /// Optimal I/O in blocks; zero if there is none.
    pub opt_io_size: U32,
    /// Cache mode: 1 for write-back.
    pub writeback: u8,
    /// Unused, zero.
    pub unused0: u8,
    /// Number of queues.
    pub num_queues: U16,
    /// Largest discard range in sectors.
    pub max_discard_sectors: U32,
    /// Most ranges of a discard.
    pub max_discard_seg: U32,
    /// Preferred alignment of discards in sectors.
    pub discard_sector_alignment: U32,
    /// Largest write-zeroes range in sectors.
    pub max_write_zeroes_sectors: U32,
    /// Most ranges of a write-zeroes.
    pub max_write_zeroes_seg: U32,
    /// Whether write zeroes may deallocate.
    pub write_zeroes_may_unmap: u8,
    /// Unused, zero.
    pub unused1: [u8; 3],
    /// Largest secure-erase range in sectors.
    pub max_secure_erase_sectors: U32,
    /// Most ranges of a secure erase.
    pub max_secure_erase_seg: U32,
    /// Preferred alignment of secure erases in sectors.
    pub secure_erase_sector_alignment: U32,
}

const _: () = assert!(size_of::<Config>() == 72);
const _: () = assert!(std::mem::offset_of!(Config, blk_size) == 20);
const _: () = assert!(std::mem::offset_of!(Config, num_queues) == 34);
const _: () = assert!(std::mem::offset_of!(Config, max_write_zeroes_sectors) == 48);
