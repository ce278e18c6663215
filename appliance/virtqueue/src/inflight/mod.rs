//! In-flight tracking: which chains the device has, kept in memory that outlives this process
//! (vhost-user specification, section "Inflight I/O tracking").
//!
//! Path: guest ring -> **beside it** -> session.
//!
//! The life of a chain's state, with the stores in their order:
//!
//! ```text
//!  (1) free       --taken: counter, then `inflight` = 1--> (2)
//!  (2) in flight  --completed, and to be published: `next`; `last_batch_head` once for the batch--> (3)
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

mod error;
mod recovery;
mod region;

pub use error::InflightError;
pub(crate) use recovery::RingIndices;
pub use region::InflightRegion;

use crate::batch::Record;
use crate::chain::Head;
use crate::chain_layout::ChainLayout;
use crate::layout::Rings;
use recovery::Start;
use std::sync::atomic::Ordering::Relaxed;

/// The tracking of one queue.
pub(crate) struct Inflight {
    region: InflightRegion,
    /// The counter of the next chain.
    counter: u64,
    /// The chain that was completed last.
    last: Head,
    /// Room for the chains of a batch.
    completed: Box<[Head]>,
    /// Chains that an earlier process had in flight, those to be taken first at the end.
    resubmits: Vec<Head>,
}

impl Inflight {
    /// Takes up a ring. Returns its tracking, and the available index of the next chain that is new; none
    /// where the front end says it.
    ///
    /// # Errors
    /// [`InflightError`]: the region is as it was then.
    pub(crate) fn resume(
        region: InflightRegion,
        ring: &RingIndices,
    ) -> Result<(Self, Option<u16>), InflightError> {
        let Start { counter, last, mut resubmits, next_available } = recovery::resume(&region, ring)?;
        resubmits.reverse();
        let completed = vec![Head(0); ring.size.get().into()].into_boxed_slice();
        Ok((Self { region, counter, last, completed, resubmits }, next_available))
    }

    /// Marks chains as in flight, in the order in which they were taken.
    #[inline(never)]
    pub(crate) fn mark_taken<L: ChainLayout>(&mut self, records: &[Record<L>]) {
        let (fields, mut counter) = (self.region.fields, self.counter);
        for record in records {
            fields.mark(record.head, counter);
            counter = counter.wrapping_add(1);
        }
        self.counter = counter;
    }

    /// Publishes the chains with these entries of the used ring: links them, stores the ring's index, and
    /// marks them as not in flight.
    #[inline(never)]
    pub(crate) fn publish(&mut self, ring: &Rings, entries: Entries) {
        let Self { region, last, completed, .. } = self;
        let (fields, first) = (region.fields, *last);
        let completed = completed.get_mut(..entries.count()).unwrap_or_default();
        let mut before = first;
        for (place, head) in completed.iter_mut().zip(entries.heads(ring)) {
            fields.link(head, before);
            (*place, before) = (head, head);
        }
        fields.set_last(before);
        ring.set_used_index(entries.end);
        *last = before;
        before = first;
        for head in &*completed {
            fields.unmark(*head, before);
            before = *head;
        }
        fields.set_used(entries.end);
    }

    /// Number of chains of an earlier process that are still to be taken.
    #[inline]
    pub(crate) fn resubmits(&self) -> usize {
        self.resubmits.len()
    }

    /// Iterates over the next chains of an earlier process, at most `most`.
    pub(crate) fn next_resubmits(&self, most: usize) -> impl Iterator<Item = Head> {
        self.resubmits.iter().rev().take(most).copied()
    }

    /// Notes that `chains` chains of an earlier process were taken.
    pub(crate) fn resubmitted(&mut self, chains: usize) {
        self.resubmits.truncate(self.resubmits.len().saturating_sub(chains));
    }
}

/// Entries of the used ring: those with free-running indices from `start` to before `end`.
#[derive(Clone, Copy)]
pub(crate) struct Entries {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Entries {
    /// Number of entries.
    fn count(self) -> usize {
        self.end.wrapping_sub(self.start).into()
    }

    /// Heads of the chains in these entries. A driver that overwrites its used ring harms the tracking of its
    /// own chains alone.
    #[inline]
    fn heads(self, ring: &Rings) -> impl Iterator<Item = Head> {
        let elements = ring.elements;
        (u32::from(self.start)..).map(move |index| {
            let [id, _] = elements.load(index, Relaxed);
            Head((u32::from_le(id) & 0xffff) as u16)
        })
    }
}
