//! Counters of a volume, one set per core, always on.
//!
//! The sums of latencies here are measured by Little's law: the number of outstanding requests, summed up over time.
//! So they have requests in flight in them, too. A core reads the clock at most twice a turn, once for all that begins
//! and once for all that has ended.
//!
//! Not here: the latencies of single requests ([`Latencies`]).

use crate::Latencies;
use crate::sorts::Sorts;
use luge_block::{Kind, Request, Status};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a volume on one core. Written by that core only, so that a count is a load and
/// a store; read by anybody.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Stats {
    reads: AtomicU64,
    read_blocks: AtomicU64,
    writes: AtomicU64,
    written_blocks: AtomicU64,
    unmaps: AtomicU64,
    unmapped_blocks: AtomicU64,
    flushes: AtomicU64,
    reads_ended: AtomicU64,
    writes_ended: AtomicU64,
    unmaps_ended: AtomicU64,
    read_ticks: AtomicU64,
    write_ticks: AtomicU64,
    unmap_ticks: AtomicU64,
    failed: AtomicU64,
    aborted: AtomicU64,
    /// Time up to which the ticks are summed up.
    since: AtomicU64,
    latencies: Latencies,
}

/// Number of requests and of their blocks, in one word so that both are added at once.
#[derive(Clone, Copy, Default)]
struct Transfers(u64);

impl Transfers {
    /// Bits of the blocks: enough for 256 requests of any length.
    const BLOCKS: u32 = 40;

    #[inline]
    fn one(request: &Request<'_>) -> Self {
        Self(1 << Self::BLOCKS | u64::from(request.blocks))
    }

    #[inline]
    fn add(&mut self, more: Self) {
        self.0 += more.0;
    }

    fn count(self) -> u64 {
        self.0 >> Self::BLOCKS
    }

    fn blocks(self) -> u64 {
        self.0 & ((1 << Self::BLOCKS) - 1)
    }
}

/// A reading of [`Stats`]; readings of several cores add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads, compares and verifies.
    pub reads: u64,
    /// Blocks read.
    pub read_blocks: u64,
    /// Writes, those of zeroes, compare-and-writes and copies included.
    pub writes: u64,
    /// Blocks written.
    pub written_blocks: u64,
    /// Discards.
    pub unmaps: u64,
    /// Blocks discarded.
    pub unmapped_blocks: u64,
    /// Flushes.
    pub flushes: u64,
    /// Time that reads took all together, in [`crate::ticks`], up to the last request that began or ended.
    pub read_ticks: u64,
    /// Time that writes took.
    pub write_ticks: u64,
    /// Time that discards took.
    pub unmap_ticks: u64,
    /// Requests that failed by the device's fault, aborted ones aside.
    pub failed: u64,
    /// Requests that a reset of the device aborted.
    pub aborted: u64,
}

impl Stats {
    /// Counts of a volume with blocks of that size.
    #[must_use]
    pub(crate) fn new(block_bytes: u32) -> Self {
        Self { latencies: Latencies::new(block_bytes), ..Self::default() }
    }

    /// Latencies of the requests.
    #[inline]
    #[must_use]
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Counts a request that was taken now.
    #[inline]
    pub(crate) fn count(&self, kind: Kind, blocks: u64, now: u64) {
        let (requests, sum) = match kind {
            Kind::Read | Kind::Compare => (&self.reads, &self.read_blocks),
            Kind::Write | Kind::WriteZeroes | Kind::CompareAndWrite | Kind::Copy => {
                (&self.writes, &self.written_blocks)
            }
            Kind::Discard => (&self.unmaps, &self.unmapped_blocks),
            Kind::Flush => return add(&self.flushes, 1),
        };
        self.pass(now);
        add(requests, 1);
        add(sum, blocks);
    }

    /// Counts reads and writes that were taken now.
    #[inline]
    pub(crate) fn count_all<'a, T: Deref<Target = Request<'a>>>(&self, requests: &[T], now: u64) {
        self.pass(now);
        let (mut reads, mut all) = (Transfers::default(), Transfers::default());
        for request in requests {
            let one = Transfers::one(request);
            reads.add(if request.operation.is_read() { one } else { Transfers::default() });
            all.add(one);
        }
        add(&self.reads, reads.count());
        add(&self.read_blocks, reads.blocks());
        add(&self.writes, all.count() - reads.count());
        add(&self.written_blocks, all.blocks() - reads.blocks());
    }

