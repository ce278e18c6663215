//! Tests of memory that the disks of a virtual machine announce, each on its own connection.

#![expect(unsafe_code, reason = "spans of memory that this test keeps")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::{
    DmaMemory, DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, Iommu, Iova, IovaRange,
    Mapping, OwnMemory, PageSize, RegionLayout, Span, Unmappable,
};
use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
    open,
};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

const MIB: u64 = 1 << 20;

/// An IOMMU that notes what is mapped in it.
struct Ledger {
    usable: IovaRange,
    mapped: Mutex<BTreeMap<Iova, u64>>,
}

impl Ledger {
    fn attached_to(space: &DmaSpace) -> Arc<Self> {
        Self::with_addresses(space, IovaRange { first: 0, last: (1 << 48) - 1 })
    }

    fn with_addresses(space: &DmaSpace, usable: IovaRange) -> Arc<Self> {
        let ledger = Arc::new(Self { usable, mapped: Mutex::default() });
        space.attach(ledger.clone()).unwrap();
        ledger
    }

    fn sizes(&self) -> Vec<u64> {
        self.mapped.lock().unwrap().values().copied().collect()
    }
}

impl Iommu for Ledger {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        Ok(vec![self.usable])
    }

    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
        self.mapped.lock().unwrap().insert(iova, memory.len());
        Ok(())
    }

    fn unmap(&self, iova: Iova, _: u64) -> io::Result<()> {
        self.mapped.lock().unwrap().remove(&iova);
        Ok(())
    }
}

fn file(len: u64) -> OwnedFd {
    let file = memfd_create("guest", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, len).unwrap();
    file
}

