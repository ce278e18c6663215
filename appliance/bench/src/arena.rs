//! The generator's memory: one file that both sides map.

#![expect(unsafe_code, reason = "spans are addresses in the mapping")]

use crate::error::BenchError;
use luge_memory::{DmaRegion, DmaSpace, Mapping, Span};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// Memory that is handed out from its start to its end.
pub(crate) struct Arena {
    region: DmaRegion,
    used: u64,
}

impl Arena {
    /// `len` bytes of zeroes, in 2 MiB pages where the machine has them free, which devices of `space` reach.
    pub(crate) fn new(space: &Arc<DmaSpace>, len: u64) -> Result<Self, BenchError> {
        let len = len.max(1).next_multiple_of(2 << 20);
        let memory = Self::map(len, MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)
            .or_else(|_| Self::map(len, MemfdFlags::empty()));
        let region = memory.and_then(|memory| space.map(memory));
        let what = "cannot allocate memory for rings and data";
        Ok(Self { region: region.map_err(|source| BenchError::System { what, source })?, used: 0 })
    }

    /// Memory that no device reaches by itself.
    pub(crate) fn alone(len: u64) -> Result<Self, BenchError> {
        Self::new(&DmaSpace::new(), len)
    }

    fn map(len: u64, pages: MemfdFlags) -> std::io::Result<Mapping> {
        let file = memfd_create("luge-bench", MemfdFlags::CLOEXEC | pages)?;
        ftruncate(&file, len)?;
        let memory = Mapping::new(&file, 0, len).map_err(std::io::Error::other)?;
        // The first touch: hugepages that are not there fail here, in a call, not later.
        let bytes = usize::try_from(len).map_err(std::io::Error::other)?;
        // SAFETY: the range is the mapping, and populating changes no byte.
        unsafe {
            rustix::mm::madvise(memory.host().as_ptr().cast(), bytes, rustix::mm::Advice::LinuxPopulateWrite)
        }?;
        Ok(memory)
    }

    /// Hands out the next `len` bytes at a multiple of `align`; returns them and the address for the server.
    pub(crate) fn take(&mut self, len: u32, align: u64) -> (Span, u64) {
        let at = self.used.next_multiple_of(align);
        self.used = at + u64::from(len);
        assert!(self.used <= self.region.memory().len(), "the arena was made large enough");
        let host = self.region.memory().host_at(at).expect("inside, as asserted");
        let iova = self.region.iova().checked_add(at).expect("inside, as asserted");
        let address = host.addr().get() as u64;
        // SAFETY: the arena lives as long as the disk, whose queues own all spans.
        (unsafe { Span::new(host, iova, len) }, address)
    }

    /// Address in this process; guest addresses are the same.
    pub(crate) fn address(&self) -> u64 {
        self.region.memory().host().addr().get() as u64
    }

    pub(crate) fn len(&self) -> u64 {
        self.region.memory().len()
    }

    pub(crate) fn file(&self) -> RawFd {
        self.region.memory().file().as_raw_fd()
    }
}
