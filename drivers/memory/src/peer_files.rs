//! Memory files of a peer that announces its memory in many pieces.
//!
//! Path: none; memory is mapped before the first request that needs it.
//!
//! A guest with an IOMMU of its own announces single pages of its memory, tens of thousands of them. So a file is mapped
//! as a whole when its first piece is announced, in this process and for the SSDs, and the pieces share that.
//!
//! Invariants
//! - A piece costs no file descriptor, no mapping and no entry in a table of the process.
//! - Files that are mapped as a whole are together no longer than the host's memory; others are mapped piece by piece.

use crate::host_memory::total_bytes;
use crate::memory_file::Unmappable;
use crate::peer_memory::PeerMemoryError;
use crate::region::TiedMemory;
use crate::{DeviceAccess, DmaSpace, GuestRegion, RegionError, RegionLayout};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};

/// Most pieces of files that are mapped for a peer. Each takes entries in every SSD's IOMMU.
const MAPPINGS_MAX: usize = 256;

/// Memory files of a peer.
pub struct PeerFiles {
    space: Option<Arc<DmaSpace>>,
    connection: Arc<UnixStream>,
    mapped: Vec<Weak<TiedMemory>>,
}

impl PeerFiles {
    /// Files of the peer of a connection, which is shut down, in both directions, as soon as this process finds memory
    /// missing. They are mapped for the SSDs of `space` too, if there is one.
    #[must_use]
    pub fn new(space: Option<Arc<DmaSpace>>, connection: Arc<UnixStream>) -> Self {
        Self { space, connection, mapped: Vec::new() }
    }

    /// Makes a region of a file, or of memory that the peer does not share. It is mapped only if it is of a memory
    /// file that may be written to.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn region(
        &mut self,
        layout: RegionLayout,
        access: DeviceAccess,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<GuestRegion, RegionError> {
        layout.check()?;
        let memory = match file {
            Some(file) => self.memory(&layout, file),
            None => Err(PeerMemoryError::from(Unmappable::NotShared).into()),
        };
        match memory {
            Ok(memory) => GuestRegion::new(layout, access, Ok(memory)),
            Err(RegionError::Map(PeerMemoryError::Unmappable(reason))) => {
                GuestRegion::new(layout, access, Err(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// Number of mappings. Each keeps a file open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mapped.iter().filter(|memory| memory.strong_count() > 0).count()
    }

    /// Memory that has a region: mapped before, or else now.
    fn memory(
        &mut self,
        layout: &RegionLayout,
        file: BorrowedFd<'_>,
    ) -> Result<Arc<TiedMemory>, RegionError> {
        self.mapped.retain(|memory| memory.strong_count() > 0);
        let known = self.mapped.iter().filter_map(Weak::upgrade);
        if let Some(memory) = known.into_iter().find(|memory| has(memory, layout, file)) {
            return Ok(memory);
        }
        if self.mapped.len() >= MAPPINGS_MAX {
            return Err(RegionError::TooManyFiles(MAPPINGS_MAX));
        }
        let memory = Arc::new(self.map(layout, file)?);
        self.mapped.push(Arc::downgrade(&memory));
        Ok(memory)
    }

    /// Maps the file of a region, as a whole if possible.
    fn map(&self, layout: &RegionLayout, file: BorrowedFd<'_>) -> Result<TiedMemory, RegionError> {
        let whole = rustix::fs::fstat(file).map_or(0, |stat| stat.st_size.cast_unsigned());
        let is_in = layout.file_offset.checked_add(layout.len).is_some_and(|end| end <= whole);
        let fits = is_in && self.mapped_bytes().saturating_add(whole) <= total_bytes();
        let space = self.space.as_ref();
        let as_a_whole = fits.then(|| TiedMemory::map(file, 0, whole, space).ok()).flatten();
        let mut memory = match as_a_whole {
            Some(memory) => memory,
            None => TiedMemory::map(file, layout.file_offset, layout.len, space)?,
        };
        memory.tie_to(&self.connection)?;
        Ok(memory)
    }

    fn mapped_bytes(&self) -> u64 {
        let known = self.mapped.iter().filter_map(Weak::upgrade);
        known.map(|memory| memory.shared().mapping().len()).fold(0, u64::saturating_add)
    }
}

/// Whether memory of a peer has a region of a file.
fn has(memory: &TiedMemory, layout: &RegionLayout, file: impl AsFd) -> bool {
    memory.shared().serves(file, layout.file_offset, layout.len)
}
