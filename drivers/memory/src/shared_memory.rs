//! Memory of a file that front ends share with this process, mapped once however many of them announce it.
//!
//! Path: none; memory is mapped before the first request that needs it.
//!
//! The disks of a virtual machine announce the same file, each on a connection of its own. What one of
//! them has mapped serves all whose pieces lie in it, in this process and in the IOMMUs. The latter map it
//! only when a disk of an SSD needs that, because they keep every page of it in memory.
//!
//! Invariants
//! - Only who shows a descriptor of the same file, opened for reading and writing, gets a mapping of it.
//! - Memory that went missing is not handed out again.
//! - Two front ends that announce a file at the same time may map it twice; nothing depends on it.

use crate::dma_space::{DmaRegion, DmaSpace};
use crate::fault::Tie;
use crate::host_memory::available_bytes;
use crate::memory_file::{FileNumber, KnownFile, Unmappable, page_bytes};
use crate::peer_memory::{PeerMemory, PeerMemoryError};
use crate::stall::Stalls;
use crate::{MapError, Mapping};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// All memory that is mapped now.
static MAPPED: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());

/// Memory that is mapped.
struct Mapped {
    number: FileNumber,
    memory: Weak<SharedMemory>,
}

/// A mapped piece of a memory file.
pub(crate) struct SharedMemory {
    memory: PeerMemory,
    file: KnownFile,
    id: MemoryId,
    dma: Mutex<Weak<DmaRegion>>,
    owner: Owner,
}

/// Identity of a memory file: the same for all its pieces that are mapped at the same time. No two files have the
/// same one, unlike the kernel's numbers of files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MemoryId(pub u64);

impl MemoryId {
    /// Identity of a file, of which other pieces may be mapped.
    fn of(file: &KnownFile) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let known = mapped(file.number()).into_iter().find(|memory| memory.file.is_same_as(file));
        known.map_or_else(|| Self(NEXT.fetch_add(1, Relaxed)), |memory| memory.id)
    }
}

/// Maker of the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    /// A front end.
    Peer,
    /// Luge, for a guest of its own.
    Luge,
}

/// Memory of a guest that this process has made, mapped as a whole. While it is kept, the disks of the guest
/// share the mapping, also after the file was sealed against new ones (`F_SEAL_FUTURE_WRITE`), which keeps
/// the guest's process from making holes.
pub struct OwnMemory {
    _memory: Arc<SharedMemory>,
}

impl OwnMemory {
    /// Maps the `len` bytes of a memory file of this process.
    ///
    /// # Errors
    /// [`PeerMemoryError`]; nothing is mapped then.
    pub fn map(file: impl AsFd, len: u64) -> Result<Self, PeerMemoryError> {
        page_bytes(&file)?;
        Ok(Self { _memory: SharedMemory::new(file, Range { offset: 0, len }, Owner::Luge)? })
    }
}

/// Bytes of a file.
#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    len: u64,
}

impl SharedMemory {
    /// Memory that has `len` bytes of a file from `offset`: mapped before, or else now.
    ///
    /// # Errors
    /// [`PeerMemoryError`]; nothing is mapped then.
    pub fn map(file: impl AsFd, offset: u64, len: u64) -> Result<Arc<Self>, PeerMemoryError> {
        let range = Range { offset, len };
        match page_bytes(&file) {
            Ok(_) => match Self::find(&file, range, |_| true)? {
                Some(memory) => Ok(memory),
                None => Self::new(file, range, Owner::Peer),
            },
            // A new mapping is forbidden, and one of a peer may be one that others are not to have.
            Err(Unmappable::Sealed) => {
                let own = Self::find(&file, range, |memory| memory.owner == Owner::Luge)?;
                own.ok_or(Unmappable::Sealed.into())
            }
            Err(reason) => Err(reason.into()),
        }
    }

    /// Memory with a range of a file that is mapped already and `may_serve`.
    fn find(
        file: impl AsFd,
        Range { offset, len }: Range,
        may_serve: impl Fn(&Self) -> bool,
    ) -> Result<Option<Arc<Self>>, MapError> {
        let number = FileNumber::of(&file).map_err(|error| MapError::System { len, source: error.into() })?;
        let serves = |memory: &Arc<Self>| {
            memory.has(offset, len) && may_serve(memory) && memory.file.is(&file, number)
        };
        Ok(mapped(number).into_iter().find(serves))
    }

