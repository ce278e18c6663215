//! Tests of tables with many regions, and of files of which many pieces are announced.

#![expect(unsafe_code, reason = "spans of memory that this test keeps")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::{
    DeviceAccess, DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, Iommu, Iova, IovaRange,
    Mapping, PeerFiles, RegionError, RegionLayout, Unmappable, Use,
};
use luge_seeded::{Random, fuzz};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PAGE: u64 = 0x1000;

/// An IOMMU that counts its mappings.
#[derive(Default)]
struct Count(AtomicU64);

impl Iommu for Count {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        Ok(vec![IovaRange { first: 0, last: (1 << 48) - 1 }])
    }

    fn map(&self, _: Iova, _: &Mapping) -> io::Result<()> {
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }

    fn unmap(&self, _: Iova, _: u64) -> io::Result<()> {
        self.0.fetch_sub(1, Relaxed);
        Ok(())
    }
}

fn file(len: u64) -> OwnedFd {
    let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, len).unwrap();
    file
}

fn files(space: Option<Arc<DmaSpace>>) -> PeerFiles {
    PeerFiles::new(space, Arc::new(UnixStream::pair().unwrap().0))
}

fn layout(guest: u64, len: u64, file_offset: u64) -> RegionLayout {
    RegionLayout { guest: GuestAddress(guest), driver: DriverAddress(guest), len, file_offset }
}

fn region(files: &mut PeerFiles, layout: RegionLayout, file: &OwnedFd) -> Result<GuestRegion, RegionError> {
    files.region(layout, DeviceAccess::ReadWrite, Some(file.as_fd()))
}

/// Offset in the file, by its content, of what is at an address; none where there is no memory.
fn offset_at(memory: &GuestMemory, at: u64) -> Option<u64> {
    // SAFETY: the table outlives the span.
    let span = unsafe { memory.whole_span(GuestAddress(at), 8) }?;
    span.first().map(u64::from_ne_bytes)
}

#[test]
fn pieces_of_a_file_share_its_mapping_and_take_no_file_descriptors() {
    let (space, iommu) = (DmaSpace::new(), Arc::new(Count::default()));
    space.attach(iommu.clone()).unwrap();
    let (mut files, file) = (files(Some(space)), file(256 * PAGE));
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut memory = GuestMemory::new([region(&mut files, layout(0, 64, 0), &file).unwrap()]).unwrap();
    let before = open();
    for n in 1..4096 {
        let piece = layout(n * PAGE, 64, n * 64 + 8);
        memory = memory.with(region(&mut files, piece, &file).unwrap()).unwrap();
    }
    assert_eq!(memory.len(), 4096);
    // Other tests of this process open files, too.
    assert!(open() < before + 100);
    assert_eq!(iommu.0.load(Relaxed), 1);
    drop(memory);
    assert_eq!(iommu.0.load(Relaxed), 0, "the last piece takes the mapping with it");
}

#[test]
fn a_file_of_more_than_the_hosts_memory_is_mapped_piece_by_piece() {
    let (space, iommu) = (DmaSpace::new(), Arc::new(Count::default()));
    space.attach(iommu.clone()).unwrap();
    let (mut files, file) = (files(Some(space)), file(1 << 42));
    let pieces = [0, 1 << 41].map(|at| region(&mut files, layout(at, 2 * PAGE, at), &file).unwrap());
    let memory = GuestMemory::new(pieces).unwrap();
    assert_eq!(iommu.0.load(Relaxed), 2);
    assert_eq!(offset_at(&memory, (1 << 41) + PAGE), Some(0));
}

#[test]
fn a_file_that_has_grown_is_mapped_again() {
    let (mut files, file) = (files(None), file(PAGE));
    let first = region(&mut files, layout(0, PAGE, 0), &file).unwrap();
    assert!(region(&mut files, layout(PAGE, PAGE, PAGE), &file).is_err(), "past the end");
    ftruncate(&file, 2 * PAGE).unwrap();
    let second = region(&mut files, layout(PAGE, PAGE, PAGE), &file).unwrap();
    let memory = GuestMemory::new([first, second]).unwrap();
    assert_eq!(offset_at(&memory, PAGE), Some(0));
}

#[test]
fn the_number_of_files_is_bounded_and_those_that_are_gone_count_no_more() {
    let mut files = files(None);
    let mut regions = Vec::new();
    let refused = (0..1000).find_map(|n| {
        let made = region(&mut files, layout(n * PAGE, PAGE, 0), &file(PAGE));
        made.map(|region| regions.push(region)).err()
    });
    assert!(matches!(refused, Some(RegionError::TooManyFiles(256))), "{refused:?}");
    regions.clear();
    assert!(region(&mut files, layout(0, PAGE, 0), &file(PAGE)).is_ok());
}

