//! Parameter data of READ CAPACITY. SBC, clauses 5.15 and 5.16.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bits of [`Capacity16::provisioning`].
pub mod capacity_flags {
    /// LBPME: blocks can be deallocated.
    pub const PROVISIONING_MANAGED: u16 = 1 << 15;
    /// LBPRZ: deallocated blocks read as zeroes.
    pub const DEALLOCATED_READ_ZEROES: u16 = 1 << 14;
}

/// Data of READ CAPACITY (10).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Capacity10 {
    /// The last block; all bits where it is beyond them.
    pub last_lba: U32,
    /// Bytes of a block.
    pub block_bytes: U32,
}

const _: () = assert!(size_of::<Capacity10>() == 8);

/// Data of READ CAPACITY (16).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Capacity16 {
    /// The last block.
    pub last_lba: U64,
    /// Bytes of a block.
    pub block_bytes: U32,
    /// P_TYPE and PROT_EN.
    pub protection: u8,
    /// P_I_EXPONENT, and the exponent of the number of blocks in a physical block: the low four bits.
    pub exponents: u8,
    /// LBPME, LBPRZ, and the lowest aligned block.
    pub provisioning: U16,
    /// Reserved.
    pub reserved: [u8; 16],
}

const _: () = assert!(size_of::<Capacity16>() == 32);
