//! Registers of a function: BAR 0, mapped where the kernel allows it.
//!
//! Path: NVMe queue pair -> **doorbell** -> SSD; this file makes the [`Span`] of the doorbells.
//!
//! Invariants
//! - Every access is one aligned 32-bit load or store inside the BAR.
//! - Parts that cannot be mapped (an MSI-X table, on kernels before 4.16) are accessed by system calls.
//! - A span of registers stays valid as long as the BAR, also after the device was removed.
//! - Memory space stays enabled while the BAR is mapped (`config`); otherwise a load would be a bus
//!   error.

#![expect(unsafe_code, reason = "mapped registers are spans, made from addresses")]

use crate::reply::Region;
use luge_memory::{Iova, SharedArray, Span};
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

/// BAR 0 of a function.
pub struct Bar {
    region: Region,
    windows: Vec<Window>,
}

/// A mapped part of the BAR.
struct Window {
    first: u32,
    registers: Span,
    memory: MmapRaw,
}

impl Bar {
    /// Maps those parts of `region` that can be mapped.
    pub fn map(file: &File, region: Region) -> io::Result<Self> {
        let windows = region
            .mappable
            .iter()
            .filter(|&&(_, len)| len > 0)
            .filter_map(|&(first, len)| Some((u32::try_from(first).ok()?, u32::try_from(len).ok()?)))
            .map(|(first, len)| Window::map(file, &region, first, len))
            .collect::<io::Result<_>>()?;
        Ok(Self { region, windows })
    }

    /// Loads the register at `offset`; all ones if there is no such register, or no device any more.
    ///
    /// Acquire: later loads from memory are not older than the register. On x86 a BAR is uncached and
    /// the CPU keeps its accesses in order; the ordering makes the compiler do so, too.
    pub fn read32(&self, file: &File, offset: u32) -> u32 {
        match self.register(offset) {
            Register::Mapped(word) => word.load(0, Ordering::Acquire),
            Register::InFile(at) => {
                let mut bytes = [0; 4];
                file.read_exact_at(&mut bytes, at).map_or(u32::MAX, |()| u32::from_le_bytes(bytes))
            }
            Register::Missing => u32::MAX,
        }
    }

    /// Stores to the register at `offset`, if there is one.
    ///
    /// Release: earlier stores to memory are visible when the register changes.
    pub fn write32(&self, file: &File, offset: u32, value: u32) {
        match self.register(offset) {
            Register::Mapped(word) => word.store(0, value, Ordering::Release),
            // A device that was removed ignores stores; the next load shows that it is gone.
            Register::InFile(at) => drop(file.write_all_at(&value.to_le_bytes(), at)),
            Register::Missing => {}
        }
    }

    /// Span of `len` bytes of registers from `offset`, if they are mapped.
    pub fn registers(&self, offset: u32, len: u32) -> Option<Span> {
        self.windows.iter().find_map(|window| {
            let at = offset.checked_sub(window.first)?;
            window.registers.slice(at, len)
        })
    }

    /// Replaces the mapped registers with ordinary memory, which releases the device's file. A core that
    /// does not know of it yet stores its doorbells to that memory, without effect.
    pub fn release(&self) -> io::Result<()> {
        self.windows.iter().try_for_each(Window::replace_with_memory)
    }

    fn register(&self, offset: u32) -> Register {
        let inside = offset.is_multiple_of(4) && u64::from(offset) + 4 <= self.region.len;
        if !inside {
            return Register::Missing;
        }
        match self.registers(offset, 4).and_then(SharedArray::new) {
            Some(word) => Register::Mapped(word),
            None => Register::InFile(self.region.offset + u64::from(offset)),
        }
    }
}

/// Way to a register.
enum Register {
    Mapped(SharedArray<u32>),
    /// Offset in the device's file.
    InFile(u64),
    Missing,
}

