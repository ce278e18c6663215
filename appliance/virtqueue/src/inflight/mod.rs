//! In-flight tracking: which chains the device has, kept in memory that outlives this process
//! (vhost-user specification, section "Inflight I/O tracking").
//!
//! Path: guest ring -> **beside it** -> session.
//!
//! The life of a chain's state, with the stores in their order:
//!
//! ```text
//!  (1) free       --taken: counter, then `inflight` = 1--> (2)
//!  (2) in flight  --completed: `next`, and `last_batch_head` once for the batch--> (3)
//!  (3) linked     --published: `used.idx` of the ring--> (4)
//!  (4) published  --`inflight` = 0--> (1); `used_idx` once all of the batch are free
//! ```
//!
//! Invariants
//! - A process can be killed between any two stores. Chains that were taken are at every moment those
//!   that are in flight (2, 3), and those that the used ring has (4, 1): `recovery` tells 3 from 4 by
//!   comparing `used_idx` with the ring.
//! - Chains are marked in the order of the available ring, so those that are not marked are the last ones.
//! - The region is the front end's memory. It is read when a queue starts, each word once, and from then
//!   on only written.
//!
//! A killed process loses no store that it has executed, so the order of the instructions is enough. Each
//! store that the order matters for is a release, which keeps the compiler from moving it up.
//!
//! Not here: packed rings; who makes the region and maps it (`vhost`).

mod recovery;
mod region;

pub use recovery::InflightError;
pub(crate) use recovery::RingState;
pub use region::InflightRegion;

use crate::batch::{Head, Record};
use crate::layout::QueueSize;
use region::Fields;

/// The tracking of one queue.
pub(crate) struct Inflight {
    region: InflightRegion,
    size: QueueSize,
    /// The counter of the next chain.
    counter: u64,
    /// The chain that was completed last.
    last: Head,
    /// The chains that were completed, by the entry of the used ring that they have.
    completed: Box<[Head]>,
    /// Chains that an earlier process had in flight, those to be taken first at the end.
    resubmits: Vec<Head>,
}

impl Inflight {
    /// Marks chains that are taken.
    #[inline(never)]
    pub(crate) fn begin<const HEADER: usize, const STATUS: usize>(
        &mut self,
        records: &[Record<HEADER, STATUS>],
    ) {
        let (fields, mut counter) = (self.region.fields, self.counter);
        for record in records {
            fields.begin(record.head, counter);
            counter = counter.wrapping_add(1);
        }
        self.counter = counter;
    }

    /// The links of a batch that is being completed.
    #[inline]
    pub(crate) fn links(&mut self) -> Links<'_> {
        // By value: the stores could be to anything, as far as the compiler knows.
        let Self { region, size, last, completed, .. } = self;
        Links { fields: region.fields, size: *size, last: *last, end: last, completed }
    }

    /// Marks the chains with these entries of the used ring, which the driver sees, as not in flight.
    #[inline(never)]
    pub(crate) fn end(&mut self, old: u16, new: u16) {
        let (fields, mut index) = (self.region.fields, old);
        while index != new {
            let head = self.completed.get(self.size.wrap(index) as usize);
            fields.end(head.copied().unwrap_or_default());
            index = index.wrapping_add(1);
        }
        fields.set_used(new);
    }

    /// Chains of an earlier process that are still to be taken.
    #[inline]
    pub(crate) fn resubmits(&self) -> usize {
        self.resubmits.len()
    }

    /// The next chains of an earlier process, at most so many.
    pub(crate) fn next_resubmits(&self, most: usize) -> impl Iterator<Item = Head> {
        self.resubmits.iter().rev().take(most).copied()
    }

    /// Chains of an earlier process were taken.
    pub(crate) fn resubmitted(&mut self, chains: usize) {
        self.resubmits.truncate(self.resubmits.len().saturating_sub(chains));
    }
}

/// Links of a batch: each chain to the one that was completed before it.
pub(crate) struct Links<'a> {
    fields: Fields,
    size: QueueSize,
    last: Head,
    /// Where `last` goes in the end.
    end: &'a mut Head,
    completed: &'a mut [Head],
}

impl Links<'_> {
    /// Links a chain, which gets this entry of the used ring.
    #[inline]
    pub(crate) fn add(&mut self, head: Head, index: u16) {
        self.fields.link(head, self.last);
        self.last = head;
        if let Some(place) = self.completed.get_mut(self.size.wrap(index) as usize) {
            *place = head;
        }
    }

    /// Names the last chain in the region.
    #[inline]
    pub(crate) fn done(self) {
        *self.end = self.last;
        self.fields.set_last(self.last);
    }
}
