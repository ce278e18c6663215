//! A region of a guest's memory, as its front end shares it: a piece of a file.
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
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use thiserror::Error;

/// Description of a region of guest memory, as a front end sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLayout {
    /// Where the guest sees it.
    pub guest: GuestAddress,
    /// Where the front end's process sees it.
    pub driver: DriverAddress,
    /// Length in bytes.
    pub len: u64,
    /// Where it starts in its file, in bytes.
    pub file_offset: u64,
}

impl RegionLayout {
    /// The error of a region that cannot be like that.
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

/// Why a region was not taken.
#[derive(Debug, Error)]
pub enum RegionError {
    /// Empty, or past the end of an address space.
    #[error("a region of {len} bytes at guest address {guest} is not possible")]
    Shape {
        /// Where it was to be.
        guest: GuestAddress,
        /// Its length in bytes.
        len: u64,
    },
    /// Two regions claim an address.
    #[error("the region at guest address {guest} overlaps another")]
    Overlap {
        /// Where it was to be.
        guest: GuestAddress,
    },
    /// No region is like that.
    #[error("there is no region of {len} bytes at guest address {guest}")]
    Unknown {
        /// Where it should have been.
        guest: GuestAddress,
        /// Its length in bytes.
        len: u64,
    },
    /// It could not be mapped into this process.
    #[error(transparent)]
    Map(#[from] PeerMemoryError),
    /// It could not be mapped for the SSDs.
    #[error(
        "cannot map guest memory for the SSDs (is the limit of locked memory, `ulimit -l`, too low?): {0}"
    )]
    Dma(io::Error),
}

/// A region of a guest's memory. Mapped for this process and for the SSDs where its file is memory.
pub struct GuestRegion {
    layout: RegionLayout,
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
    /// A region of `file`: mapped, if that is a memory file, and otherwise left alone.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map(space: &Arc<DmaSpace>, layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let ends = (layout.guest.checked_add(layout.len), layout.driver.checked_add(layout.len));
        if layout.len == 0 || ends.0.is_none() || ends.1.is_none() {
            return Err(layout.impossible());
        }
        let is_memory = page_bytes(&file).is_some();
        let memory = is_memory.then(|| Memory::map(space, &layout, file)).transpose()?;
        Ok(Self { layout, memory })
    }

    /// The same region, with the connection to its front end: that is shut down, in both
    /// directions, the moment this process finds some of the memory missing.
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

    /// Whether its file is memory, so that it was mapped.
    pub(crate) fn is_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Number of times that some of it was missing.
    pub(crate) fn faults(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.watch.faults())
    }

    /// Amounts of its memory on each NUMA node, as far as they are known.
    pub(crate) fn nodes(&self) -> NodeAmounts {
        self.memory.as_ref().map(|memory| nodes_of(memory.dma.memory())).unwrap_or_default()
    }

    /// Data for look-ups, if it is memory.
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
