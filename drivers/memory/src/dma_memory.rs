//! Memory of Luge's own that SSDs reach: queues, PRP lists, bounce buffers, memory disks.
//!
//! Invariant: all of it is populated when `allocate` returns, so touching it cannot fail later.

#![expect(unsafe_code, reason = "memory placement is set with raw system calls; spans are addresses")]

use crate::dma_space::{DmaRegion, DmaSpace};
use crate::numa::nodes_of;
use crate::{MapError, Mapping, NodeAmounts, NumaNode, Span};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use thiserror::Error;

/// Size of the pages of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PageSize {
    /// 4 KiB pages: no set-up needed, more IOMMU and TLB entries.
    Base,
    /// 2 MiB hugepages.
    #[default]
    Huge2MiB,
    /// 1 GiB hugepages.
    Huge1GiB,
}

impl PageSize {
    /// The size of a page in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Base => 4096,
            Self::Huge2MiB => 2 << 20,
            Self::Huge1GiB => 1 << 30,
        }
    }

    fn flags(self) -> MemfdFlags {
        match self {
            Self::Base => MemfdFlags::empty(),
            Self::Huge2MiB => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            Self::Huge1GiB => MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
        }
    }
}

/// Error of an allocation.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Not enough free pages of that size.
    #[error(
        "no {mib} MiB of free {kib} KiB pages{where_}: reserve hugepages \
         (for 2 MiB pages: echo N > /proc/sys/vm/nr_hugepages), or use ordinary pages (--no-huge)"
    )]
    NoPages {
        /// Requested size in MiB, rounded up.
        mib: u64,
        /// The page size in KiB.
        kib: u64,
        /// Text that names the NUMA node, or empty.
        where_: String,
    },
    /// The memory could not be mapped into this process.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The memory could not be mapped for the SSDs.
    #[error("cannot map memory for the SSDs: {0}")]
    Dma(io::Error),
}

/// Populated memory that this process and every SSD reach. Given back when dropped, after
/// the IOMMUs have let go of it.
pub struct DmaMemory {
    region: DmaRegion,
}

impl DmaMemory {
    /// At least `len` bytes of zeroes, rounded up to whole pages, on `node` where one is given.
    /// Where hugepages are asked for, whole gibibytes are made of 1 GiB pages if there are some.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is kept then.
    pub fn allocate(
        space: &Arc<DmaSpace>,
        len: u64,
        pages: PageSize,
        node: Option<NumaNode>,
    ) -> Result<Self, MemoryError> {
        let len = whole_pages(len, pages)?;
        let memory = with_largest_pages(len, pages, |pages| map(len, pages, node));
        let memory = memory.map_err(|_| no_pages(len, pages, node))?;
        Self::within(space, memory)
    }

    /// Maps memory for the SSDs.
    pub(crate) fn within(space: &Arc<DmaSpace>, memory: Mapping) -> Result<Self, MemoryError> {
        Ok(Self { region: space.map(memory).map_err(MemoryError::Dma)? })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.region.memory().len()
    }

    /// Whether the length is zero, which never happens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Estimated bytes on each NUMA node.
    #[must_use]
    pub fn nodes(&self) -> NodeAmounts {
        nodes_of(self.region.memory())
    }

    /// `len` bytes from `offset`, or none if that leaves the memory.
    ///
    /// # Safety
    /// `self` outlives every use of the span.
    #[must_use]
    pub unsafe fn span(&self, offset: u64, len: u32) -> Option<Span> {
        offset.checked_add(u64::from(len)).filter(|&end| end <= self.len())?;
        let host = self.region.memory().host_at(offset)?;
        let iova = self.region.iova().checked_add(offset)?;
        // SAFETY: checked above; the caller promises the lifetime.
        Some(unsafe { Span::new(host, iova, len) })
    }
}

/// Length of the whole pages that `len` bytes need.
pub(crate) fn whole_pages(len: u64, pages: PageSize) -> Result<u64, MemoryError> {
    let too_long = MapError::Shape { offset: 0, len };
    Ok(len.max(1).checked_next_multiple_of(pages.bytes()).ok_or(too_long)?)
}

/// Error where there are no `len` bytes of free pages.
pub(crate) fn no_pages(len: u64, pages: PageSize, node: Option<NumaNode>) -> MemoryError {
    MemoryError::NoPages {
        mib: len.div_ceil(1 << 20),
        kib: pages.bytes() / 1024,
        where_: node.map(|n| format!(" on NUMA node {}", n.0)).unwrap_or_default(),
    }
}

