//! The front end's memory: one file that both sides map.

#![expect(unsafe_code, reason = "spans are addresses in the mapping")]

use crate::error::BenchError;
use luge_memory::{Iova, Mapping, Span};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Memory that is handed out from its start to its end.
pub(crate) struct Arena {
    file: OwnedFd,
    memory: Mapping,
    used: u64,
}

impl Arena {
    /// `len` bytes of zeroes, in 2 MiB pages where the machine has them free.
    pub(crate) fn new(len: u64) -> Result<Self, BenchError> {
        let len = len.next_multiple_of(2 << 20);
        Self::map(len, MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)
            .or_else(|_| Self::map(len, MemfdFlags::empty()))
            .map_err(|source| BenchError::System {
                what: "cannot allocate memory for rings and data",
                source,
            })
    }

    fn map(len: u64, pages: MemfdFlags) -> std::io::Result<Self> {
        let file = memfd_create("luge-bench", MemfdFlags::CLOEXEC | pages)?;
        ftruncate(&file, len)?;
        let memory = Mapping::new(&file, 0, len).map_err(std::io::Error::other)?;
        // The first touch: hugepages that are not there fail here, in a call, not later.
        let bytes = usize::try_from(len).map_err(std::io::Error::other)?;
        // SAFETY: the range is the mapping, and populating changes no byte.
        unsafe {
            rustix::mm::madvise(memory.host().as_ptr().cast(), bytes, rustix::mm::Advice::LinuxPopulateWrite)
        }?;
        Ok(Self { file, memory, used: 0 })
    }

    /// Hands out the next `len` bytes at a multiple of `align`; returns them and the address for the server.
    pub(crate) fn take(&mut self, len: u32, align: u64) -> (Span, u64) {
        let at = self.used.next_multiple_of(align);
        self.used = at + u64::from(len);
        assert!(self.used <= self.memory.len(), "the arena was made large enough");
        let offset = usize::try_from(at).unwrap_or(usize::MAX);
        // SAFETY: inside the mapping, as asserted.
        let host = unsafe { self.memory.host().add(offset) };
        let address = host.addr().get() as u64;
        // SAFETY: the arena lives as long as the disk, which owns all spans.
        (unsafe { Span::new(host, Iova(0), len) }, address)
    }

    /// Address in this process; guest addresses are the same.
    pub(crate) fn address(&self) -> u64 {
        self.memory.host().addr().get() as u64
    }

    pub(crate) fn len(&self) -> u64 {
        self.memory.len()
    }

    pub(crate) fn file(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