#[test]
fn memory_that_is_not_shared_has_a_place_and_no_span() {
    let mut files = files(None);
    let region = files.region(layout(PAGE, PAGE, 0), DeviceAccess::ReadWrite, None).unwrap();
    assert_eq!(region.unmappable(), Some(Unmappable::NotShared));
    let memory = GuestMemory::new([region]).unwrap();
    assert_eq!(offset_at(&memory, PAGE), None);
    assert!(!memory.is_free(&layout(2 * PAGE - 1, 1, 0)));
    assert!(memory.is_free(&layout(2 * PAGE, 1, 0)));
}

#[test]
fn a_device_may_not_write_where_it_may_only_read() {
    let (mut files, file) = (files(None), file(2 * PAGE));
    let read_only = files.region(layout(0, PAGE, 0), DeviceAccess::ReadOnly, Some(file.as_fd())).unwrap();
    let memory =
        GuestMemory::new([read_only, region(&mut files, layout(PAGE, PAGE, PAGE), &file).unwrap()]).unwrap();
    let has = |purpose, at| {
        // SAFETY: nothing looks at the bytes of the span.
        unsafe { memory.lookup().whole_for(purpose, GuestAddress(at), 8) }.is_some()
    };
    assert!(has(Use::Read, 0));
    assert!(!has(Use::Write, 0));
    assert!(has(Use::Write, PAGE));
}

/// A table, and what must be in it: length and offset in the file by address.
struct Model {
    files: PeerFiles,
    file: OwnedFd,
    table: GuestMemory,
    expected: BTreeMap<u64, (u64, u64)>,
}

/// Units of the model: addresses and lengths are multiples of it.
const UNIT: u64 = 8;
const UNITS: u64 = 2048;

impl Model {
    /// A table over a file whose words are their own offsets.
    fn new() -> Self {
        let file = file(UNITS * UNIT);
        let bytes: Vec<u8> = (0..UNITS).flat_map(|n| (n * UNIT).to_ne_bytes()).collect();
        rustix::io::pwrite(&file, &bytes, 0).unwrap();
        Self { files: files(None), file, table: GuestMemory::default(), expected: BTreeMap::new() }
    }

    fn overlapping(&self, at: u64, len: u64) -> Vec<u64> {
        let all = self.expected.iter();
        all.filter(|&(&start, &(its, _))| start < at + len && at < start + its).map(|(&at, _)| at).collect()
    }

    fn add(&mut self, random: &mut Random) {
        let (at, len) = (random.below(UNITS) * UNIT, (1 + random.below(3)) * UNIT);
        let offset = random.below(UNITS - 3) * UNIT;
        let piece = region(&mut self.files, layout(at, len, offset), &self.file).unwrap();
        let is_free = self.overlapping(at, len).is_empty();
        match self.table.with(piece) {
            Ok(table) => {
                assert!(is_free);
                assert!(table.has_all_of(&self.table));
                self.table = table;
                self.expected.insert(at, (len, offset));
            }
            Err(error) => assert!(!is_free && matches!(error, RegionError::Overlap { .. }), "{error}"),
        }
    }

    fn remove(&mut self, random: &mut Random) {
        let (at, len) = (random.below(UNITS) * UNIT, (1 + random.below(40)) * UNIT);
        let within = |model: &Self, start: u64| start >= at && start + model.expected[&start].0 <= at + len;
        let affected = self.overlapping(at, len);
        match self.table.without_all(GuestAddress(at), len) {
            Ok(table) => {
                assert!(!affected.is_empty());
                assert!(affected.iter().all(|&start| within(self, start)));
                assert!(!table.has_all_of(&self.table));
                self.table = table;
                self.expected.retain(|start, _| !affected.contains(start));
            }
            Err(RegionError::Unknown { .. }) => assert!(affected.is_empty()),
            Err(error) => {
                assert!(matches!(error, RegionError::Split { .. }), "{error}");
                assert!(!affected.iter().all(|&start| within(self, start)));
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.expected.len());
        for at in (0..UNITS + 3).map(|n| n * UNIT) {
            let found = self.expected.range(..=at).next_back();
            let found = found.filter(|&(&start, &(len, _))| at < start + len);
            let offset = found.map(|(&start, &(_, offset))| offset + at - start);
            assert_eq!(offset_at(&self.table, at), offset, "{at:#x}");
        }
    }
}

#[test]
fn a_table_that_changes_has_what_was_added_and_not_removed() {
    fuzz(|random| {
        let mut model = Model::new();
        for _ in 0..random.below(2000_u32) {
            if random.below(4_u32) > 0 { model.add(random) } else { model.remove(random) }
        }
        model.check();
    });
}
