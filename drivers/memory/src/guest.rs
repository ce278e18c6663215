//! A guest's memory: the only place where guest addresses become spans.
//!
//! Path: guest ring -> **here, for every address in it** -> session -> volume -> channel -> SSD.
//!
//! Invariants
//! - A table never changes. Adding or removing a region makes a new table that shares the
//!   other regions, so a core swaps tables with one pointer.
//! - Regions do not overlap, and none wraps around the end of the address space.
//! - A region that is not mapped, because its file is no memory, is in the table but has no span: requests
//!   to its addresses fail like those to a hole.
//!
//! - A change copies one run of regions and the list of runs (`run`): a table may have many regions.
//!
//! Not here: what a region is mapped to (`region`).

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::host_memory::total_bytes;
use crate::lookup::{Likely, Lookup, RowRun};
use crate::memory_file::{Unmappable, page_bytes};
use crate::region::{GuestRegion, RegionError, RegionLayout};
use crate::run::Run;
use crate::shared_memory::MemoryId;
use crate::stall::Stalls;
use crate::{AddressRanges, DriverAddress, GuestAddress, NodeAmounts, Span};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use thiserror::Error;

/// Error of translating a front end's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No region has it.
    #[error("{0} is not in the memory that was shared")]
    Unshared(DriverAddress),
    /// The region is not mapped.
    #[error("{address} is in {reason}")]
    Unmapped {
        /// The address.
        address: DriverAddress,
        /// Why it is not.
        reason: Unmappable,
    },
}

/// A guest's memory: an unchanging table of regions, in order of their addresses.
#[derive(Clone, Default)]
pub struct GuestMemory {
    /// Runs of regions; a changed table shares most of them.
    runs: Vec<Arc<Run>>,
    /// Rows of the regions that are mapped, in the order of `runs`.
    rows: Vec<RowRun>,
    /// Rows that look-ups begin with.
    likely: Likely,
}

impl GuestMemory {
    /// A table of these regions.
    ///
    /// # Errors
    /// [`RegionError::Overlap`].
    pub fn new(regions: impl IntoIterator<Item = GuestRegion>) -> Result<Self, RegionError> {
        regions.into_iter().try_fold(Self::default(), |table, region| table.with(region))
    }

    fn of(runs: Vec<Arc<Run>>) -> Self {
        let rows: Vec<RowRun> = runs.iter().filter_map(|run| RowRun::new(run.rows())).collect();
        let likely = Likely::of(&rows);
        Self { runs, rows, likely }
    }

    /// Copy of the table with one region more. Its cost grows with the square root of the number of regions.
    ///
    /// # Errors
    /// [`RegionError::Overlap`].
    pub fn with(&self, region: GuestRegion) -> Result<Self, RegionError> {
        let layout = region.layout();
        if !self.is_free(&layout) {
            return Err(RegionError::Overlap { guest: layout.guest });
        }
        let mut runs = self.runs.clone();
        let at = self.run_of(layout.guest);
        match runs.get(at) {
            Some(run) => drop(runs.splice(at..=at, run.with(region))),
            None => runs.push(Arc::new(Run::new(vec![Arc::new(region)]))),
        }
        Ok(Self::of(runs))
    }

    /// Whether no region has an address of `layout`.
    #[must_use]
    pub fn is_free(&self, layout: &RegionLayout) -> bool {
        let Some(last) = layout.len.checked_sub(1).and_then(|len| layout.guest.checked_add(len)) else {
            return false;
        };
        let before = self.last_before(last);
        before.is_none_or(|region| !region.layout().has(layout.guest) && !layout.has(region.layout().guest))
    }

    /// Index of the run that has an address, or would have it; the number of runs if there is none.
    fn run_of(&self, at: GuestAddress) -> usize {
        self.runs.partition_point(|run| run.first() <= at).saturating_sub(1)
    }

    /// The last region that begins at `at` or before.
    fn last_before(&self, at: GuestAddress) -> Option<&Arc<GuestRegion>> {
        self.runs.get(self.run_of(at))?.last_before(at)
    }

    /// Fails where a region would give the guest more memory than the host has. Call it before the region
    /// is mapped; one that would not be costs nothing.
    ///
    /// # Errors
    /// [`RegionError::TooLarge`].
    pub fn check_room(&self, layout: &RegionLayout, file: impl AsFd) -> Result<(), RegionError> {
        let lens = self.runs.iter().map(|run| run.mapped_bytes());
        let announced = lens.fold(layout.len, u64::saturating_add);
        let host = total_bytes();
        if announced > host && page_bytes(file) != Err(Unmappable::NotMemory) {
            return Err(RegionError::TooLarge { announced, host });
        }
        Ok(())
    }

