//! Counters of a queue, written by its core and read by any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters of a queue. Only its core writes them, so that a count is a load and a store.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct QueueCounters {
    in_flight: AtomicUsize,
    faults: AtomicU64,
    broken: AtomicBool,
}

impl QueueCounters {
    /// Requests taken and not yet answered.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        u32::try_from(self.in_flight.load(Relaxed)).unwrap_or(u32::MAX)
    }

    /// Descriptor chains that broke the rules.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    /// Whether the ring itself is broken: no more is taken from it.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    #[inline]
    pub(crate) fn set_in_flight(&self, requests: usize) {
        self.in_flight.store(requests, Relaxed);
    }

    pub(crate) fn count_fault(&self) {
        self.faults.store(self.faults().wrapping_add(1), Relaxed);
    }

    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Relaxed);
    }
}
