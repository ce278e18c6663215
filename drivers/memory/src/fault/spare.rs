//! Addresses aside of a watched mapping, to which its pages are moved when memory is missing.

#![expect(unsafe_code, reason = "addresses are reserved and given back")]

use crate::Mapping;
use crate::mapping::unmap;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::ptr;

/// Bytes that the largest page table entry covers which the kernel moves as one.
const STEP: usize = 1 << 30;

/// Reserved addresses. Unmapped when dropped, with what has been moved there.
#[derive(Debug)]
pub(super) struct Spare {
    reserved: usize,
    reserved_len: usize,
    first: usize,
}

impl Spare {
    /// Reserves as many addresses as a mapping has, as far past a multiple of [`STEP`] as it is, so that
    /// its page tables can be moved as they are.
    pub(super) fn reserve(memory: &Mapping) -> Option<Self> {
        let reserved_len = usize::try_from(memory.len()).ok()?.checked_add(STEP)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: new addresses, which nobody uses.
        let reserved = unsafe { mmap_anonymous(ptr::null_mut(), reserved_len, ProtFlags::empty(), flags) };
        let reserved = reserved.ok()?.addr();
        let first = reserved + memory.host().addr().get().wrapping_sub(reserved) % STEP;
        Some(Self { reserved, reserved_len, first })
    }

    /// First address.
    pub(super) fn first(&self) -> usize {
        self.first
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: addresses that were reserved for this; what was moved here is used by nobody.
        unsafe { unmap(self.reserved, self.reserved_len) };
    }
}