    /// Maps a range of a file. The table is not locked meanwhile: the kernel may wait for what a peer does
    /// to its file.
    fn new(
        file: impl AsFd,
        Range { offset, len }: Range,
        owner: Owner,
    ) -> Result<Arc<Self>, PeerMemoryError> {
        let memory = PeerMemory::map(&file, offset, len)?;
        let file = KnownFile::new(memory.mapping.file().clone())
            .map_err(|error| MapError::System { len, source: error.into() })?;
        let id = MemoryId::of(&file);
        let memory = Arc::new(Self { memory, file, id, dma: Mutex::default(), owner });
        lock(&MAPPED).push(Mapped { number: memory.file.number(), memory: Arc::downgrade(&memory) });
        Ok(memory)
    }

    /// Whether it has `len` bytes of its file from `offset`, none of them missing.
    fn has(&self, offset: u64, len: u64) -> bool {
        self.offset_of(offset).is_some_and(|at| self.mapping().len() - at >= len) && self.faults() == 0
    }

    /// Whether it has `len` bytes of a file from `offset`, none of them missing.
    pub fn serves(&self, file: impl AsFd, offset: u64, len: u64) -> bool {
        let number = FileNumber::of(&file);
        self.has(offset, len) && number.is_ok_and(|number| self.file.is(&file, number))
    }

    /// Identity of the memory's file.
    pub fn id(&self) -> MemoryId {
        self.id
    }

    /// Offset in the mapping of an offset in the file; none outside.
    pub fn offset_of(&self, in_file: u64) -> Option<u64> {
        in_file.checked_sub(self.memory.first).filter(|&at| at <= self.mapping().len())
    }

    /// The mapping: whole pages of the file.
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.memory.mapping
    }

    /// Number of accesses that found memory missing.
    pub fn faults(&self) -> u64 {
        self.memory.faults()
    }

    /// Waits of cores for the memory.
    pub fn stalls(&self) -> Stalls {
        self.memory.stalls()
    }

    /// Ties a front end's connection to the memory.
    ///
    /// # Errors
    /// [`PeerMemoryError::TooMany`].
    pub fn tie(&self, connection: &Arc<UnixStream>) -> Result<Tie, PeerMemoryError> {
        self.memory.watch.tie(connection).ok_or(PeerMemoryError::TooMany)
    }

    /// Maps the memory for the SSDs, unless it is already.
    ///
    /// # Errors
    /// `OutOfMemory` where the pages that are not there yet do not fit into the host's memory, else as
    /// [`DmaSpace::map_for_guest`].
    pub fn dma(&self, space: &Arc<DmaSpace>) -> io::Result<Arc<DmaRegion>> {
        let mut dma = lock(&self.dma);
        if let Some(region) = dma.upgrade().filter(|region| region.is_in(space)) {
            return Ok(region);
        }
        if space.has_iommu() {
            self.check_available()?;
        }
        let region = Arc::new(space.map_for_guest(self.mapping().clone())?);
        *dma = Arc::downgrade(&region);
        Ok(region)
    }

    /// Fails where the host has not enough memory for the small pages that are not there yet: an IOMMU
    /// wants them all at once, and others would lose theirs. Hugepages are in a pool of their own.
    fn check_available(&self) -> io::Result<()> {
        let Some(available) = available_bytes() else { return Ok(()) };
        let missing = self.file.missing_bytes(self.mapping().len())?;
        if missing <= available {
            return Ok(());
        }
        let text = format!(
            "{missing} bytes of guest memory are not there yet, and {available} bytes are available: \
             an SSD needs them all"
        );
        Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
    }
}

/// Memory that is mapped now, of files with a number. Other memory is not kept while this is looked through.
fn mapped(number: FileNumber) -> Vec<Arc<SharedMemory>> {
    let mut mapped = lock(&MAPPED);
    mapped.retain(|mapped| mapped.memory.strong_count() > 0);
    let of_file = mapped.iter().filter(|mapped| mapped.number == number);
    of_file.filter_map(|mapped| mapped.memory.upgrade()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
