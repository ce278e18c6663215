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
use crate::{AddressRange, DriverAddress, GuestAddress, Iova, NodeAmounts};
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
    /// Fails for a region without bytes, or past the end of an address space.
    pub(crate) fn check(&self) -> Result<(), RegionError> {
        let (guest, driver) = (self.guest.checked_add(self.len), self.driver.checked_add(self.len));
        let is_possible = self.len > 0 && guest.is_some() && driver.is_some();
        if is_possible { Ok(()) } else { Err(self.impossible()) }
    }

    /// Error for an impossible layout.
    fn impossible(&self) -> RegionError {
        RegionError::Shape { guest: self.guest, len: self.len }
    }

    /// Whether the region has that address of the guest.
    pub(crate) fn has(&self, at: GuestAddress) -> bool {
        at.0.wrapping_sub(self.guest.0) < self.len
    }

    /// Whether a part of the region, but not all of it, is in `range`.
    pub(crate) fn splits(&self, range: &Self) -> bool {
        let last = GuestAddress(self.guest.0.wrapping_add(self.len.wrapping_sub(1)));
        let (first, last) = (range.has(self.guest), range.has(last));
        first != last || (!first && self.has(range.guest))
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
    /// A region is in a range to be removed, but not all of it.
    #[error("a region is only in part in the {len} bytes at guest address {guest}")]
    Split {
        /// First guest address.
        guest: GuestAddress,
        /// Length in bytes.
        len: u64,
    },
    /// The memory is in too many files.
    #[error("guest memory is in more than {0} files: use fewer")]
    TooManyFiles(usize),
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

/// Access of a device to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAccess {
    /// The device reads and writes.
    ReadWrite,
    /// The device reads only.
    ReadOnly,
}

/// A region of a guest's memory. Mapped where its file is memory that may be written to.
pub struct GuestRegion {
    layout: RegionLayout,
    access: DeviceAccess,
    /// File of the region, where it is kept for another process.
    file: Option<OwnedFd>,
    piece: Result<Piece, Unmappable>,
}

/// Memory of a region.
struct Piece {
    memory: Arc<TiedMemory>,
    /// Offset of the region in the mapping.
    lead: u64,
}

/// Memory of a front end, which its regions share.
pub(crate) struct TiedMemory {
    // Dropped in this order: a tie before its memory, and memory that the SSDs reach is unmapped there first.
    tie: Option<Tie>,
    dma: Option<Arc<DmaRegion>>,
    shared: Arc<SharedMemory>,
}