    /// Copy of the table without the region that starts at `guest` and has `len` bytes.
    ///
    /// # Errors
    /// [`RegionError::Unknown`].
    pub fn without(&self, guest: GuestAddress, len: u64) -> Result<Self, RegionError> {
        let region = self.last_before(guest).map(|region| region.layout());
        if region.is_none_or(|layout| layout.guest != guest || layout.len != len) {
            return Err(RegionError::Unknown { guest, len });
        }
        self.without_all(guest, len)
    }

    /// Copy of the table without the regions in the `len` bytes at `guest`.
    ///
    /// # Errors
    /// [`RegionError::Unknown`] if there is none, and [`RegionError::Split`] if only a part of one is in there.
    pub fn without_all(&self, guest: GuestAddress, len: u64) -> Result<Self, RegionError> {
        let range = RegionLayout { guest, driver: DriverAddress(0), len, file_offset: 0 };
        let unknown = RegionError::Unknown { guest, len };
        let Some(last) = len.checked_sub(1).and_then(|len| guest.checked_add(len)) else {
            return Err(unknown);
        };
        let splits = |region: &Arc<GuestRegion>| region.layout().splits(&range);
        if self.last_before(guest).is_some_and(splits) || self.last_before(last).is_some_and(splits) {
            return Err(RegionError::Split { guest, len });
        }
        let mut runs = self.runs.clone();
        let affected = self.affected(guest, last);
        let changed = self.runs.get(affected.clone()).unwrap_or_default();
        let before: usize = changed.iter().map(|run| run.len()).sum();
        let stays = |region: &&Arc<GuestRegion>| !range.has(region.layout().guest);
        let left = Run::joined(changed.iter().flat_map(|run| run.regions()).filter(stays));
        if left.iter().map(|run| run.len()).sum::<usize>() == before {
            return Err(unknown);
        }
        drop(runs.splice(affected, left));
        Ok(Self::of(runs))
    }

    /// Indices of the runs that have addresses from `first` to `last`, and of the next one if it is short.
    fn affected(&self, first: GuestAddress, last: GuestAddress) -> Range<usize> {
        let (start, next) = (self.run_of(first), self.run_of(last).saturating_add(1));
        let lens = self.runs.get(start..=next).unwrap_or_default().iter().map(|run| run.len());
        let is_short = lens.sum::<usize>().checked_sub(1).is_some_and(|len| len < Run::SHORT);
        let end = if is_short { next.saturating_add(1) } else { next };
        start..end.min(self.runs.len())
    }

    /// Whether all regions of another table are in this one, too.
    #[must_use]
    pub fn has_all_of(&self, other: &Self) -> bool {
        self.missing_of(other).next().is_none()
    }

    /// Addresses in this process of the memory that `before` has and this table has not.
    #[must_use]
    pub fn addresses_gone_since(&self, before: &Self) -> AddressRanges {
        self.missing_of(before).filter_map(|region| region.addresses()).collect()
    }

    /// Regions of another table that are not in this one.
    fn missing_of<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Arc<GuestRegion>> {
        let has_run = |run: &&Arc<Run>| {
            self.runs.get(self.run_of(run.first())).is_some_and(|our| Arc::ptr_eq(our, run))
        };
        let has = |region: &&Arc<GuestRegion>| {
            self.last_before(region.layout().guest).is_some_and(|our| Arc::ptr_eq(our, region))
        };
        let changed = other.runs.iter().filter(move |run| !has_run(run));
        changed.flat_map(|run| run.regions()).filter(move |region| !has(region))
    }

