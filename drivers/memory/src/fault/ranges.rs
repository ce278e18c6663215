//! Watched ranges of addresses, for the handler of SIGBUS.
//!
//! ```text
//!            1           2              3
//!   FREE ------> WATCHED -----> LOSING ------> LOST
//!    ^              |                            |
//!    +--------------+---------- 4 ---------------+
//! ```
//! 1. a mapping is watched;
//! 2. a thread finds memory missing, and is the one that replaces it;
//! 3. zeroes of our own are in its place: threads that found memory missing meanwhile repeat their access;
//! 4. the watch is dropped: nobody touches the memory any more.
//!
//! Invariant: everything here can be called by a signal handler: atomics and system calls only.

#![expect(unsafe_code, reason = "mappings are moved and replaced at addresses of our choice")]

use crate::Mapping;
use rustix::io;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap_fixed};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

/// Maximum number of watched ranges.
const RANGES_MAX: usize = 1 << 14;

/// Values of `first` for a free entry, and for one that is being filled.
const FREE: usize = 0;
const FILLING: usize = 1;

/// Values of `state` of a range that is not free.
const WATCHED: u32 = 0;
const LOSING: u32 = 1;
const LOST: u32 = 2;

static RANGES: [Range; RANGES_MAX] = [const { Range::new() }; RANGES_MAX];

/// Number of entries, from the first, that were ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// A watched range of addresses.
pub(crate) struct Range {
    first: AtomicUsize,
    len: AtomicUsize,
    /// First of the addresses to which the pages are moved.
    spare: AtomicUsize,
    state: AtomicU32,
    faults: AtomicU64,
    /// Waits of cores for the memory, and the longest in microseconds.
    stalls: AtomicU64,
    longest_stall_us: AtomicU64,
}

/// Outcome of an access that found memory missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// The memory was replaced now.
    First,
    /// Another thread has replaced the memory, or is about to.
    Known,
    /// The kernel refuses the replacement.
    Refused,
}

/// Watches a mapping, whose pages are to be moved to `spare`; returns the index of the entry, or none
/// if all are in use.
pub(super) fn take(memory: &Mapping, spare: usize) -> Option<u32> {
    let len = usize::try_from(memory.len()).ok()?;
    let first = memory.host().addr().get();
    let index = RANGES.iter().position(|range| range.fill(first, len, spare))?;
    USED.fetch_max(index + 1, Ordering::SeqCst);
    u32::try_from(index).ok()
}

/// An entry.
pub(super) fn range(index: u32) -> Option<&'static Range> {
    RANGES.get(usize::try_from(index).ok()?)
}

/// The watched range that has an address, and its index.
pub(super) fn find(address: usize) -> Option<(u32, &'static Range)> {
    (0..).zip(RANGES.iter().take(USED.load(Ordering::SeqCst))).find(|(_, range)| range.has(address))
}

impl Range {
    const fn new() -> Self {
        Self {
            first: AtomicUsize::new(FREE),
            len: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            state: AtomicU32::new(WATCHED),
            faults: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            longest_stall_us: AtomicU64::new(0),
        }
    }

    /// Fills the entry, if it is free (1).
    fn fill(&self, first: usize, len: usize, spare: usize) -> bool {
        if self.first.compare_exchange(FREE, FILLING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // A handler that still sees the old `first` must see the old length with it, or find
        // `first` changed when it looks again.
        fence(Ordering::Release);
        self.len.store(len, Ordering::Relaxed);
        self.spare.store(spare, Ordering::Relaxed);
        self.state.store(WATCHED, Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
        self.stalls.store(0, Ordering::Relaxed);
        self.longest_stall_us.store(0, Ordering::Relaxed);
        // Whoever sees the address sees the rest.
        self.first.store(first, Ordering::Release);
        true
    }

    /// Frees the entry (4).
    pub(super) fn free(&self) {
        self.first.store(FREE, Ordering::Release);
    }

    /// Number of accesses that found memory missing.
    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    /// Counts a wait of a core for the memory.
    pub(crate) fn stall(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_stall_us.fetch_max(us, Ordering::Relaxed);
        self.stalls.fetch_add(1, Ordering::Release);
    }

    /// Number of waits of cores for the memory.
    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Acquire)
    }

    /// The longest of them.
    pub(super) fn longest_stall(&self) -> Duration {
        Duration::from_micros(self.longest_stall_us.load(Ordering::Relaxed))
    }

    fn has(&self, address: usize) -> bool {
        let first = self.first.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Relaxed);
        // What was loaded belongs together only if `first` is still the same afterwards.
        fence(Ordering::Acquire);
        let is_same = first > FILLING && self.first.load(Ordering::Relaxed) == first;
        is_same && address.wrapping_sub(first) < len
    }

    /// Counts an access that found memory missing, and replaces all of the memory by zeroes (2, 3) if
    /// it is the first. `cut_off` is called after the count and before the replacement.
    pub(super) fn lose(&self, cut_off: impl FnOnce()) -> Loss {
        self.faults.fetch_add(1, Ordering::SeqCst);
        let first = self.state.compare_exchange(WATCHED, LOSING, Ordering::AcqRel, Ordering::Relaxed);
        if first.is_err() {
            return Loss::Known;
        }
        cut_off();
        let replaced = self.replace();
        let state = if replaced.is_ok() { LOST } else { WATCHED };
        self.state.store(state, Ordering::Release);
        if replaced.is_ok() { Loss::First } else { Loss::Refused }
    }

    /// Maps zeroes in place of all of the memory.
    fn replace(&self) -> io::Result<()> {
        let memory = ptr::without_provenance_mut(self.first.load(Ordering::Relaxed));
        let spare = ptr::without_provenance_mut(self.spare.load(Ordering::Relaxed));
        let len = self.len.load(Ordering::Relaxed);
        // Pages that are there go aside in a few steps. Unmapped here, they would take the time of a
        // visit to each. Where that is not possible, as with hugepages, which are few, they are.
        let aside = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
        // SAFETY: a mapping that its owner keeps while it is watched, and that Rust knows by raw
        // pointers only; it stays mapped. The new addresses were reserved for it.
        let _ = unsafe { mremap_fixed(memory, len, len, aside, spare) };
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let kind = MapFlags::FIXED | MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as above.
        unsafe { mmap_anonymous(memory, len, access, kind) }.map(drop)
    }
}