impl GuestRegion {
    /// Makes a region of `file`; maps it, for this process and for the SSDs, only if that is a memory file.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map(space: &Arc<DmaSpace>, layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        Self::map_for(Some(space), layout, file)
    }

    /// As [`Self::map`], for this process only. Its spans have addresses that no SSD can use.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map_for_process(layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        Self::map_for(None, layout, file)
    }

    fn map_for(
        space: Option<&Arc<DmaSpace>>,
        layout: RegionLayout,
        file: impl AsFd,
    ) -> Result<Self, RegionError> {
        layout.check()?;
        let memory = match TiedMemory::map(&file, layout.file_offset, layout.len, space) {
            Ok(memory) => Ok(Arc::new(memory)),
            Err(RegionError::Map(PeerMemoryError::Unmappable(reason))) => Err(reason),
            Err(error) => return Err(error),
        };
        let file = file.as_fd().try_clone_to_owned().map_err(RegionError::File)?;
        let region = Self::new(layout, DeviceAccess::ReadWrite, memory)?;
        Ok(Self { file: Some(file), ..region })
    }

    /// Makes a region of memory that has all of it, or a region that is not mapped.
    pub(crate) fn new(
        layout: RegionLayout,
        access: DeviceAccess,
        memory: Result<Arc<TiedMemory>, Unmappable>,
    ) -> Result<Self, RegionError> {
        let piece = match memory {
            Ok(memory) => {
                let lead = memory.offset_of(&layout).ok_or_else(|| layout.impossible())?;
                Ok(Piece { memory, lead })
            }
            Err(reason) => Err(reason),
        };
        Ok(Self { layout, access, file: None, piece })
    }

    /// Ties the region to its front end's connection, which is shut down, in both directions, as
    /// soon as this process finds memory missing.
    ///
    /// # Errors
    /// [`RegionError::Map`] if there are too many pieces of memory.
    pub fn tied_to(mut self, connection: &Arc<UnixStream>) -> Result<Self, RegionError> {
        if let Some(memory) = self.piece.as_mut().ok().and_then(|piece| Arc::get_mut(&mut piece.memory)) {
            memory.tie_to(connection)?;
        }
        Ok(self)
    }

    /// Description by the front end.
    #[must_use]
    pub fn layout(&self) -> RegionLayout {
        self.layout
    }

    /// File of the region, for another process that maps it; none if it was not kept.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Identity of the region's memory file; none if it is not mapped.
    #[must_use]
    pub fn memory_id(&self) -> Option<MemoryId> {
        self.shared().map(|shared| shared.id())
    }

    /// Reason why the region is not mapped; none if it is.
    #[must_use]
    pub fn unmappable(&self) -> Option<Unmappable> {
        self.piece.as_ref().err().copied()
    }

    fn shared(&self) -> Option<&SharedMemory> {
        self.piece.as_ref().ok().map(|piece| &*piece.memory.shared)
    }

    /// Number of accesses that found memory missing.
    pub(crate) fn faults(&self) -> u64 {
        self.shared().map_or(0, SharedMemory::faults)
    }

    /// Waits of cores for the memory.
    #[must_use]
    pub fn stalls(&self) -> Stalls {
        self.shared().map_or(Stalls::default(), SharedMemory::stalls)
    }

    /// Bytes on each NUMA node, as far as known.
    pub(crate) fn nodes(&self) -> NodeAmounts {
        self.shared().map(|shared| nodes_of(shared.mapping())).unwrap_or_default()
    }

    /// Addresses in this process, if the region is mapped.
    pub(crate) fn addresses(&self) -> Option<AddressRange> {
        let row = self.row()?;
        let start = row.host.addr().get();
        let len = usize::try_from(row.len).unwrap_or(usize::MAX);
        Some(AddressRange { start, end: start.saturating_add(len) })
    }

    /// Row for look-ups, if the region is mapped.
    pub(crate) fn row(&self) -> Option<Row> {
        let Piece { memory, lead } = self.piece.as_ref().ok()?;
        let host = memory.shared.mapping().host_at(*lead)?;
        let first = memory.dma.as_ref().map_or(Iova::UNMAPPED, |dma| dma.iova());
        let iova = Iova(first.0.wrapping_add(*lead));
        let RegionLayout { guest, len, .. } = self.layout;
        let row = Row::new(guest, len, host, iova);
        Some(match self.access {
            DeviceAccess::ReadWrite => row,
            DeviceAccess::ReadOnly => row.read_only(),
        })
    }
}

impl TiedMemory {
    /// Maps `len` bytes of a memory file from `offset`, for this process and for the SSDs of a space.
    pub(crate) fn map(
        file: impl AsFd,
        offset: u64,
        len: u64,
        space: Option<&Arc<DmaSpace>>,
    ) -> Result<Self, RegionError> {
        let shared = SharedMemory::map(file, offset, len)?;
        let dma = space.map(|space| shared.dma(space)).transpose().map_err(RegionError::Dma)?;
        Ok(Self { tie: None, dma, shared })
    }

    /// Ties the memory to a connection, as [`GuestRegion::tied_to`] does.
    pub(crate) fn tie_to(&mut self, connection: &Arc<UnixStream>) -> Result<(), RegionError> {
        self.tie = Some(self.shared.tie(connection)?);
        Ok(())
    }

    /// The mapped memory.
    pub(crate) fn shared(&self) -> &SharedMemory {
        &self.shared
    }

    /// Offset in the mapping of a region; none if that is not all in it.
    fn offset_of(&self, layout: &RegionLayout) -> Option<u64> {
        let offset = self.shared.offset_of(layout.file_offset)?;
        let left = self.shared.mapping().len().checked_sub(offset)?;
        (left >= layout.len).then_some(offset)
    }
}
