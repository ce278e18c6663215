//! A guest's memory: the one place where its addresses become spans.
//!
//! Path: guest ring -> **here, for every address in it** -> session -> volume -> channel -> SSD.
//!
//! Invariants
//! - A table never changes. Adding or removing a region makes a new table that shares the
//!   other regions, so a core swaps tables with one pointer.
//! - Regions do not overlap, and none wraps around the end of the address space.
//! - Memory that is taken away by its front end reads as zeroes, and its front end is cut off
//!   (`fault`).

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::dma_space::{DmaRegion, DmaSpace};
use crate::fault::Watch;
use crate::lookup::{Lookup, Row};
use crate::{DriverAddress, GuestAddress, Iova, MapError, Mapping, Span};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use thiserror::Error;

/// How a front end describes a region of its guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLayout {
    /// Where the guest sees it.
    pub guest: GuestAddress,
    /// Where the front end's process sees it.
    pub driver: DriverAddress,
    /// Length in bytes.
    pub len: u64,
    /// Where it starts in its file, in bytes.
    pub file_offset: u64,
}

/// Why a region was not taken.
#[derive(Debug, Error)]
pub enum RegionError {
    /// Empty, or past the end of an address space.
    #[error("a region of {len} bytes at guest address {guest} is not possible")]
    Shape {
        /// Where it was to be.
        guest: GuestAddress,
        /// Its length in bytes.
        len: u64,
    },
    /// Two regions claim an address.
    #[error("the region at guest address {guest} overlaps another")]
    Overlap {
        /// Where it was to be.
        guest: GuestAddress,
    },
    /// No region is like that.
    #[error("there is no region of {len} bytes at guest address {guest}")]
    Unknown {
        /// Where it should have been.
        guest: GuestAddress,
        /// Its length in bytes.
        len: u64,
    },
    /// It is of a kind that could keep a core waiting.
    #[error(
        "guest memory must be a memfd, or a file on tmpfs or hugetlbfs \
         (the region at guest address {guest} is not)"
    )]
    Kind {
        /// Where it was to be.
        guest: GuestAddress,
    },
    /// There are more regions than can be watched.
    #[error("there are too many regions of guest memory: serve fewer disks")]
    TooMany,
    /// It could not be mapped into this process.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It could not be mapped for the SSDs.
    #[error(
        "cannot map guest memory for the SSDs (is the limit of locked memory, `ulimit -l`, too low?): {0}"
    )]
    Dma(io::Error),
}

/// A region of a guest's memory, mapped for this process and for the SSDs.
pub struct GuestRegion {
    layout: RegionLayout,
    /// Bytes of the mapping before the region: mappings start at whole pages of their file.
    lead: usize,
    // Dropped before the memory that it watches.
    watch: Watch,
    dma: DmaRegion,
}

impl GuestRegion {
    /// Maps a region of `file`.
    ///
    /// # Errors
    /// [`RegionError`]; nothing is mapped then.
    pub fn map(space: &Arc<DmaSpace>, layout: RegionLayout, file: impl AsFd) -> Result<Self, RegionError> {
        let shape = || RegionError::Shape { guest: layout.guest, len: layout.len };
        let ends = (layout.guest.checked_add(layout.len), layout.driver.checked_add(layout.len));
        if layout.len == 0 || ends.0.is_none() || ends.1.is_none() {
            return Err(shape());
        }
        let page = page_bytes(&file).ok_or(RegionError::Kind { guest: layout.guest })?;
        let first = layout.file_offset - layout.file_offset % page;
        let end =
            layout.file_offset.checked_add(layout.len).and_then(|end| end.checked_next_multiple_of(page));
        let memory = Mapping::new(file, first, end.ok_or_else(shape)? - first)?;
        let watch = Watch::new(&memory, page).ok_or(RegionError::TooMany)?;
        let dma = space.map(memory).map_err(RegionError::Dma)?;
        let lead = usize::try_from(layout.file_offset - first).map_err(|_| shape())?;
        Ok(Self { layout, lead, watch, dma })
    }

    /// The same region, with the connection to its front end: that is shut down, in both
    /// directions, the moment this process finds some of the memory missing.
    #[must_use]
    pub fn tied_to(mut self, connection: &Arc<UnixStream>) -> Self {
        self.watch.tie(connection.clone());
        self
    }