fn reopened(file: &OwnedFd, access: OFlags) -> OwnedFd {
    open(format!("/proc/self/fd/{}", file.as_raw_fd()), access | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// A layout of `len` bytes of a file from `offset`, at the same guest address.
fn piece(offset: u64, len: u64) -> RegionLayout {
    RegionLayout { guest: GuestAddress(offset), driver: DriverAddress(offset), len, file_offset: offset }
}

fn for_ssds(space: &Arc<DmaSpace>, layout: RegionLayout, file: &OwnedFd) -> GuestMemory {
    GuestMemory::new([GuestRegion::map(space, layout, file).unwrap()]).unwrap()
}

fn for_process(layout: RegionLayout, file: &OwnedFd) -> GuestMemory {
    GuestMemory::new([GuestRegion::map_for_process(layout, file).unwrap()]).unwrap()
}

fn at(memory: &GuestMemory, address: u64) -> Span {
    // SAFETY: every test keeps its memory until it ends.
    unsafe { memory.whole_span(GuestAddress(address), 8) }.unwrap()
}

#[test]
fn disks_of_a_guest_share_one_mapping_in_the_process_and_in_the_iommu() {
    let (space, file) = (DmaSpace::new(), file(4 * MIB));
    let ledger = Ledger::attached_to(&space);
    let disks: Vec<_> =
        (0..8).map(|_| for_ssds(&space, piece(0, 4 * MIB), &reopened(&file, OFlags::RDWR))).collect();
    assert_eq!(ledger.sizes(), [4 * MIB]);
    for disk in &disks {
        assert_eq!(at(disk, 0x5000).host(), at(&disks[0], 0x5000).host());
        assert_eq!(at(disk, 0x5000).iova(), at(&disks[0], 0x5000).iova());
    }
    drop(disks);
    assert!(ledger.sizes().is_empty());
}

#[test]
fn a_piece_of_what_is_mapped_is_not_mapped_again() {
    let (space, file) = (DmaSpace::new(), file(4 * MIB));
    let ledger = Ledger::attached_to(&space);
    let whole = for_ssds(&space, piece(0, 4 * MIB), &file);
    let part = for_ssds(&space, piece(MIB + 0x800, MIB), &file);
    assert_eq!(ledger.sizes(), [4 * MIB]);
    assert_eq!(at(&part, MIB + 0x900).host(), at(&whole, MIB + 0x900).host());
    assert_eq!(at(&part, MIB + 0x900).iova(), at(&whole, MIB + 0x900).iova());
    // SAFETY: nothing looks at the bytes.
    let outside = unsafe { part.span(GuestAddress(MIB), 8) };
    assert!(outside.is_none(), "it has the addresses of its own region only");
    drop(whole);
    assert_eq!(ledger.sizes(), [4 * MIB], "the other keeps it");
}

#[test]
fn memory_is_mapped_for_ssds_only_while_one_needs_it() {
    let (space, file) = (DmaSpace::new(), file(MIB));
    let ledger = Ledger::attached_to(&space);
    let null = for_process(piece(0, MIB), &file);
    assert!(ledger.sizes().is_empty());
    assert!(at(&null, 0).iova().0 >= 1 << 63, "no IOMMU has such an address");
    let ssd = for_ssds(&space, piece(0, MIB), &file);
    assert_eq!(ledger.sizes(), [MIB]);
    assert_eq!(at(&ssd, 0).host(), at(&null, 0).host());
    drop(ssd);
    assert!(ledger.sizes().is_empty());
    at(&null, 0).fill(7);
}

#[test]
fn other_memory_of_the_same_size_is_mapped_for_itself() {
    let (ours, theirs) = (file(MIB), file(MIB));
    let (here, there) = (for_process(piece(0, MIB), &ours), for_process(piece(0, MIB), &theirs));
    at(&here, 0).fill(7);
    assert_eq!(at(&there, 0).first::<8>(), Some([0; 8]));
}

#[test]
fn who_may_only_read_memory_gets_no_mapping_that_others_write_to() {
    let file = file(MIB);
    let _mapped = for_process(piece(0, MIB), &file);
    let read_only = reopened(&file, OFlags::RDONLY);
    let region = GuestRegion::map_for_process(piece(0, MIB), &read_only).unwrap();
    assert_eq!(region.unmappable(), Some(Unmappable::ReadOnly));
    // SAFETY: nothing looks at the bytes.
    assert!(unsafe { GuestMemory::new([region]).unwrap().span(GuestAddress(0), 8) }.is_none());
}

#[test]
fn memory_that_is_lost_ends_all_its_connections_and_is_not_shared_again() {
    let file = file(MIB);
    let (connections, mut ends): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            (Arc::new(ours), theirs)
        })
        .unzip();
    let tied = |connection| {
        let region = GuestRegion::map_for_process(piece(0, MIB), &file).unwrap();
        GuestMemory::new([region.tied_to(connection).unwrap()]).unwrap()
    };
    let disks: Vec<_> = connections[..2].iter().map(tied).collect();
    ftruncate(&file, 0).unwrap();
    assert_eq!(at(&disks[1], 0).first::<8>(), Some([0; 8]));
    for (disk, end) in disks.iter().zip(&mut ends) {
        assert_eq!(disk.faults(), 1);
        assert_eq!(end.read(&mut [0]).unwrap(), 0);
    }
    ftruncate(&file, MIB).unwrap();
    let next = tied(&connections[2]);
    assert_eq!(next.faults(), 0);
    at(&next, 0).fill(7);
    assert_eq!(at(&disks[0], 0).first::<8>(), Some([0; 8]));
    assert_eq!(ends[2].read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_front_end_that_comes_to_memory_as_it_is_lost_is_cut_off_too() {
    let file = file(MIB);
    let region = GuestRegion::map_for_process(piece(0, MIB), &file).unwrap();
    let first = for_process(piece(0, MIB), &file);
    ftruncate(&file, 0).unwrap();
    assert_eq!(at(&first, 0).first::<8>(), Some([0; 8]));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let _late = region.tied_to(&Arc::new(ours)).unwrap();
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}

#[test]
fn one_guest_leaves_addresses_for_others_and_for_luge() {
    let space = DmaSpace::new();
    let first = 1 << 40;
    let ledger = Ledger::with_addresses(&space, IovaRange { first, last: first + 64 * MIB - 1 });
    let refusal = GuestRegion::map(&space, piece(0, 40 * MIB), file(40 * MIB)).err().unwrap().to_string();
    assert!(refusal.contains("more than half of the"), "{refusal}");
    let _large = for_ssds(&space, piece(0, 30 * MIB), &file(30 * MIB));
    let _other = for_ssds(&space, piece(0, 10 * MIB), &file(10 * MIB));
    assert_eq!(ledger.sizes().len(), 2);
    assert!(GuestRegion::map(&space, piece(0, 20 * MIB), file(20 * MIB)).is_err());
    let own = DmaMemory::allocate(&space, 16 * MIB, PageSize::Base, None);
    assert!(own.is_ok(), "Luge's own memory has the rest");
}

#[test]
fn addresses_are_as_wide_as_the_iommu_offers() {
    let space = DmaSpace::new();
    let first = 1 << 46;
    let _ledger = Ledger::with_addresses(&space, IovaRange { first, last: (1 << 48) - 1 });
    let guest = for_ssds(&space, piece(0, MIB), &file(MIB));
    assert!(at(&guest, 0).iova() >= Iova(first));
}

#[test]
fn memory_for_ssds_that_the_host_does_not_have_is_refused_before_it_is_mapped() {
    let space = DmaSpace::new();
    let ledger = Ledger::attached_to(&space);
    let refusal = GuestRegion::map(&space, piece(0, 1 << 40), file(1 << 40)).err().unwrap().to_string();
    assert!(refusal.contains("are not there yet"), "{refusal}");
    assert!(ledger.sizes().is_empty());
}

#[test]
fn memory_that_a_peer_has_sealed_is_shared_by_none_who_comes_later() {
    let file = file(MIB);
    let _before = for_process(piece(0, MIB), &file);
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).unwrap();
    let after = GuestRegion::map_for_process(piece(0, MIB), &file).unwrap();
    assert_eq!(after.unmappable(), Some(Unmappable::Sealed));
}

#[test]
fn memory_of_our_own_is_shared_after_it_was_sealed_by_who_may_write_to_it() {
    let (space, file) = (DmaSpace::new(), file(2 * MIB));
    let ledger = Ledger::attached_to(&space);
    let own = OwnMemory::map(&file, 2 * MIB).unwrap();
    let vmm = reopened(&file, OFlags::RDWR);
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE).unwrap();
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert!(fallocate(&vmm, hole, 0, MIB).is_err(), "no holes");
    let disk = for_ssds(&space, piece(MIB, MIB), &vmm);
    at(&disk, MIB).fill(7);
    assert_eq!(ledger.sizes(), [2 * MIB]);
    let read_only = GuestRegion::map_for_process(piece(0, MIB), reopened(&file, OFlags::RDONLY)).unwrap();
    assert_eq!(read_only.unmappable(), Some(Unmappable::ReadOnly));
    drop((own, disk));
    let after = GuestRegion::map_for_process(piece(0, MIB), &vmm).unwrap();
    assert_eq!(after.unmappable(), Some(Unmappable::Sealed));
}