    /// Number of accesses that found memory missing which the front end had shared. If not zero,
    /// data of the guest cannot be trusted.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.regions().map(GuestRegion::faults).sum()
    }

    /// Waits of cores for the memory: it is costly to touch.
    #[must_use]
    pub fn stalls(&self) -> Stalls {
        self.regions().fold(Stalls::default(), |stalls, region| stalls.and(region.stalls()))
    }

    /// Estimated bytes on each NUMA node, from a sample of the present pages.
    #[must_use]
    pub fn nodes(&self) -> NodeAmounts {
        let mut nodes = NodeAmounts::default();
        self.regions().for_each(|region| nodes.add_all(&region.nodes()));
        nodes
    }

    /// Number of regions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Whether the guest has no memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// All regions, in order of their guest addresses.
    pub fn regions(&self) -> impl Iterator<Item = &GuestRegion> {
        self.runs.iter().flat_map(|run| run.regions()).map(|region| &**region)
    }

    /// Identity of the memory file of the longest region: of the guest's RAM, also where it has other regions. None
    /// where no region is mapped.
    #[must_use]
    pub fn memory_id(&self) -> Option<MemoryId> {
        let longest = self.runs.iter().filter_map(|run| run.longest());
        longest.max_by_key(|longest| longest.len).map(|longest| longest.id)
    }

    /// The regions that are not mapped: requests with buffers there fail.
    pub fn unmapped(&self) -> impl Iterator<Item = &GuestRegion> {
        self.regions().filter(|region| region.unmappable().is_some())
    }

    /// The guest address of an address in the front end's process.
    ///
    /// # Errors
    /// [`AddressError`] where that is not memory of the guest.
    pub fn guest_address(&self, driver: DriverAddress) -> Result<GuestAddress, AddressError> {
        let found = self.regions().find_map(|region| Some((region, region.layout().guest_address(driver)?)));
        let (region, guest) = found.ok_or(AddressError::Unshared(driver))?;
        match region.unmappable() {
            None => Ok(guest),
            Some(reason) => Err(AddressError::Unmapped { address: driver, reason }),
        }
    }

    /// Look-ups with a cache of the last regions found.
    #[inline]
    #[must_use]
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup::new(&self.rows, &self.likely)
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

    /// All `len` bytes at `at`, such as a ring; none if they are not in one region.
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
    use crate::{AddressRange, DmaSpace, MapError, PeerMemoryError};
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
        assert!(matches!(
            region(0, 0x10000, 0x1000),
            Err(RegionError::Map(PeerMemoryError::Map(MapError::TooShort { .. })))
        ));
    }

    #[test]
    fn a_region_that_is_no_memory_file_has_a_place_and_no_span() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let [guest, driver] = [0x2000, 0x7000_2000];
        let (guest, driver) = (GuestAddress(guest), DriverAddress(driver));
        let layout = RegionLayout { guest, driver, len: 0x1000, file_offset: 0 };
        let other = GuestRegion::map(&DmaSpace::new(), layout, &file).unwrap();
        let memory = GuestMemory::new([region(0x1000, 0x1000, 0).unwrap(), other]).unwrap();
        assert_eq!(span(&memory, 0x2000, 1), None);
        assert_eq!(span(&memory, 0x1ff0, 0x20), Some(0x10), "the next region is not a part of it");
        let unmapped = AddressError::Unmapped { address: driver, reason: Unmappable::NotMemory };
        assert_eq!(memory.guest_address(driver), Err(unmapped));
        assert_eq!(memory.unmapped().map(GuestRegion::layout).collect::<Vec<_>>(), [layout]);
        assert!(memory.with(region(0x2fff, 1, 0).unwrap()).is_err(), "its place is taken");
        assert_eq!(memory.len(), 2);
        assert_eq!(memory.without(guest, 0x1000).unwrap().len(), 1);
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
    fn more_memory_than_the_host_has_is_refused_however_it_is_cut() {
        let layout = |len| RegionLayout {
            guest: GuestAddress(1 << 40),
            driver: DriverAddress(1 << 40),
            len,
            file_offset: 0,
        };
        let memory = memfd_create("sparse", MemfdFlags::CLOEXEC).unwrap();
        let table = GuestMemory::new([region(0x1000, 0x1000, 0).unwrap()]).unwrap();
        let host = total_bytes();
        assert!(table.check_room(&layout(host - 0x1000), &memory).is_ok());
        for len in [host - 0xfff, 507 << 30, u64::MAX] {
            let refusal = table.check_room(&layout(len), &memory);
            assert!(matches!(refusal, Err(RegionError::TooLarge { .. })), "{len}");
        }
        let disk = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(table.check_room(&layout(507 << 30), disk).is_ok(), "it is not mapped");
    }

    #[test]
    fn a_removed_region_is_gone_and_the_others_stay() {
        let memory =
            GuestMemory::new([region(0x1000, 0x1000, 0).unwrap(), region(0x4000, 0x1000, 0).unwrap()])
                .unwrap();
        let fewer = memory.without(GuestAddress(0x1000), 0x1000).unwrap();
        assert!(memory.has_all_of(&fewer));
        assert!(!fewer.has_all_of(&memory));
        assert!(memory.addresses_gone_since(&fewer).is_empty());
        let gone = fewer.addresses_gone_since(&memory);
        for (at, is_gone) in [(0x1000, true), (0x4000, false)] {
            // SAFETY: nothing is accessed.
            let span = unsafe { memory.span(GuestAddress(at), 1) }.unwrap();
            assert_eq!(gone.overlap(AddressRange::of(&span)), is_gone, "{at:#x}");
        }
        assert_eq!(span(&fewer, 0x1000, 1), None);
        assert_eq!(span(&fewer, 0x4000, 1), Some(1));
        assert!(fewer.without(GuestAddress(0x4000), 0x2000).is_err());
    }

    #[test]
    fn addresses_of_the_front_end_become_guest_addresses() {
        let memory = GuestMemory::new([region(0x1000, 0x1000, 0).unwrap()]).unwrap();
        assert_eq!(memory.guest_address(DriverAddress(0x7000_1fff)), Ok(GuestAddress(0x1fff)));
        let outside = DriverAddress(0x7000_2000);
        assert_eq!(memory.guest_address(outside), Err(AddressError::Unshared(outside)));
    }
}
