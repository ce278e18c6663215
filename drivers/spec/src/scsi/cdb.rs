//! Command descriptor blocks, as they are typical for each length. Clause 4.2.2.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bits of the fifth byte of START STOP UNIT (SBC-4, clause 5.31).
pub mod start_stop_unit {
    /// The unit is to be started, otherwise stopped.
    pub const START: u8 = 1 << 0;
    /// The medium is to be loaded or ejected.
    pub const LOEJ: u8 = 1 << 1;
    /// The cache need not be written to the medium before.
    pub const NO_FLUSH: u8 = 1 << 2;
    /// POWER CONDITION.
    pub const POWER_CONDITION: u8 = 0xf0;
}

/// Bits of the second byte of block commands.
pub mod flags {
    /// RDPROTECT, WRPROTECT or VRPROTECT.
    pub const PROTECT: u8 = 0xe0;
    /// DPO: the blocks will not be needed soon.
    pub const DPO: u8 = 1 << 4;
    /// FUA: the medium is read, or written before the command ends.
    pub const FUA: u8 = 1 << 3;
    /// FUA_NV: obsolete.
    pub const FUA_NV: u8 = 1 << 1;
    /// RELADR: obsolete.
    pub const RELADR: u8 = 1;
    /// BYTCHK of VERIFY and WRITE AND VERIFY. SBC, table 145.
    pub const BYTCHK: u8 = 3 << 1;
    /// BYTCHK: no data is compared.
    pub const BYTCHK_NONE: u8 = 0;
    /// BYTCHK: the data of all blocks is compared.
    pub const BYTCHK_ALL: u8 = 1 << 1;
    /// BYTCHK: one block of data is compared with each block.
    pub const BYTCHK_ONE: u8 = 3 << 1;
    /// ANCHOR of WRITE SAME: blocks are anchored instead of deallocated.
    pub const ANCHOR: u8 = 1 << 4;
    /// UNMAP of WRITE SAME: blocks may be deallocated.
    pub const UNMAP: u8 = 1 << 3;
    /// PBDATA and LBDATA of WRITE SAME: obsolete, and not to be ignored, because they change the data.
    pub const PBDATA_LBDATA: u8 = 3 << 1;
    /// NDOB of WRITE SAME (16): no data; zeroes are written.
    pub const NDOB: u8 = 1;
    /// ANCHOR of UNMAP.
    pub const UNMAP_ANCHOR: u8 = 1;
    /// SYNC_NV of SYNCHRONIZE CACHE: obsolete.
    pub const SYNC_NV: u8 = 1 << 2;
    /// IMMED of SYNCHRONIZE CACHE: the status may come before the medium is written.
    pub const IMMED: u8 = 1 << 1;
}

/// Bits of the last byte of a CDB. SAM, clause 5.2.
pub mod control {
    /// NACA: a failure establishes an auto contingent allegiance condition.
    pub const NACA: u8 = 1 << 2;
}

/// CDB of 6 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Cdb6 {
    /// Operation code.
    pub opcode: u8,
    /// High bits of the first block: the low five ones.
    pub lba_high: u8,
    /// Low bits of the first block.
    pub lba_low: U16,
    /// Number of blocks; zero means 256.
    pub length: u8,
    /// Control byte.
    pub control: u8,
}

const _: () = assert!(size_of::<Cdb6>() == 6);

/// CDB of 10 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Cdb10 {
    /// Operation code.
    pub opcode: u8,
    /// Flags, or a service action.
    pub flags: u8,
    /// First block.
    pub lba: U32,
    /// Group number.
    pub group: u8,
    /// Number of blocks, or bytes of parameters.
    pub length: U16,
    /// Control byte.
    pub control: u8,
}

const _: () = assert!(size_of::<Cdb10>() == 10);

/// CDB of 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Cdb12 {
    /// Operation code.
    pub opcode: u8,
    /// Flags, or a service action.
    pub flags: u8,
    /// First block.
    pub lba: U32,
    /// Number of blocks, or bytes of parameters.
    pub length: U32,
    /// Group number.
    pub group: u8,
    /// Control byte.
    pub control: u8,
}

const _: () = assert!(size_of::<Cdb12>() == 12);

/// CDB of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Cdb16 {
    /// Operation code.
    pub opcode: u8,
    /// Flags, or a service action.
    pub flags: u8,
    /// First block.
    pub lba: U64,
    /// Number of blocks, or bytes of parameters.
    pub length: U32,
    /// Group number.
    pub group: u8,
    /// Control byte.
    pub control: u8,
}

const _: () = assert!(size_of::<Cdb16>() == 16);