    /// What the front end said of it.
    #[must_use]
    pub fn layout(&self) -> RegionLayout {
        self.layout
    }

    fn row(&self) -> Row {
        // SAFETY: the region starts inside the mapping.
        let host = unsafe { self.dma.memory().host().add(self.lead) };
        let iova = Iova(self.dma.iova().0.wrapping_add(self.lead as u64));
        Row { guest: self.layout.guest, len: self.layout.len, host, iova }
    }
}

/// The size in bytes of a page of a file in memory; nothing for other files. Those of a disk,
/// and those that another process serves (FUSE), keep whoever touches them waiting for as long
/// as they like.
fn page_bytes(file: impl AsFd) -> Option<u64> {
    let system = rustix::fs::fstatfs(file).ok()?;
    match system.f_type {
        TMPFS => Some(4096),
        HUGETLBFS => u64::try_from(system.f_bsize).ok(),
        _ => None,
    }
}

/// The kernel's numbers of file systems in memory (`statfs`). A memfd is on one of them.
const TMPFS: i64 = 0x0102_1994;
const HUGETLBFS: i64 = 0x9584_58f6;

/// A guest's memory: an unchanging table of regions, in order of their addresses.
#[derive(Clone, Default)]
pub struct GuestMemory {
    regions: Vec<Arc<GuestRegion>>,
    /// One for each region, in the same order.
    rows: Vec<Row>,
}

impl GuestMemory {
    /// A table of these regions.
    ///
    /// # Errors
    /// [`RegionError::Overlap`].
    pub fn new(regions: impl IntoIterator<Item = GuestRegion>) -> Result<Self, RegionError> {
        regions.into_iter().try_fold(Self::default(), |table, region| table.with(region))
    }

    /// This table and one region more.
    ///
    /// # Errors
    /// [`RegionError::Overlap`].
    pub fn with(&self, region: GuestRegion) -> Result<Self, RegionError> {
        let RegionLayout { guest, len, .. } = region.layout;
        let at = self.rows.partition_point(|other| other.guest < guest);
        let reaches_in =
            at.checked_sub(1).and_then(|i| self.rows.get(i)).is_some_and(|r| r.offset_of(guest).is_some());
        let reached = self.rows.get(at).is_some_and(|next| next.guest.0 - guest.0 < len);
        if reaches_in || reached {
            return Err(RegionError::Overlap { guest });
        }
        let mut regions = self.regions.clone();
        regions.insert(at, Arc::new(region));
        Ok(Self::of(regions))
    }

    fn of(regions: Vec<Arc<GuestRegion>>) -> Self {
        let rows = regions.iter().map(|region| region.row()).collect();
        Self { regions, rows }
    }

    /// This table without the region that starts at `guest` and has `len` bytes.
    ///
    /// # Errors
    /// [`RegionError::Unknown`].
    pub fn without(&self, guest: GuestAddress, len: u64) -> Result<Self, RegionError> {
        let mut regions = self.regions.clone();
        regions.retain(|region| (region.layout.guest, region.layout.len) != (guest, len));
        if regions.len() == self.regions.len() {
            return Err(RegionError::Unknown { guest, len });
        }
        Ok(Self::of(regions))
    }

