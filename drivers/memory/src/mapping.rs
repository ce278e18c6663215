//! Memory of a file descriptor, mapped into this process.

#![expect(unsafe_code, reason = "mapping memory hands out raw pointers")]

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use thiserror::Error;

/// The smallest page of this processor, in bytes. Files of larger pages end with such a page.
const BASE_PAGE: u64 = 4096;

/// Bytes that are unmapped in one system call.
const UNMAPPED_AT_ONCE: usize = 64 << 20;

/// Error of mapping memory.
#[derive(Debug, Error)]
pub enum MapError {
    /// The length is zero or does not fit an address space.
    #[error("a mapping of {len} bytes at file offset {offset:#x} is not possible")]
    Shape {
        /// Requested offset in the file, in bytes.
        offset: u64,
        /// Requested length in bytes.
        len: u64,
    },
    /// The file is too short: an access past its end would be a bus error.
    #[error("the memory file has {have} bytes, but {need} are to be mapped")]
    TooShort {
        /// Length of the file in bytes.
        have: u64,
        /// Needed length in bytes.
        need: u64,
    },
    /// The kernel refused.
    #[error("cannot map {len} bytes of memory: {source}")]
    System {
        /// Length in bytes.
        len: u64,
        /// Error of the kernel.
        source: std::io::Error,
    },
}

/// Shared, writable memory of a file descriptor. Unmapped when dropped. The file stays open as long, for an IOMMU
/// in another process.
#[derive(Debug)]
pub struct Mapping {
    host: NonNull<u8>,
    len: usize,
    file: Arc<OwnedFd>,
    file_offset: u64,
}

// SAFETY: an address; the bytes behind it are only accessed as raw memory.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes from `offset` (both in bytes; `offset` a multiple of the file's page size).
    ///
    /// # Errors
    /// [`MapError`] if the file is too short or the kernel refuses.
    pub fn new(file: impl AsFd, offset: u64, len: u64) -> Result<Self, MapError> {
        let shape = MapError::Shape { offset, len };
        let Some(end) = offset.checked_add(len).filter(|_| len > 0) else { return Err(shape) };
        let Ok(bytes) = usize::try_from(len) else { return Err(shape) };
        let system = |error: Errno| MapError::System { len, source: error.into() };
        let have = rustix::fs::fstat(&file).map_err(system)?.st_size.cast_unsigned();
        // The last page of a file is there as a whole: what is behind the end reads as zeroes.
        if have.next_multiple_of(BASE_PAGE) < end {
            return Err(MapError::TooShort { have, need: end });
        }
        let file = Arc::new(rustix::io::fcntl_dupfd_cloexec(file, 0).map_err(system)?);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new addresses, which nobody uses.
        let host = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &file, offset) };
        let host = NonNull::new(host.map_err(system)?.cast()).ok_or(shape)?;
        Ok(Self { host, len: bytes, file, file_offset: offset })
    }

    /// File of the memory.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Offset of the first byte in the file.
    #[must_use]
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// The first byte.
    #[must_use]
    pub fn host(&self) -> NonNull<u8> {
        self.host
    }

    /// The byte at `offset`, or one past the last; none further on.
    #[must_use]
    pub fn host_at(&self, offset: u64) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok().filter(|&offset| offset <= self.len)?;
        // SAFETY: inside the mapping, or one past it.
        Some(unsafe { self.host().add(offset) })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether the length is zero, which never happens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping's own addresses; whoever used them has promised to use them no more.
        unsafe { unmap(self.host.addr().get(), self.len) };
    }
}

/// Unmaps `len` bytes at `address` a piece at a time. While the kernel unmaps a piece, which takes longer
/// the more of its pages are there, no other thread of this process can map or unmap anything.
///
/// # Safety
/// The addresses are the caller's, and nobody uses them any more.
pub(crate) unsafe fn unmap(address: usize, len: usize) {
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(UNMAPPED_AT_ONCE);
        // SAFETY: promised by the caller.
        let unmapped = unsafe { munmap(ptr::without_provenance_mut(address + done), piece) };
        if unmapped.is_err() {
            break;
        }
        done += piece;
    }
    if done < len {
        // A piece was less than a page. There is no other reason.
        // SAFETY: as above.
        let _ = unsafe { munmap(ptr::without_provenance_mut(address + done), len - done) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    #[test]
    fn a_file_that_ends_within_a_page_is_mapped_to_the_pages_end_and_no_further() {
        let file = memfd_create("odd", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 15_120).unwrap();
        let mapping = Mapping::new(&file, 0, 16_384).unwrap();
        let last = mapping.host().as_ptr().wrapping_add(16_383);
        // SAFETY: it is the last byte of a mapping that nobody else has.
        assert_eq!(unsafe { last.read_volatile() }, 0);
        assert!(matches!(Mapping::new(&file, 0, 20_480), Err(MapError::TooShort { .. })));
    }
}
