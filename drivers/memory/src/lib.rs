//! Memory that guests, SSDs and Luge share.
//!
//! Path: guest ring -> session -> volume -> channel -> NVMe queue pair -> SSD;
//! every buffer and ring on it lives in memory from here.
//!
//! - [`GuestAddress`], [`DriverAddress`], [`Iova`]: three kinds of address that never mix.
//! - [`Mapping`]: memory of a file descriptor in this process.
//! - [`DmaSpace`]: the memory that the SSDs reach, and its [`Iova`]s.
//! - [`DmaMemory`]: hugepage memory of our own that SSDs reach. [`ElasticMemory`] can be resized.
//! - [`PeerMemory`]: memory that another process shares with this one.
//! - [`PeerFiles`]: memory files of a peer that announces them in many pieces.
//! - [`GuestMemory`]: a guest's memory; the only place where guest addresses become [`Span`]s.
//! - [`PciFunction`]: a device's registers, behind the trait that its driver uses.
//! - [`Span`], [`FixedSpan`], [`SharedByte`], [`SharedArray`], [`SharedRing`]: the only accessors to memory that others can
//!   write.
//!
//! Invariants
//! - Memory that others can write is never a `&[u8]` or `&mut [u8]`.
//! - Memory is unmapped from every IOMMU before it is unmapped from the process.
//! - Guest memory that its front end takes away harms that guest only.
//!
//! Not here: how an IOMMU is programmed (`vfio`), rings (`virtqueue`), queues (`nvme`).

mod address;
mod address_ranges;
mod copy;
mod dma_memory;
mod dma_space;
mod elastic_memory;
mod fault;
mod function;
mod guest;
mod host_memory;
mod iova;
mod lookup;
mod mapping;
mod memory_file;
mod numa;
mod peer_files;
mod peer_memory;
mod region;
mod run;
mod shared_array;
mod shared_memory;
mod shared_ring;
mod span;
pub mod stall;

pub use address::{DriverAddress, GuestAddress, Iova};
pub use address_ranges::{AddressRange, AddressRanges};
pub use dma_memory::{DmaMemory, MemoryError, PageSize};
pub use dma_space::{DmaRegion, DmaSpace, Iommu};
pub use elastic_memory::ElasticMemory;
pub use function::{MemoryAccess, PciFunction, PciId};
pub use guest::{AddressError, GuestMemory};
pub use iova::{IovaAllocator, IovaRange};
pub use lookup::{Lookup, Near, Use};
pub use mapping::{MapError, Mapping};
pub use memory_file::Unmappable;
pub use numa::{NodeAmounts, NumaNode};
pub use peer_files::PeerFiles;
pub use peer_memory::{PeerMemory, PeerMemoryError};
pub use region::{DeviceAccess, GuestRegion, RegionError, RegionLayout};
pub use shared_array::{SharedArray, SharedWords, Word};
pub use shared_memory::{MemoryId, OwnMemory};
pub use shared_ring::SharedRing;
pub use span::{FixedSpan, SharedByte, Span};
