//! Memory of the client: DMA_MAP, DMA_UNMAP, DMA_READ and DMA_WRITE.

use crate::bits::bits;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Payload of DMA_MAP. With a file descriptor, the server can map the memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DmaMap {
    /// Length of this structure in bytes.
    pub argsz: U32,
    /// Directions of access.
    pub flags: DmaMapFlags,
    /// Offset in the file, in bytes.
    pub offset: U64,
    /// Address by which the function reaches the memory.
    pub address: U64,
    /// Length in bytes.
    pub size: U64,
}

const _: () = assert!(size_of::<DmaMap>() == 32);

bits! {
    /// Directions of access to memory of a client. Unknown bits are legal and ignored.
    DmaMapFlags: U32 = u32 {
        /// The function may read the memory.
        READ = 1 << 0;
        /// The function may write the memory.
        WRITE = 1 << 1;
    }
}

/// Payload of DMA_UNMAP, and of its reply.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DmaUnmap {
    /// Length of the longest reply that is wanted; in a reply, of the whole one. In bytes.
    pub argsz: U32,
    /// Flags.
    pub flags: DmaUnmapFlags,
    /// Address of the mapping.
    pub address: U64,
    /// Length of the mapping in bytes.
    pub size: U64,
}

const _: () = assert!(size_of::<DmaUnmap>() == 24);

bits! {
    /// Flags of DMA_UNMAP. Unknown bits are legal and ignored.
    DmaUnmapFlags: U32 = u32 {
        /// The pages that the function has written are asked for.
        GET_DIRTY_BITMAP = 1 << 0;
        /// All mappings are to go; address and size are zero.
        ALL = 1 << 1;
    }
}

/// Payload of DMA_READ and DMA_WRITE, and of their replies. The data follows in the reply to DMA_READ, and in
/// DMA_WRITE.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct DmaAccess {
    /// Address in the memory of the client.
    pub address: U64,
    /// Length of the data in bytes.
    pub count: U64,
}

const _: () = assert!(size_of::<DmaAccess>() == 16);
