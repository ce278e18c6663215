//! A region of guest memory: a piece of a file that the front end shares.
//!
//! Path: none; regions are mapped before the first request that uses them. [`crate::GuestMemory`]
//! looks addresses up in them.
//!
//! Invariants
//! - Only memory files that may be written to are mapped. Any other may be announced (a virtual NVDIMM on a
//!   disk's file is, and firmware), but touching it could keep a core waiting.
//! - Memory that is taken away by its front end reads as zeroes, and its front end is cut off
//!   (`fault`).

use crate::dma_space::{DmaRegion, DmaSpace};
use crate::fault::Tie;
use crate::lookup::Row;
use crate::memory_file::Unmappable;
use crate::numa::nodes_of;
use crate::peer_memory::PeerMemoryError;
use crate::shared_memory::{MemoryId, SharedMemory};
use crate::stall::Stalls;
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
    /// The guest would have more memory than there is.
    #[error(
        "{announced} bytes of guest memory are announced, and this host has {host} bytes of memory and swap: \
         announce no more than that"
    )]
    TooLarge {
        /// Bytes of all regions together.
        announced: u64,
        /// Bytes of the host.
        host: u64,
    },
    /// Mapping into this process failed.
    #[error(transparent)]
    Map(#[from] PeerMemoryError),
    /// Mapping for the SSDs failed.
    #[error("cannot map guest memory for the SSDs: {0}")]
    Dma(io::Error),
}

/// A region of a guest's memory. Mapped where its file is memory that may be written to.
pub struct GuestRegion {
    layout: RegionLayout,
    file: OwnedFd,
    memory: Result<Memory, Unmappable>,
}

/// The memory of a region.
struct Memory {
    // Dropped in this order: a tie before its memory, and memory that the SSDs reach is unmapped there first.
    tie: Option<Tie>,
    dma: Option<Arc<DmaRegion>>,
    shared: Arc<SharedMemory>,
    /// Offset of the region in the mapping.
    lead: u64,
}

impl GuestRegion {
    /// Makes a region of `file`; maps it, for this process and for the SSDs, only if that is a memory file.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map(space: &Arc<DmaSpace>, layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let mut region = Self::map_for_process(layout, file)?;
        if let Ok(memory) = &mut region.memory {
            memory.dma = Some(memory.shared.dma(space).map_err(RegionError::Dma)?);
        }
        Ok(region)
    }

    /// As [`Self::map`], for this process only. Its spans have addresses that no SSD can use.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map_for_process(layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let ends = (layout.guest.checked_add(layout.len), layout.driver.checked_add(layout.len));
        if layout.len == 0 || ends.0.is_none() || ends.1.is_none() {
            return Err(layout.impossible());
        }
        let memory = match Memory::map(&layout, &file) {
            Ok(memory) => Ok(memory),
            Err(RegionError::Map(PeerMemoryError::Unmappable(reason))) => Err(reason),
            Err(error) => return Err(error),
        };
        let file = file.as_fd().try_clone_to_owned().map_err(RegionError::File)?;
        Ok(Self { layout, file, memory })
    }

    /// Ties the region to its front end's connection, which is shut down, in both directions, as
    /// soon as this process finds memory missing.
    ///
    /// # Errors
    /// [`RegionError::Map`] if there are too many pieces of memory.
    pub fn tied_to(mut self, connection: &Arc<UnixStream>) -> Result<Self, RegionError> {
        if let Ok(memory) = &mut self.memory {
            memory.tie = Some(memory.shared.tie(connection)?);
        }
        Ok(self)
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

    /// Identity of the region's memory file; none if it is not mapped.
    #[must_use]
    pub fn memory_id(&self) -> Option<MemoryId> {
        self.memory().map(|memory| memory.shared.id())
    }

    /// Reason why the region is not mapped; none if it is.
    #[must_use]
    pub fn unmappable(&self) -> Option<Unmappable> {
        self.memory.as_ref().err().copied()
    }

    fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref().ok()
    }

    /// Number of accesses that found memory missing.
    pub(crate) fn faults(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.shared.faults())
    }

    /// Waits of cores for the memory.
    pub(crate) fn stalls(&self) -> Stalls {
        self.memory().map_or(Stalls::default(), |memory| memory.shared.stalls())
    }

    /// Bytes on each NUMA node, as far as known.
    pub(crate) fn nodes(&self) -> NodeAmounts {
        self.memory().map(|memory| nodes_of(memory.shared.mapping())).unwrap_or_default()
    }

    /// Row for look-ups, if the region is mapped.
    pub(crate) fn row(&self) -> Option<Row> {
        let Memory { lead, shared, dma, .. } = self.memory()?;
        let host = shared.mapping().host_at(*lead)?;
        let first = dma.as_ref().map_or(Iova::UNMAPPED, |dma| dma.iova());
        let iova = Iova(first.0.wrapping_add(*lead));
        let RegionLayout { guest, len, .. } = self.layout;
        Some(Row { guest, len, writable_len: len, host, iova })
    }
}

impl Memory {
    /// Maps a region of a memory file for this process.
    fn map(layout: &RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let RegionLayout { file_offset, len, .. } = *layout;
        let shared = SharedMemory::map(file, file_offset, len)?;
        let lead = shared.offset_of(file_offset).ok_or_else(|| layout.impossible())?;
        Ok(Self { tie: None, dma: None, shared, lead })
    }
}
