//! Regions of a function: BARs, configuration space.
//!
//! ```text
//! reply of GET_REGION_INFO    RegionInfo, then at `cap_offset`: CapabilityHeader, SparseMmap, SparseArea * areas
//! ```

use crate::bits::bits;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Identifier of the capability with the areas of a region that can be mapped.
pub const SPARSE_MMAP: u16 = 1;
/// Version of that capability.
pub const SPARSE_MMAP_VERSION: u16 = 1;
/// Most writes that QEMU sends in one REGION_WRITE_MULTI. The protocol has no limit of its own.
pub const WRITES_MAX: u64 = 200;

/// Index of a region of a PCI function.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct RegionIndex(pub U32);

impl RegionIndex {
    /// BAR 0. BARs 1 to 5 follow.
    pub const BAR0: Self = Self(U32::new(0));
    /// Expansion ROM.
    pub const ROM: Self = Self(U32::new(6));
    /// Configuration space.
    pub const CONFIG: Self = Self(U32::new(7));
    /// VGA.
    pub const VGA: Self = Self(U32::new(8));
    /// Number of regions of a PCI function.
    pub const COUNT: u32 = 9;
}

/// Payload of DEVICE_GET_REGION_INFO, and of its reply. Capabilities may follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RegionInfo {
    /// Length of the longest reply that is wanted; in a reply, of the whole one. In bytes.
    pub argsz: U32,
    /// Properties of the region.
    pub flags: RegionFlags,
    /// Index of the region.
    pub index: RegionIndex,
    /// Offset in bytes, from the start of this structure, of the first capability.
    pub cap_offset: U32,
    /// Length of the region in bytes.
    pub size: U64,
    /// Offset of the region in the file by which it can be mapped, in bytes.
    pub offset: U64,
}

const _: () = assert!(size_of::<RegionInfo>() == 32);

bits! {
    /// Properties of a region. Unknown bits are legal and ignored.
    RegionFlags: U32 = u32 {
        /// The region can be read.
        READ = 1 << 0;
        /// The region can be written.
        WRITE = 1 << 1;
        /// The region, or the areas of the capability, can be mapped.
        MMAP = 1 << 2;
        /// There are capabilities.
        CAPABILITIES = 1 << 3;
    }
}

/// Header of a capability of a region.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct CapabilityHeader {
    /// Identifier, such as [`SPARSE_MMAP`].
    pub id: U16,
    /// Version of the capability.
    pub version: U16,
    /// Offset in bytes, from the start of [`RegionInfo`], of the next capability; zero at the last one.
    pub next: U32,
}

const _: () = assert!(size_of::<CapabilityHeader>() == 8);

/// The capability [`SPARSE_MMAP`], after its header. The areas follow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SparseMmap {
    /// Number of areas.
    pub areas: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<SparseMmap>() == 8);

/// Area of a region that can be mapped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SparseArea {
    /// Offset in the region, in bytes. The offset in the file is greater by [`RegionInfo::offset`].
    pub offset: U64,
    /// Length in bytes.
    pub size: U64,
}

const _: () = assert!(size_of::<SparseArea>() == 16);

/// Payload of REGION_READ and REGION_WRITE, and of their replies. The data follows in the reply to REGION_READ,
/// and in REGION_WRITE.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RegionAccess {
    /// Offset in the region, in bytes.
    pub offset: U64,
    /// Index of the region.
    pub region: RegionIndex,
    /// Length of the data in bytes.
    pub count: U32,
}

const _: () = assert!(size_of::<RegionAccess>() == 16);

/// Payload of REGION_WRITE_MULTI, and of its reply. The writes follow in the message: [`WriteOne`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct WriteMulti {
    /// Number of writes; in a reply, of those that were done.
    pub writes: U64,
}

const _: () = assert!(size_of::<WriteMulti>() == 8);

/// One write of a REGION_WRITE_MULTI.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct WriteOne {
    /// Offset in the region, in bytes.
    pub offset: U64,
    /// Index of the region.
    pub region: RegionIndex,
    /// Length of the data in bytes, up to eight.
    pub count: U32,
    /// Data, from the first byte.
    pub data: [u8; 8],
}

const _: () = assert!(size_of::<WriteOne>() == 24);

/// Payload of DEVICE_GET_REGION_IO_FDS, and of its reply. Descriptions of eventfds may follow in the reply.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IoFdsInfo {
    /// Length of the longest reply that is wanted; in a reply, of the whole one. In bytes.
    pub argsz: U32,
    /// Zero.
    pub flags: U32,
    /// Index of the region.
    pub index: RegionIndex,
    /// Number of descriptions in a reply.
    pub count: U32,
}

const _: () = assert!(size_of::<IoFdsInfo>() == 16);
