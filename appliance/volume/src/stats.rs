//! Counters of a volume, one set per core, always on.

use luge_block::{Operation, Request};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a volume did on one core. Written by that core only, so that a count is a load and
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
}

/// A reading of [`Stats`]; readings of several cores add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads.
    pub reads: u64,
    /// Blocks read.
    pub read_blocks: u64,
    /// Writes, those of zeroes included.
    pub writes: u64,
    /// Blocks written.
    pub written_blocks: u64,
    /// Discards.
    pub unmaps: u64,
    /// Blocks discarded.
    pub unmapped_blocks: u64,
    /// Flushes.
    pub flushes: u64,
}

impl Stats {
    /// Counts a request that was taken.
    #[inline]
    pub(crate) fn count(&self, request: &Request<'_>) {
        let (requests, blocks) = match request.operation {
            Operation::Read => (&self.reads, &self.read_blocks),
            Operation::Write(_) | Operation::WriteZeroes | Operation::WriteZeroesUnmap => {
                (&self.writes, &self.written_blocks)
            }
            Operation::Discard => (&self.unmaps, &self.unmapped_blocks),
            Operation::Flush => return add(&self.flushes, 1),
        };
        add(requests, 1);
        add(blocks, u64::from(request.blocks));
    }

    /// Counts reads and writes that were taken.
    #[inline]
    pub(crate) fn count_all(&self, requests: &[Request<'_>]) {
        let (mut reads, mut read_blocks, mut blocks) = (0_u64, 0_u64, 0_u64);
        for request in requests {
            let (is_read, more) = (u64::from(request.operation.is_read()), u64::from(request.blocks));
            reads += is_read;
            read_blocks += is_read * more;
            blocks += more;
        }
        add(&self.reads, reads);
        add(&self.read_blocks, read_blocks);
        add(&self.writes, requests.len() as u64 - reads);
        add(&self.written_blocks, blocks - read_blocks);
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
        }
    }
}

/// One writer: no locked instruction is needed.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            read_blocks: self.read_blocks + other.read_blocks,
            writes: self.writes + other.writes,
            written_blocks: self.written_blocks + other.written_blocks,
            unmaps: self.unmaps + other.unmaps,
            unmapped_blocks: self.unmapped_blocks + other.unmapped_blocks,
            flushes: self.flushes + other.flushes,
        }
    }
}
