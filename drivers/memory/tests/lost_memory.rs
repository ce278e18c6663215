//! Tests of guest memory that its front end takes away.

#![expect(unsafe_code, reason = "spans of memory that this test keeps")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::{
    DmaSpace, DriverAddress, GuestAddress, GuestMemory, GuestRegion, Iova, Mapping, RegionLayout, Span,
};
use luge_seeded::Random;
use luge_skip::skip;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, fstat, ftruncate, memfd_create};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn file(len: u64, flags: MemfdFlags) -> OwnedFd {
    let file = memfd_create("guest", MemfdFlags::CLOEXEC | flags).unwrap();
    ftruncate(&file, len).unwrap();
    file
}

fn guest(file: &OwnedFd, len: u64) -> GuestMemory {
    let layout = RegionLayout { guest: GuestAddress(0), driver: DriverAddress(0), len, file_offset: 0 };
    GuestMemory::new([GuestRegion::map(&DmaSpace::new(), layout, file).unwrap()]).unwrap()
}

fn at(memory: &GuestMemory, address: u64) -> Span {
    span(memory, address, 8)
}

fn span(memory: &GuestMemory, address: u64, len: u32) -> Span {
    // SAFETY: every test keeps its memory until it ends.
    unsafe { memory.whole_span(GuestAddress(address), len) }.unwrap()
}

fn read(span: Span) -> [u8; 8] {
    let mut bytes = [0xff; 8];
    span.read(&mut bytes);
    bytes
}

#[test]
fn memory_that_was_taken_away_reads_as_zeroes_and_takes_writes() {
    let file = file(MIB, MemfdFlags::empty());
    let memory = guest(&file, MIB);
    (0..MIB / 4096).for_each(|page| at(&memory, page * 4096).fill(7));
    ftruncate(&file, MIB / 2).unwrap();
    let behind = at(&memory, MIB / 2 + 5000);
    assert_eq!(read(behind), [0; 8]);
    assert_eq!(memory.faults(), 1);
    behind.fill(9);
    assert_eq!(read(behind), [9; 8]);
    assert_eq!(read(at(&memory, 0)), [0; 8], "all of the region is lost");
    at(&memory, 0).fill(3);
    assert_eq!(read(at(&memory, 0)), [3; 8]);
    assert_eq!(memory.faults(), 1);
}

/// Numbers of the pages of a region of 1 MiB in some order.
type Pages = Vec<u64>;

#[test]
fn a_region_costs_one_signal_whatever_the_order_in_which_its_pages_are_touched() {
    let pages = MIB / 4096;
    let mut shuffled: Pages = (0..pages).collect();
    Random::new(1).shuffle(&mut shuffled);
    let orders: [Pages; 3] = [(0..pages).collect(), (0..pages).rev().collect(), shuffled];
    for order in orders {
        for left in [0, MIB / 2, MIB - 4096] {
            let file = file(MIB, MemfdFlags::empty());
            let memory = guest(&file, MIB);
            ftruncate(&file, left).unwrap();
            order.iter().for_each(|page| _ = read(at(&memory, page * 4096)));
            assert_eq!(memory.faults(), 1, "{left} bytes left");
        }
    }
}

#[test]
fn each_region_of_a_front_end_costs_one_signal() {
    let files = [0, 1, 2].map(|_| file(MIB, MemfdFlags::empty()));
    let region = |n: u64, file: &OwnedFd| {
        let at = n * MIB;
        let layout =
            RegionLayout { guest: GuestAddress(at), driver: DriverAddress(at), len: MIB, file_offset: 0 };
        GuestRegion::map(&DmaSpace::new(), layout, file).unwrap()
    };
    let memory = GuestMemory::new((0..).zip(&files).map(|(n, file)| region(n, file))).unwrap();
    files.iter().for_each(|file| ftruncate(file, 0).unwrap());
    (0..3 * MIB / 4096).rev().for_each(|page| _ = read(at(&memory, page * 4096)));
    assert_eq!(memory.faults(), 3);
}

#[test]
fn pages_that_were_there_are_given_back_with_the_memory() {
    let file = file(64 * MIB, MemfdFlags::empty());
    let before = mapped_bytes(&file);
    let memory = guest(&file, 64 * MIB);
    (0..64 * MIB / 4096).for_each(|page| at(&memory, page * 4096).fill(7));
    ftruncate(&file, 64 * MIB - 4096).unwrap();
    assert_eq!(read(at(&memory, 64 * MIB - 8)), [0; 8]);
    assert_eq!(memory.faults(), 1);
    drop(memory);
    assert_eq!(mapped_bytes(&file), before);
}

/// Bytes of a file that are mapped into this process.
fn mapped_bytes(file: &OwnedFd) -> u64 {
    let inode = format!(" {} ", fstat(file).unwrap().st_ino);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let of_file = maps.lines().filter(|line| line.contains(&inode) && line.contains("memfd"));
    let sizes = of_file.filter_map(|line| {
        let (first, end) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(first, 16).ok()?)
    });
    sizes.sum()
}

/// A block in memory of this process that stays, and one whose second half was taken away, `shift` bytes
/// off a line.
fn half_a_block(shift: u64) -> (GuestMemory, Span, GuestMemory, Span) {
    let (ours, theirs) = (file(MIB, MemfdFlags::empty()), file(MIB, MemfdFlags::empty()));
    let (kept, lost) = (guest(&ours, MIB), guest(&theirs, MIB));
    let (here, there) = (span(&kept, 0, 4096), span(&lost, MIB / 2 - 2048 + shift, 4096));
    here.fill(7);
    there.fill(9);
    ftruncate(&theirs, MIB / 2).unwrap();
    (kept, here, lost, there)
}