impl Window {
    fn map(file: &File, region: &Region, first: u32, len: u32) -> io::Result<Self> {
        let offset = region.offset + u64::from(first);
        let memory = MmapOptions::new().offset(offset).len(len as usize).map_raw(file.as_raw_fd())?;
        let host = NonNull::new(memory.as_mut_ptr()).ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: the mapping has `len` bytes and lives as long as the window, which the function that
        // makes spans of it keeps. The Iova is never used: no device reaches registers by the IOMMU.
        let registers = unsafe { Span::new(host, Iova(0), len) };
        Ok(Self { first, registers, memory })
    }

    /// Maps memory over the registers.
    fn replace_with_memory(&self) -> io::Result<()> {
        let (first, len) = (self.memory.as_mut_ptr().cast(), self.memory.len());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: exactly the pages of a mapping of ours, accessed by raw pointers and spans only.
        let now = unsafe { libc::mmap(first, len, access, kind, -1, 0) };
        if now == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_file::{device_file, region};

    /// A BAR of 16 KiB at 0x2000 of a file.
    fn bar(mappable: &[(u64, u64)]) -> (File, Bar) {
        let file = device_file(0x6000);
        file.write_all_at(&0x0001_0400u32.to_le_bytes(), 0x2008).unwrap();
        let bar = Bar::map(&file, region(0x2000, 0x4000, mappable)).unwrap();
        (file, bar)
    }

    #[test]
    fn registers_are_the_same_mapped_or_not() {
        for mappable in [&[(0, 0x4000)][..], &[], &[(0x1000, 0x1000)]] {
            let (file, bar) = bar(mappable);
            assert_eq!(bar.read32(&file, 8), 0x0001_0400);
            bar.write32(&file, 0x1004, 7);
            bar.write32(&file, 0x3ffc, 8);
            assert_eq!(bar.read32(&file, 0x1004), 7);
            assert_eq!(bar.read32(&file, 0x3ffc), 8);
        }
    }

    #[test]
    fn registers_past_the_end_read_as_ones_and_stores_are_ignored() {
        for mappable in [&[(0, 0x4000)][..], &[]] {
            let (file, bar) = bar(mappable);
            for offset in [0x4000, 0x3ffd, 2, u32::MAX, u32::MAX - 3] {
                bar.write32(&file, offset, 0);
                assert_eq!(bar.read32(&file, offset), u32::MAX, "{offset:#x}");
            }
        }
    }

    #[test]
    fn a_device_that_does_not_answer_reads_as_ones() {
        let (file, bar) = bar(&[]);
        file.set_len(0x2000).unwrap();
        assert_eq!(bar.read32(&file, 8), u32::MAX);
    }

    #[test]
    fn doorbells_of_a_released_bar_are_memory_and_the_device_is_free() {
        let (file, bar) = bar(&[(0, 0x4000)]);
        let doorbells: SharedArray<u32> = SharedArray::new(bar.registers(0x1000, 0x1000).unwrap()).unwrap();
        doorbells.store(0, 1, Ordering::Release);
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&inode.to_string()))
        };
        assert!(is_mapped());
        bar.release().unwrap();
        assert!(!is_mapped());
        assert_eq!(doorbells.load(0, Ordering::Acquire), 0);
        doorbells.store(0, 2, Ordering::Release);
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 0x3000).unwrap();
        assert_eq!(bytes, 1u32.to_le_bytes());
    }

    #[test]
    fn doorbells_are_spans_where_they_are_mapped() {
        let (file, bar) = bar(&[(0, 0x1000), (0x2000, 0x1000)]);
        let doorbells: SharedArray<u32> = SharedArray::new(bar.registers(0x2000, 0x1000).unwrap()).unwrap();
        doorbells.store(1, 9, Ordering::Release);
        assert_eq!(bar.read32(&file, 0x2004), 9);
        assert!(bar.registers(0x1000, 8).is_none() && bar.registers(0x2ffc, 8).is_none());
    }
}
