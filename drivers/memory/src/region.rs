//! A region of guest memory: a piece of a file that the front end shares.
//!
//! Path: none; regions are mapped before the first request that uses them. [`crate::GuestMemory`]
//! looks addresses up in them.
//!
//! Invariants
//! - Only memory files are mapped: memfds, and files on tmpfs and hugetlbfs. Any other may be shared
//!   (a virtual NVDIMM on a disk's file is), but touching it could keep a core waiting.
//! - Memory that is taken away by its front end reads as zeroes, and its front end is cut off
//!   (`fault`).

use crate::dma_space::{DmaRegion, DmaSpace};
use crate::fault::Watch;
use crate::lookup::Row;
use crate::numa::nodes_of;
use crate::peer_memory::{PeerMemory, PeerMemoryError, page_bytes};
use crate::{DriverAddress, GuestAddress, Iova, NodeAmounts};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use thiserror::Error;

/// Description of a region of guest memory, as a front end sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLayout {
    /// Guest physical address of the first byte.
    pub guest: GuestAddress,
    /// Address of the first byte in the front end's process.
    pub driver: DriverAddress,
    /// Length in bytes.
    pub len: u64,
    /// Offset in the file, in bytes.
    pub file_offset: u64,
}

impl RegionLayout {
    /// Error for an impossible layout.
    fn impossible(&self) -> RegionError {
        RegionError::Shape { guest: self.guest, len: self.len }
    }

    /// Whether the region has that address of the guest.
    pub(crate) fn has(&self, at: GuestAddress) -> bool {
        at.0.wrapping_sub(self.guest.0) < self.len
    }

    /// The guest address of an address in the front end's process, if the region has it.
    pub(crate) fn guest_address(&self, at: DriverAddress) -> Option<GuestAddress> {
        let offset = at.0.checked_sub(self.driver.0).filter(|&offset| offset < self.len)?;
        self.guest.checked_add(offset)
    }
}

/// Error of adding or removing a region.
#[derive(Debug, Error)]
pub enum RegionError {
    /// Empty, or past the end of an address space.
    #[error("a region of {len} bytes at guest address {guest} is not possible")]
    Shape {
        /// First guest address.
        guest: GuestAddress,
        /// Length in bytes.
        len: u64,
    },
    /// Two regions claim an address.
    #[error("the region at guest address {guest} overlaps another")]
    Overlap {
        /// First guest address.
        guest: GuestAddress,
    },
    /// No region has this address and length.
    #[error("there is no region of {len} bytes at guest address {guest}")]
    Unknown {
        /// First guest address.
        guest: GuestAddress,
        /// Length in bytes.
        len: u64,
    },
    /// The file cannot be kept.
    #[error("cannot keep the file of guest memory (is the limit of open files, `ulimit -n`, too low?): {0}")]
    File(io::Error),
    /// Mapping into this process failed.
    #[error(transparent)]
    Map(#[from] PeerMemoryError),
    /// Mapping for the SSDs failed.
    #[error(
        "cannot map guest memory for the SSDs (is the limit of locked memory, `ulimit -l`, too low?): {0}"
    )]
    Dma(io::Error),
}

/// A region of a guest's memory. Mapped for this process and for the SSDs where its file is memory.
pub struct GuestRegion {
    layout: RegionLayout,
    file: OwnedFd,
    memory: Option<Memory>,
}

/// The memory of a region.
struct Memory {
    /// Bytes of the mapping before the region: mappings start at whole pages of their file.
    lead: u64,
    // Dropped before the memory that it watches.
    watch: Watch,
    dma: DmaRegion,
}

impl GuestRegion {
    /// Makes a region of `file`; maps it only if that is a memory file.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map(space: &Arc<DmaSpace>, layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let ends = (layout.guest.checked_add(layout.len), layout.driver.checked_add(layout.len));
        if layout.len == 0 || ends.0.is_none() || ends.1.is_none() {
            return Err(layout.impossible());
        }
        let is_memory = page_bytes(&file).is_some();
        let memory = is_memory.then(|| Memory::map(space, &layout, &file)).transpose()?;
        let file = file.as_fd().try_clone_to_owned().map_err(RegionError::File)?;
        Ok(Self { layout, file, memory })
    }

    /// Ties the region to its front end's connection, which is shut down, in both directions, as
    /// soon as this process finds memory missing.
    #[must_use]
    pub fn tied_to(mut self, connection: &Arc<UnixStream>) -> Self {
        self.memory.iter_mut().for_each(|memory| memory.watch.tie(connection.clone()));
        self
    }

    /// Description by the front end.
    #[must_use]
    pub fn layout(&self) -> RegionLayout {
        self.layout
    }

    /// File of the region, for another process that maps it.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether the file is a memory file, so that the region is mapped.
    pub(crate) fn is_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Number of accesses that found memory missing.
    pub(crate) fn faults(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.watch.faults())
    }

    /// Bytes on each NUMA node, as far as known.
    pub(crate) fn nodes(&self) -> NodeAmounts {
        self.memory.as_ref().map(|memory| nodes_of(memory.dma.memory())).unwrap_or_default()
    }

    /// Row for look-ups, if the region is mapped.
    pub(crate) fn row(&self) -> Option<Row> {
        let Memory { lead, dma, .. } = self.memory.as_ref()?;
        let host = dma.memory().host_at(*lead)?;
        let iova = Iova(dma.iova().0.wrapping_add(*lead));
        Some(Row { guest: self.layout.guest, len: self.layout.len, host, iova })
    }
}

impl Memory {
    /// Maps a region of a memory file for this process and for the SSDs.
    fn map(space: &Arc<DmaSpace>, layout: &RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let PeerMemory { watch, mapping, lead, .. } = PeerMemory::map(file, layout.file_offset, layout.len)?;
        let dma = space.map(mapping).map_err(RegionError::Dma)?;
        Ok(Self { lead, watch, dma })
    }
}