fn bytes(span: Span) -> Vec<u8> {
    let mut bytes = vec![0xff; span.len() as usize];
    span.read(&mut bytes);
    bytes
}

#[test]
fn a_copy_out_of_memory_that_ends_on_the_way_goes_on_with_zeroes() {
    for shift in [0, 16, 40] {
        let (_kept, here, lost, there) = half_a_block(shift);
        let left = usize::try_from(2048 - shift).unwrap();
        assert_eq!(there.copy_to(&here), 4096);
        assert_eq!(lost.faults(), 1);
        let copied = bytes(here);
        assert!(copied[..left].iter().all(|&byte| byte == 9 || byte == 0), "what is there, or lost with it");
        assert!(copied[left..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_copy_into_memory_that_ends_on_the_way_goes_on_into_zeroes_of_ours() {
    for shift in [0, 16, 40] {
        let (_kept, here, lost, there) = half_a_block(shift);
        assert_eq!(here.copy_to(&there), 4096);
        assert_eq!(lost.faults(), 1);
        let end = span(&lost, MIB / 2, u32::try_from(2048 + shift).unwrap());
        assert!(bytes(end).iter().all(|&byte| byte == 7), "what came after the fault");
        let behind = span(&lost, MIB / 2 + 2048 + shift, 4096);
        assert_eq!(bytes(behind), vec![0; 4096], "and no further");
        assert_eq!(lost.faults(), 1, "and no further");
    }
}

#[test]
fn other_guests_keep_their_memory() {
    let (victim, hostile) = (file(MIB, MemfdFlags::empty()), file(MIB, MemfdFlags::empty()));
    let (theirs, lost) = (guest(&victim, MIB), guest(&hostile, MIB));
    at(&theirs, 0).fill(5);
    ftruncate(&hostile, 0).unwrap();
    assert_eq!(read(at(&lost, 0)), [0; 8]);
    assert_eq!(read(at(&theirs, 0)), [5; 8]);
    assert_eq!(theirs.faults(), 0);
    assert_eq!(lost.faults(), 1);
    // Still shared with the front end, not a copy.
    let front_end = Mapping::new(&victim, 0, MIB).unwrap();
    at(&theirs, 0).fill(6);
    // SAFETY: a mapping that is there until the test ends.
    assert_eq!(read(unsafe { Span::new(front_end.host(), Iova(0), 8) }), [6; 8]);
}

#[test]
fn the_connection_of_memory_that_is_missing_is_cut_off_and_no_other() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = Arc::new(ours);
    let layout =
        |at| RegionLayout { guest: GuestAddress(at), driver: DriverAddress(at), len: MIB, file_offset: 0 };
    let files = [0, MIB].map(|_| file(MIB, MemfdFlags::empty()));
    let region = |at, file| GuestRegion::map(&DmaSpace::new(), layout(at), file).unwrap();
    let tied = GuestMemory::new([region(0, &files[0]).tied_to(&ours).unwrap()]).unwrap();
    let free = GuestMemory::new([region(MIB, &files[1])]).unwrap();
    theirs.set_nonblocking(true).unwrap();
    ftruncate(&files[1], 0).unwrap();
    assert_eq!(read(at(&free, MIB)), [0; 8]);
    assert_eq!(free.faults(), 1);
    assert_eq!(theirs.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ftruncate(&files[0], 0).unwrap();
    assert_eq!(theirs.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "nobody has looked yet");
    assert_eq!(read(at(&tied, 0)), [0; 8]);
    assert_eq!(tied.faults(), 1);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}

#[test]
fn many_threads_may_find_the_memory_gone_at_once() {
    let file = file(MIB, MemfdFlags::empty());
    let memory = guest(&file, MIB);
    for _ in 0..20 {
        ftruncate(&file, MIB).unwrap();
        let memory = guest(&file, MIB);
        ftruncate(&file, 0).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for page in 0..MIB / 4096 {
                        assert_eq!(read(at(memory, page * 4096 + thread * 16)), [0; 8]);
                    }
                });
            }
        });
        assert!(memory.faults() > 0);
    }
    assert_eq!(read(at(&memory, 0)), [0; 8]);
}

#[test]
fn hugepages_that_were_taken_away_read_as_zeroes() {
    let huge = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let file = file(4 * MIB, huge);
    if fallocate(&file, FallocateFlags::empty(), 0, 4 * MIB).is_err() {
        return skip("no free hugepages of 2 MiB: set vm.nr_hugepages to 2 or more");
    }
    let memory = guest(&file, 4 * MIB);
    at(&memory, 0).fill(7);
    ftruncate(&file, 2 * MIB).unwrap();
    assert_eq!(read(at(&memory, 3 * MIB)), [0; 8]);
    assert_eq!(memory.faults(), 1);
    assert_eq!(read(at(&memory, 2 * MIB)), [0; 8]);
    assert_eq!(memory.faults(), 1);
    assert_eq!(read(at(&memory, 0)), [0; 8]);
}

/// Signal that ends a process which meets a bus error of that kind.
fn ended_by(error: &str) -> Option<i32> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_bus-error"));
    process.arg(error).stdout(Stdio::null()).stderr(Stdio::null());
    process.status().unwrap().signal()
}

#[test]
fn a_bus_error_that_is_not_ours_still_ends_the_process() {
    const SIGBUS: i32 = 7;
    assert_eq!(ended_by("fault"), Some(SIGBUS));
    assert_eq!(ended_by("signal"), Some(SIGBUS));
    assert_eq!(ended_by("none"), None);
}
