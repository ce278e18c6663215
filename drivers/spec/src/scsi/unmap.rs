//! Parameter list of UNMAP. SBC, clause 5.28.2.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Header of the list.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct UnmapHeader {
    /// Number of bytes of the list that follow this field.
    pub data_bytes: U16,
    /// Bytes of descriptors.
    pub descriptor_bytes: U16,
    /// Reserved.
    pub reserved: U32,
}

const _: () = assert!(size_of::<UnmapHeader>() == 8);

/// Blocks to be deallocated.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct UnmapDescriptor {
    /// First block.
    pub lba: U64,
    /// Number of blocks.
    pub blocks: U32,
    /// Reserved.
    pub reserved: U32,
}

const _: () = assert!(size_of::<UnmapDescriptor>() == 16);
