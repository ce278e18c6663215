//! Counts of latencies of a volume on one core.

use super::class::Classes;
use super::{Histogram, LatencyClass, bucket};
use crate::sorts::Sorts;
use luge_block::{Kind, Tag};
use std::sync::atomic::{AtomicU64, Ordering};

/// Latencies of a volume on one core. Written by that core only, read by anybody. By default, none are counted.
#[derive(Debug, Default)]
pub struct Latencies {
    classes: Classes,
    counts: Box<[Counts]>,
}

/// Latencies of one class. Nobody else's counts are on its cache lines.
#[derive(Debug)]
#[repr(align(128))]
struct Counts {
    sum: AtomicU64,
    shortest: AtomicU64,
    longest: AtomicU64,
    buckets: [AtomicU64; bucket::COUNT],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            sum: AtomicU64::new(0),
            shortest: AtomicU64::new(u64::MAX),
            longest: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; bucket::COUNT],
        }
    }
}

impl Latencies {
    /// Latencies of a volume with blocks of that size.
    pub(crate) fn new(block_bytes: u32) -> Self {
        let counts = (0..LatencyClass::COUNT).map(|_| Counts::default()).collect();
        Self { classes: Classes::new(block_bytes), counts }
    }

    /// Counts `requests` requests that are like the one of `tag` and took `ticks` each.
    #[inline]
    pub(crate) fn add(&self, tag: Tag, ticks: u64, requests: u64) {
        if let Some(counts) = self.counts.get(self.classes.of(tag)) {
            counts.add(ticks, requests);
        }
    }

    /// Counts requests of one size class that took `ticks` each.
    #[inline]
    pub(crate) fn add_all(&self, sorts: &Sorts, ticks: u64) {
        if sorts.are_of_one_sort() {
            self.add(sorts.first, ticks, sorts.count);
        } else {
            self.add_kinds(sorts, ticks);
        }
    }

    #[inline(never)]
    fn add_kinds(&self, sorts: &Sorts, ticks: u64) {
        for kind in Kind::ALL {
            let count = sorts.count_of(kind);
            if count > 0 {
                self.add(sorts.first.with_kind(kind), ticks, count);
            }
        }
    }

    /// Reading of a class.
    #[must_use]
    pub fn read(&self, class: LatencyClass) -> Histogram {
        self.counts.get(class.index()).map(Counts::read).unwrap_or_default()
    }

    /// Forgets the shortest and the longest latencies. A core that ends a request at the same time may note it before or
    /// after that.
    pub fn forget_extremes(&self) {
        for counts in &self.counts {
            counts.shortest.store(u64::MAX, Ordering::Relaxed);
            counts.longest.store(0, Ordering::Relaxed);
        }
    }
}

impl Counts {
    #[inline]
    fn add(&self, ticks: u64, requests: u64) {
        if let Some(count) = self.buckets.get(bucket::of(ticks)) {
            add(count, requests);
        }
        add(&self.sum, ticks.wrapping_mul(requests));
        if ticks < self.shortest.load(Ordering::Relaxed) {
            self.shortest.store(ticks, Ordering::Relaxed);
        }
        if ticks > self.longest.load(Ordering::Relaxed) {
            self.longest.store(ticks, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Histogram {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let extremes = (load(&self.shortest), load(&self.longest));
        Histogram {
            buckets: self.buckets.iter().map(load).collect(),
            sum: load(&self.sum),
            extremes: (extremes.0 <= extremes.1).then_some(extremes),
        }
    }
}

/// One writer: no locked instruction is needed.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}