    /// Counts reads and writes that took `ticks` each, without having been outstanding.
    #[inline]
    pub(crate) fn count_served<'a, T: Deref<Target = Request<'a>>>(
        &self,
        requests: &[T],
        sorts: &Sorts,
        ticks: u64,
    ) {
        let (reads, writes) = (sorts.count_of(Kind::Read), sorts.count_of(Kind::Write));
        let blocks: u64 = requests.iter().map(|request| u64::from(request.blocks)).sum();
        let blocks_read = |request: &T| if request.operation.is_read() { request.blocks.into() } else { 0 };
        let read_blocks = match (reads, writes) {
            (0, _) => 0,
            (_, 0) => blocks,
            _ => requests.iter().map(blocks_read).sum(),
        };
        for (begun, ended, sum, count) in [
            (&self.reads, &self.reads_ended, &self.read_ticks, reads),
            (&self.writes, &self.writes_ended, &self.write_ticks, writes),
        ] {
            add(begun, count);
            add(ended, count);
            add(sum, count.wrapping_mul(ticks));
        }
        add(&self.read_blocks, read_blocks);
        add(&self.written_blocks, blocks.wrapping_sub(read_blocks));
    }

    /// Counts requests that have ended now: `sum` is the sum of their [`luge_block::Tag::one`].
    #[inline]
    pub(crate) fn end(&self, sum: u64, now: u64) {
        self.pass(now);
        add(&self.reads_ended, Kind::Read.count(sum));
        add(&self.writes_ended, Kind::Write.count(sum));
        if Kind::has_others(sum) {
            self.end_others(sum);
        }
    }

    /// Counts ended requests that are no reads or writes.
    #[cold]
    fn end_others(&self, sum: u64) {
        add(&self.reads_ended, Kind::Compare.count(sum));
        let writes = [Kind::WriteZeroes, Kind::CompareAndWrite, Kind::Copy].map(|kind| kind.count(sum));
        add(&self.writes_ended, writes.into_iter().sum());
        add(&self.unmaps_ended, Kind::Discard.count(sum));
    }

    /// Counts a request that ended with `status`, which is no success.
    #[cold]
    #[inline(never)]
    pub fn fail(&self, status: Status) {
        match status {
            Status::Aborted => add(&self.aborted, 1),
            _ => add(&self.failed, 1),
        }
    }

    /// Counts a request that was refused with `status`. One that was not in order is no failure.
    #[cold]
    #[inline(never)]
    pub fn refuse(&self, status: Status) {
        if status.is_of_the_device() {
            self.fail(status);
        }
    }

    /// Blocks of all reads and writes so far, modulo 2^64.
    #[inline]
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.read_blocks.load(Ordering::Relaxed).wrapping_add(self.written_blocks.load(Ordering::Relaxed))
    }

    /// Requests that have begun and not ended, flushes aside.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let begun = [&self.reads, &self.writes, &self.unmaps].map(load);
        let ended = [&self.reads_ended, &self.writes_ended, &self.unmaps_ended].map(load);
        let sum = |counts: [u64; 3]| counts.into_iter().fold(0, u64::wrapping_add);
        sum(begun).wrapping_sub(sum(ended))
    }

    /// Time has passed with as many requests outstanding as there are.
    #[inline]
    fn pass(&self, now: u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let passed = now.saturating_sub(load(&self.since));
        self.since.store(now, Ordering::Relaxed);
        for (begun, ended, sum) in [
            (&self.reads, &self.reads_ended, &self.read_ticks),
            (&self.writes, &self.writes_ended, &self.write_ticks),
            (&self.unmaps, &self.unmaps_ended, &self.unmap_ticks),
        ] {
            add(sum, load(begun).wrapping_sub(load(ended)).wrapping_mul(passed));
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn read(&self) -> Counters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            reads: load(&self.reads),
            read_blocks: load(&self.read_blocks),
            writes: load(&self.writes),
            written_blocks: load(&self.written_blocks),
            unmaps: load(&self.unmaps),
            unmapped_blocks: load(&self.unmapped_blocks),
            flushes: load(&self.flushes),
            read_ticks: load(&self.read_ticks),
            write_ticks: load(&self.write_ticks),
            unmap_ticks: load(&self.unmap_ticks),
            failed: load(&self.failed),
            aborted: load(&self.aborted),
        }
    }
}

/// One writer: no locked instruction is needed.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Counters {
    /// Combines two readings, number by number.
    fn zip(self, other: Self, operation: fn(u64, u64) -> u64) -> Self {
        let both = |of: fn(&Self) -> u64| operation(of(&self), of(&other));
        Self {
            reads: both(|counters| counters.reads),
            read_blocks: both(|counters| counters.read_blocks),
            writes: both(|counters| counters.writes),
            written_blocks: both(|counters| counters.written_blocks),
            unmaps: both(|counters| counters.unmaps),
            unmapped_blocks: both(|counters| counters.unmapped_blocks),
            flushes: both(|counters| counters.flushes),
            read_ticks: both(|counters| counters.read_ticks),
            write_ticks: both(|counters| counters.write_ticks),
            unmap_ticks: both(|counters| counters.unmap_ticks),
            failed: both(|counters| counters.failed),
            aborted: both(|counters| counters.aborted),
        }
    }
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }
}