    /// How often memory was missing that the front end had promised: the rest of what the guest
    /// says is not to be believed.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.regions.iter().map(|region| region.watch.faults()).sum()
    }

    /// Number of regions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether the guest has no memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// The guest address of an address in the front end's process.
    #[must_use]
    pub fn guest_address(&self, driver: DriverAddress) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let offset = driver.0.checked_sub(region.layout.driver.0).filter(|&o| o < region.layout.len)?;
            region.layout.guest.checked_add(offset)
        })
    }

    /// A look-up that begins where the last one was successful.
    #[inline]
    #[must_use]
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup::new(&self.rows)
    }

    /// The longest piece, up to `len` bytes, of guest memory at `at` that is in one region;
    /// none where the guest has no memory. A buffer across regions takes several calls.
    ///
    /// # Safety
    /// The caller keeps this table until it no longer uses the span.
    #[must_use]
    pub unsafe fn span(&self, at: GuestAddress, len: u32) -> Option<Span> {
        // SAFETY: the caller's promise.
        unsafe { self.lookup().span(at, len) }
    }

    /// Like [`Self::span`], for what must be in one piece, as rings are: all `len` bytes or none.
    ///
    /// # Safety
    /// As there.
    #[must_use]
    pub unsafe fn whole_span(&self, at: GuestAddress, len: u32) -> Option<Span> {
        // SAFETY: the caller's promise.
        unsafe { self.span(at, len) }.filter(|span| span.len() == len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn region(guest: u64, len: u64, file_offset: u64) -> Result<GuestRegion, RegionError> {
        let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 0x10000).unwrap();
        let layout = RegionLayout {
            guest: GuestAddress(guest),
            driver: DriverAddress(guest + 0x7000_0000),
            len,
            file_offset,
        };
        GuestRegion::map(&DmaSpace::new(), layout, file)
    }

    fn span(memory: &GuestMemory, at: u64, len: u32) -> Option<u32> {
        // SAFETY: only the length is used.
        unsafe { memory.span(GuestAddress(at), len) }.map(|span| span.len())
    }

    #[test]
    fn an_address_in_a_hole_or_past_the_end_has_no_span() {
        let memory =
            GuestMemory::new([region(0x4000, 0x2000, 0).unwrap(), region(0x1000, 0x1000, 0).unwrap()])
                .unwrap();
        assert_eq!(span(&memory, 0x1000, 0x1000), Some(0x1000));
        assert_eq!(span(&memory, 0x1fff, 0x1000), Some(1));
        assert_eq!(span(&memory, 0x5ffe, u32::MAX), Some(2));
        for outside in [0, 0xfff, 0x2000, 0x3fff, 0x6000, u64::MAX] {
            assert_eq!(span(&memory, outside, 1), None, "{outside:#x}");
        }
    }

    #[test]
    fn regions_that_overlap_wrap_or_outgrow_their_file_are_refused() {
        let memory = GuestMemory::new([region(0x4000, 0x2000, 0).unwrap()]).unwrap();
        for (guest, len) in [(0x4000, 0x2000), (0x3000, 0x1001), (0x5fff, 1), (0x3000, 0x8000)] {
            assert!(memory.with(region(guest, len, 0).unwrap()).is_err(), "{guest:#x}");
        }
        assert!(memory.with(region(0x3000, 0x1000, 0).unwrap()).is_ok());
        assert!(matches!(region(0, 0, 0), Err(RegionError::Shape { .. })));
        assert!(matches!(region(0xffff_ffff_8fff_f000, 0x8000_0000, 0), Err(RegionError::Shape { .. })));
        assert!(matches!(region(0, 0x10000, 0x1000), Err(RegionError::Map(MapError::TooShort { .. }))));
    }

    #[test]
    fn memory_that_could_keep_a_core_waiting_is_refused() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let layout =
            RegionLayout { guest: GuestAddress(0), driver: DriverAddress(0), len: 4096, file_offset: 0 };
        let refused = GuestRegion::map(&DmaSpace::new(), layout, &file);
        assert!(matches!(refused, Err(RegionError::Kind { .. })));
    }

    #[test]
    fn a_region_may_start_inside_a_page_of_its_file() {
        let memory = GuestMemory::new([region(0x1000, 0x800, 0x1200).unwrap()]).unwrap();
        // SAFETY: `memory` outlives the span.
        let span = unsafe { memory.span(GuestAddress(0x1010), 8) }.unwrap();
        assert_eq!(span.host().addr().get() % 0x1000, 0x210);
        assert_eq!(span.iova().0 % 0x1000, 0x210);
    }

    #[test]
    fn a_removed_region_is_gone_and_the_others_stay() {
        let memory =
            GuestMemory::new([region(0x1000, 0x1000, 0).unwrap(), region(0x4000, 0x1000, 0).unwrap()])
                .unwrap();
        let fewer = memory.without(GuestAddress(0x1000), 0x1000).unwrap();
        assert_eq!((span(&fewer, 0x1000, 1), span(&fewer, 0x4000, 1)), (None, Some(1)));
        assert!(fewer.without(GuestAddress(0x4000), 0x2000).is_err());
    }

    #[test]
    fn addresses_of_the_front_end_become_guest_addresses() {
        let memory = GuestMemory::new([region(0x1000, 0x1000, 0).unwrap()]).unwrap();
        assert_eq!(memory.guest_address(DriverAddress(0x7000_1fff)), Some(GuestAddress(0x1fff)));
        assert_eq!(memory.guest_address(DriverAddress(0x7000_2000)), None);
    }
}