/// Lets `make` make memory of `len` bytes: of 1 GiB pages if hugepages are asked for, it is whole gibibytes, and there
/// are some.
pub(crate) fn with_largest_pages<T, E>(
    len: u64,
    pages: PageSize,
    make: impl Fn(PageSize) -> Result<T, E>,
) -> Result<T, E> {
    let larger = PageSize::Huge1GiB;
    match pages {
        PageSize::Huge2MiB if len > 0 && len.is_multiple_of(larger.bytes()) => {
            make(larger).or_else(|_| make(pages))
        }
        _ => make(pages),
    }
}

/// New, empty file of such pages.
pub(crate) fn memory_file(pages: PageSize) -> io::Result<OwnedFd> {
    Ok(memfd_create("luge-dma", MemfdFlags::CLOEXEC | pages.flags())?)
}

/// New, populated memory of whole pages.
fn map(len: u64, pages: PageSize, node: Option<NumaNode>) -> io::Result<Mapping> {
    let file = memory_file(pages)?;
    ftruncate(&file, len)?;
    map_file(&file, len, node)
}

/// Maps and populates the first `len` bytes of a file.
pub(crate) fn map_file(file: &OwnedFd, len: u64, node: Option<NumaNode>) -> io::Result<Mapping> {
    let memory = Mapping::new(file, 0, len).map_err(io::Error::other)?;
    if let Some(node) = node {
        prefer(&memory, node);
    }
    populate(&memory)?;
    Ok(memory)
}

/// Prefers pages of `node`. Not binding: a kernel without NUMA takes pages from anywhere.
fn prefer(memory: &Mapping, node: NumaNode) {
    const MPOL_PREFERRED: libc::c_long = 1;
    let mut nodes = [0u64; 1024 / 64];
    let Some(word) = nodes.get_mut(usize::from(node.0) / 64) else { return };
    *word |= 1 << (node.0 % 64);
    // SAFETY: `mbind` reads the node mask during the call and changes only where later pages come from.
    unsafe {
        libc::syscall(
            libc::SYS_mbind,
            memory.host().as_ptr(),
            memory.len(),
            MPOL_PREFERRED,
            nodes.as_ptr(),
            1024u64,
            0u64,
        )
    };
}

/// Allocates all pages now: an error here instead of a bus error later.
fn populate(memory: &Mapping) -> io::Result<()> {
    let len = usize::try_from(memory.len()).map_err(io::Error::other)?;
    // SAFETY: the range is ours, and populating it changes no byte.
    unsafe {
        rustix::mm::madvise(memory.host().as_ptr().cast(), len, rustix::mm::Advice::LinuxPopulateWrite)
    }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn memory_is_zero_and_spans_stay_inside() {
        let memory = DmaMemory::allocate(&DmaSpace::new(), 5000, PageSize::Base, Some(NumaNode(0))).unwrap();
        assert_eq!(memory.len(), 8192);
        // SAFETY: used only while `memory` lives.
        let span = |offset, len| unsafe { memory.span(offset, len) };
        let mut bytes = [1; 16];
        span(8176, 16).unwrap().read(&mut bytes);
        assert_eq!(bytes, [0; 16]);
        assert!(span(8177, 16).is_none() && span(u64::MAX, 16).is_none() && span(8192, 0).is_some());
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error_with_the_remedy() {
        let error = DmaMemory::allocate(&DmaSpace::new(), 1 << 50, PageSize::Huge2MiB, None).err().unwrap();
        assert!(error.to_string().contains("nr_hugepages"), "{error}");
    }

    #[test]
    fn a_whole_gibibyte_is_one_page_where_the_machine_has_one_free() {
        let folder = Path::new("/sys/kernel/mm/hugepages/hugepages-1048576kB");
        let count =
            |name| fs::read_to_string(folder.join(name)).map_or(0, |text| text.trim().parse().unwrap());
        let (reserved, free): (u32, u32) = (count("nr_hugepages"), count("free_hugepages"));
        // Reserving one takes root and a free, unbroken gibibyte: both outcomes are checked.
        let _ = fs::write(folder.join("nr_hugepages"), (reserved + 1).to_string());
        let more: u32 = count("free_hugepages");
        if more == 0 {
            luge_skip::skip("no free page of 1 GiB: reserve one, as root, while memory is unbroken");
        }
        let memory = DmaMemory::allocate(&DmaSpace::new(), 1 << 30, PageSize::Huge2MiB, None);
        let left: u32 = count("free_hugepages");
        let larger = DmaMemory::allocate(&DmaSpace::new(), (left as u64 + 1) << 30, PageSize::Huge1GiB, None);
        drop(memory);
        let _ = fs::write(folder.join("nr_hugepages"), reserved.to_string());
        assert_eq!(left, more.saturating_sub(1), "of {free} free pages and one more");
        assert!(larger.err().unwrap().to_string().contains("1048576 KiB pages"));
    }
}
