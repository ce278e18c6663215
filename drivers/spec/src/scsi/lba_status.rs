//! Parameter data of GET LBA STATUS. SBC, clause 5.4.2.

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Header of the data.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LbaStatusHeader {
    /// Number of bytes that follow this field.
    pub data_bytes: U32,
    /// Reserved.
    pub reserved: U32,
}

const _: () = assert!(size_of::<LbaStatusHeader>() == 8);

/// Blocks with one provisioning status.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct LbaStatusDescriptor {
    /// First block.
    pub lba: U64,
    /// Number of blocks.
    pub blocks: U32,
    /// Provisioning status.
    pub status: ProvisioningStatus,
    /// Reserved.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<LbaStatusDescriptor>() == 16);

/// Provisioning status of blocks. SBC, table 47.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct ProvisioningStatus(pub u8);

impl ProvisioningStatus {
    /// Mapped, or unknown.
    pub const MAPPED: Self = Self(0);
    /// Deallocated.
    pub const DEALLOCATED: Self = Self(1);
    /// Anchored.
    pub const ANCHORED: Self = Self(2);
}
