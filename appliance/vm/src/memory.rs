//! Memory of a guest: a file in memory that Luge makes, and QEMU and the disks map.
//!
//! Invariants
//! - The file has all its pages before QEMU starts, so that too little memory is an error, and not a
//!   guest that is killed later.
//! - The file can neither shrink nor grow. After [`VmMemory::seal`] its pages cannot be taken away.

use crate::spec::MemoryPages;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
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
}

/// Memory of a guest.
#[derive(Debug)]
pub(crate) struct VmMemory {
    file: OwnedFd,
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
        Ok(Self { file })
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
    fn allocation_ends_when_the_start_is_stopped() {
        let error = VmMemory::make(64, MemoryPages::Base, || false).unwrap_err();
        assert!(matches!(error, MemoryError::Stopped), "{error}");
    }

    #[test]
    fn memory_that_no_machine_has_is_an_error() {
        let error = VmMemory::make(16 << 20, MemoryPages::Huge, || true).unwrap_err();
        assert!(error.to_string().contains("16777216 MiB"), "{error}");
    }
}
