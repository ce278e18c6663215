//! Memory file of a front end, read and written through its descriptor: nothing here maps it, so that a
//! front end may take its memory away without harm to itself.

use crate::error::{Doing, TestError};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// A memory file. Guest addresses and addresses of the front end are offsets in it.
pub(crate) struct Memory {
    file: File,
    len: u64,
}

impl Memory {
    /// Makes a file of `len` bytes without pages.
    pub(crate) fn new(len: u64) -> Result<Self, TestError> {
        let made = memfd_create("neighbour", MemfdFlags::CLOEXEC);
        let file = File::from(made.doing(|| "making a memory file".to_owned())?);
        let memory = Self { file, len };
        memory.truncate(len)?;
        Ok(memory)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), TestError> {
        self.file.write_all_at(bytes, at).doing(|| "writing memory".to_owned())
    }

    /// Reads a little-endian number of two bytes.
    pub(crate) fn read_u16(&self, at: u64) -> Result<u16, TestError> {
        let mut bytes = [0; 2];
        self.file.read_exact_at(&mut bytes, at).doing(|| "reading memory".to_owned())?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Changes the length of the file, not that which the server was told.
    pub(crate) fn truncate(&self, len: u64) -> Result<(), TestError> {
        ftruncate(&self.file, len).doing(|| "truncating memory".to_owned())
    }

    /// Allocates all pages.
    pub(crate) fn fill(&self) -> Result<(), TestError> {
        fallocate(&self.file, FallocateFlags::empty(), 0, self.len).doing(|| "allocating memory".to_owned())
    }

    /// Gives all pages back to the host.
    pub(crate) fn punch(&self) -> Result<(), TestError> {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, punch, 0, self.len).doing(|| "punching memory".to_owned())
    }
}
