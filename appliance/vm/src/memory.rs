//! Memory of a guest: a file in memory that Luge makes and maps, and QEMU maps too.
//!
//! ```text
//!          1         2           3            4
//!   (none) --> made --> mapped --> QEMU's, too --> sealed
//! ```
//! 1. the file gets all its pages, so that too little memory is an error, and not a guest that is killed
//!    later; from now on it can neither shrink nor grow;
//! 2. this process maps it. Disks that QEMU announces the file to use this mapping;
//! 3. QEMU gets the file and maps it;
//! 4. before the guest runs, its pages become fixed, also for a QEMU that the guest has taken over. New
//!    writable mappings are no longer possible then.

use crate::spec::MemoryPages;
use luge_memory::{OwnMemory, PeerMemoryError};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// Memory that is allocated between two looks at whether the start goes on.
const CHUNK_BYTES: u64 = 256 << 20;

/// Error of making memory.
#[derive(Debug, Error)]
pub(crate) enum MemoryError {
    #[error("it was stopped while its memory was allocated")]
    Stopped,
    #[error("{mib} MiB of memory cannot be allocated: {source}; free some, or give the VM less")]
    Allocate { mib: u64, source: io::Error },
    #[error("its memory cannot be mapped: {0}")]
    Map(#[from] PeerMemoryError),
}

/// Memory of a guest.
pub(crate) struct VmMemory {
    file: OwnedFd,
    /// The whole file, for the disks.
    _mapped: OwnMemory,
}

impl VmMemory {
    /// Makes the memory, as long as `goes_on` says so.
    pub(crate) fn make(
        mib: u64,
        pages: MemoryPages,
        goes_on: impl Fn() -> bool,
    ) -> Result<Self, MemoryError> {
        let failed = |errno: Errno| MemoryError::Allocate { mib, source: errno.into() };
        let kind = match pages {
            MemoryPages::Huge => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            MemoryPages::Base => MemfdFlags::empty(),
        };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | kind;
        let file = memfd_create(c"guest memory", flags).map_err(failed)?;
        let size = mib << 20;
        ftruncate(&file, size).map_err(failed)?;
        let mut allocated = 0;
        while allocated < size {
            if !goes_on() {
                return Err(MemoryError::Stopped);
            }
            let chunk = CHUNK_BYTES.min(size - allocated);
            match fallocate(&file, FallocateFlags::empty(), allocated, chunk) {
                Ok(()) => allocated += chunk,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).map_err(failed)?;
        let mapped = OwnMemory::map(&file, size)?;
        Ok(Self { file, _mapped: mapped })
    }

    /// Forbids to take pages away, and with that new writable mappings. Those that exist stay.
    pub(crate) fn seal(&self) -> io::Result<()> {
        Ok(fcntl_add_seals(&self.file, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?)
    }
}

impl AsFd for VmMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_memory::{DriverAddress, GuestAddress, GuestRegion, RegionLayout, Unmappable};

    fn punch(memory: &VmMemory) -> Result<(), Errno> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(memory, hole, 0, 4096)
    }

    #[test]
    fn memory_has_all_its_pages_and_keeps_its_size() {
        let memory = VmMemory::make(4, MemoryPages::Base, || true).unwrap();
        let blocks = rustix::fs::fstat(&memory).unwrap().st_blocks;
        assert_eq!(blocks * 512, 4 << 20);
        for size in [0, 8 << 20] {
            assert_eq!(ftruncate(&memory, size), Err(Errno::PERM), "{size}");
        }
    }

    #[test]
    fn pages_cannot_be_taken_away_from_sealed_memory() {
        let memory = VmMemory::make(4, MemoryPages::Base, || true).unwrap();
        assert_eq!(punch(&memory), Ok(()));
        memory.seal().unwrap();
        assert_eq!(punch(&memory), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM), "more seals");
    }

    #[test]
    fn a_disk_maps_sealed_memory_and_nobody_else_does() {
        let memory = VmMemory::make(4, MemoryPages::Base, || true).unwrap();
        memory.seal().unwrap();
        let piece = |file_offset| RegionLayout {
            guest: GuestAddress(1 << 32),
            driver: DriverAddress(1 << 40),
            len: 1 << 20,
            file_offset,
        };
        for file_offset in [0, 3 << 20] {
            let region = GuestRegion::map_for_process(piece(file_offset), &memory);
            assert_eq!(region.unwrap().unmappable(), None);
        }
        let file = rustix::io::dup(&memory).unwrap();
        drop(memory);
        let region = GuestRegion::map_for_process(piece(0), &file);
        assert_eq!(region.unwrap().unmappable(), Some(Unmappable::Sealed), "a new mapping");
    }

    #[test]
    fn allocation_ends_when_the_start_is_stopped() {
        let error = VmMemory::make(64, MemoryPages::Base, || false).err().unwrap();
        assert!(matches!(error, MemoryError::Stopped), "{error}");
    }

    #[test]
    fn memory_that_no_machine_has_is_an_error() {
        let error = VmMemory::make(16 << 20, MemoryPages::Huge, || true).err().unwrap();
        assert!(error.to_string().contains("16777216 MiB"), "{error}");
    }
}
