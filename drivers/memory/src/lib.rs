//! Shared memory: what guests, SSDs and Luge can all see.
//!
//! Path: guest ring -> session -> volume -> channel -> NVMe queue pair -> SSD;
//! every buffer and ring on it lives in memory from here.
//!
//! - [`GuestAddress`], [`DriverAddress`], [`Iova`]: three kinds of address that never mix.
//! - [`Mapping`]: memory of a file descriptor in this process.
//! - [`DmaSpace`]: which memory the SSDs reach, and at which [`Iova`].
//! - [`DmaMemory`]: hugepage memory of our own that SSDs reach.
//! - [`PeerMemory`]: a piece of memory that another process shares with this one.
//! - [`GuestMemory`]: a guest's memory, the one place where its addresses become [`Span`]s.
//! - [`PciFunction`]: a device's registers, behind the trait that its driver uses.
//! - [`Span`], [`FixedSpan`], [`SharedByte`], [`SharedArray`]: the only accessors to memory that somebody else can write.
//!
//! Invariants
//! - Memory somebody else can write is never a `&[u8]` or `&mut [u8]`.
//! - A mapping leaves every IOMMU before its memory goes.
//! - Guest memory that its front end takes away is a loss for that guest only.
//!
//! Not here: how an IOMMU is programmed (`vfio`), rings (`virtqueue`), queues (`nvme`).

mod address;
mod copy;
mod dma_memory;
mod dma_space;
mod fault;
mod function;
mod guest;
mod iova;
mod lookup;
mod mapping;
mod numa;
mod peer_memory;
mod region;
mod shared_array;
mod span;

pub use address::{DriverAddress, GuestAddress, Iova};
pub use dma_memory::{DmaMemory, MemoryError, PageSize};
pub use dma_space::{DmaRegion, DmaSpace, Iommu};
pub use function::{MemoryAccess, PciFunction, PciId};
pub use guest::{AddressError, GuestMemory};
pub use iova::{IovaAllocator, IovaRange};
pub use lookup::Lookup;
pub use mapping::{MapError, Mapping};
pub use numa::{NodeAmounts, NumaNode};
pub use peer_memory::{PeerMemory, PeerMemoryError};
pub use region::{GuestRegion, RegionError, RegionLayout};
pub use shared_array::{SharedArray, Word};
pub use span::{FixedSpan, SharedByte, Span};