/// Counts between two readings.
impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, u64::wrapping_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_block::{Durability, Lba, Operation, SizeClass, Tag};

    fn begin(stats: &Stats, operation: Operation, now: u64) {
        stats.count(Kind::of(operation), 1, now);
    }

    fn tag(kind: Kind) -> Tag {
        Tag::default().through(Tag::default(), kind).sized(SizeClass::of(1))
    }

    fn end(stats: &Stats, kinds: &[Kind], now: u64) {
        stats.end(kinds.iter().map(|&kind| tag(kind).one()).sum(), now);
    }

    fn ticks(stats: &Stats) -> [u64; 3] {
        let Counters { read_ticks, write_ticks, unmap_ticks, .. } = stats.read();
        [read_ticks, write_ticks, unmap_ticks]
    }

    #[test]
    fn the_ticks_are_the_sum_of_the_latencies() {
        let stats = Stats::default();
        begin(&stats, Operation::Read, 1_000);
        begin(&stats, Operation::Flush, 1_000);
        begin(&stats, Operation::WriteZeroes, 1_100);
        begin(&stats, Operation::Read, 1_200);
        begin(&stats, Operation::Discard, 1_300);
        end(&stats, &[Kind::Read, Kind::Discard, Kind::Flush], 2_000);
        end(&stats, &[Kind::Read, Kind::Write], 5_000);
        assert_eq!(ticks(&stats), [1_000 + 3_800, 3_900, 700]);
        assert_eq!(stats.outstanding(), 0);
        begin(&stats, Operation::Write(Durability::Media), 9_000);
        assert_eq!(ticks(&stats), [4_800, 3_900, 700], "nothing was outstanding");
    }

    #[test]
    fn many_at_once_count_as_one_by_one() {
        let request =
            |operation| Request { tag: Tag::default(), operation, lba: Lba(0), blocks: 2, data: &[] };
        let all = [Operation::Read, Operation::Write(Durability::Cache), Operation::Read].map(request);
        let (one_by_one, at_once) = (Stats::default(), Stats::default());
        all.iter().for_each(|request| one_by_one.count(Kind::of(request.operation), 2, 100));
        at_once.count_all(&all.each_ref(), 100);
        for stats in [&one_by_one, &at_once] {
            end(stats, &[Kind::Read, Kind::Write, Kind::Read], 150);
        }
        assert_eq!(one_by_one.read(), at_once.read());
        assert_eq!(ticks(&at_once), [100, 50, 0]);
    }

    #[test]
    fn requests_that_end_at_once_count_as_if_they_had_taken_their_time() {
        let request =
            |operation| Request { tag: Tag::default(), operation, lba: Lba(0), blocks: 2, data: &[] };
        let all = [Operation::Read, Operation::Write(Durability::Cache), Operation::Read].map(request);
        let (at_once, others) = (Stats::default(), Stats::default());
        for stats in [&at_once, &others] {
            begin(stats, Operation::Read, 50);
        }
        let tags = [Kind::Read, Kind::Write, Kind::Read].map(tag);
        let differences = tags[0].differences_of(tags.into_iter());
        at_once.count_served(&all.each_ref(), &Sorts::new(tags[0], differences, tags.into_iter()), 50);
        others.count_all(&all.each_ref(), 100);
        end(&others, &[Kind::Read, Kind::Write, Kind::Read], 150);
        for stats in [&at_once, &others] {
            end(stats, &[Kind::Read], 200);
        }
        assert_eq!(at_once.read(), others.read());
        assert_eq!(ticks(&at_once), [250, 50, 0]);
    }

    #[test]
    fn what_failed_by_the_device_s_fault_is_counted_and_nothing_else() {
        let stats = Stats::default();
        [Status::Aborted, Status::MediaError, Status::Invalid]
            .into_iter()
            .for_each(|status| stats.fail(status));
        [Status::Aborted, Status::Gone].into_iter().for_each(|status| stats.refuse(status));
        [Status::OutOfRange, Status::Invalid].into_iter().for_each(|status| stats.refuse(status));
        let Counters { failed, aborted, .. } = stats.read();
        assert_eq!(failed, 3);
        assert_eq!(aborted, 2);
    }

    #[test]
    fn what_was_counted_before_is_taken_off() {
        let stats = Stats::default();
        begin(&stats, Operation::Read, 0);
        let earlier = stats.read();
        begin(&stats, Operation::Write(Durability::Cache), 0);
        let since = stats.read() - earlier;
        assert_eq!(since.reads, 0);
        assert_eq!(since.writes, 1);
        assert_eq!(since.written_blocks, 1);
        assert_eq!(earlier + since, stats.read());
    }
}
