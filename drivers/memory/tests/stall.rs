//! Tests of memory that keeps a core waiting.

#![expect(unsafe_code, reason = "spans of memory that this test keeps")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::stall::{self, FaultLog, PageFault, Stalls};
use luge_memory::{DriverAddress, GuestAddress, GuestMemory, GuestRegion, RegionLayout, Span};
use luge_skip::skip;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LEN: u64 = 256 << 20;

/// Nothing takes as long as this, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(30);

fn guest(file: &OwnedFd) -> GuestMemory {
    let layout = RegionLayout { guest: GuestAddress(0), driver: DriverAddress(0), len: LEN, file_offset: 0 };
    GuestMemory::new([GuestRegion::map_for_process(layout, file).unwrap()]).unwrap()
}

fn at(memory: &GuestMemory, address: u64) -> Span {
    // SAFETY: every test keeps its memory until it ends.
    unsafe { memory.whole_span(GuestAddress(address), 8) }.unwrap()
}

/// Fills and punches a file until told to stop.
fn punch(file: &OwnedFd, stop: &AtomicBool) {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    while !stop.load(Ordering::Relaxed) {
        fallocate(file, FallocateFlags::empty(), 0, LEN).unwrap();
        fallocate(file, hole, 0, LEN).unwrap();
    }
}

/// Touches the last page until that takes long because of memory.
fn touch(log: &FaultLog, memory: &GuestMemory) -> PageFault {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        let before = Instant::now();
        at(memory, LEN - 4096).fill(1);
        if before.elapsed() > Duration::from_millis(1)
            && let Some(fault) = log.costly(before.elapsed())
        {
            return fault;
        }
    }
    panic!("no access took long");
}

#[test]
fn memory_whose_holes_keep_a_core_waiting_is_named() {
    let Ok(log) = FaultLog::start() else {
        return skip("perf_event_open is not allowed: set kernel.perf_event_paranoid to 2 or less");
    };
    let file = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, LEN).unwrap();
    let (memory, stop) = (guest(&file), AtomicBool::new(false));
    let fault = thread::scope(|scope| {
        scope.spawn(|| punch(&file, &stop));
        let fault = touch(&log, &memory);
        stop.store(true, Ordering::Relaxed);
        fault
    });
    assert_eq!(fault.address / 4096, at(&memory, LEN - 4096).host().addr().get() / 4096);
    assert!(fault.took >= Duration::from_millis(1), "{fault:?}");
    assert_eq!(memory.stalls(), Stalls::default());
    assert!(stall::note(&fault));
    assert_eq!(memory.stalls().count, 1);
    assert_eq!(memory.stalls().longest.as_micros(), fault.took.as_micros());
    let mut count = [0; 8];
    rustix::io::read(stall::alarm().unwrap(), &mut count).unwrap();
}

#[test]
fn memory_of_nobody_is_not_noted() {
    let own = Box::new(7);
    let fault = PageFault { address: std::ptr::from_ref(&*own).addr(), took: DEADLINE };
    assert!(!stall::note(&fault));
}
