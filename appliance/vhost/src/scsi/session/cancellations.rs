//! Requests that others wait for.
//!
//! ```text
//!  (1) waiting --chains that were available are read, requests that are in the scope end--> (2)
//!  (2) over    --the guest can see it--> the token is dropped, the bell rings
//! ```

use super::slots::Mark;
use crate::scsi::cancel::{CancelledAs, Scope};
use crate::scsi::drain::Drain;
use crate::scsi::lun::LunPlace;
use std::sync::Arc;

/// Most cancellations of a session at the same time.
const CANCELLATIONS: usize = 128;

/// Requests that somebody waits for.
pub(super) struct Cancellation {
    pub(super) scope: Scope,
    pub(super) end: CancelledAs,
    /// Chains of the batch that were available then, and were not read yet.
    pub(super) batch: u64,
    /// Number of chains in the ring that were available then.
    pub(super) ring: usize,
    /// Index of the slot from which on requests are looked for; none are awaited before it.
    pub(super) cursor: usize,
    pub(super) drain: Arc<Drain>,
}

/// All cancellations of a session. Does not grow.
pub(super) struct Cancellations(Vec<Cancellation>);

impl Default for Cancellations {
    fn default() -> Self {
        Self(Vec::with_capacity(CANCELLATIONS))
    }
}

impl Cancellations {
    /// Takes all out, and the memory for them, until they are put back.
    pub(super) fn take(&mut self) -> Self {
        Self(std::mem::take(&mut self.0))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= CANCELLATIONS
    }

    pub(super) fn add(&mut self, cancellation: Cancellation) {
        self.0.push(cancellation);
    }

    /// Notes that `count` chains of the ring are in the batch now.
    pub(super) fn refilled(&mut self, count: usize) {
        for cancellation in &mut self.0 {
            let taken = count.min(cancellation.ring);
            cancellation.batch = ones(taken);
            cancellation.ring = cancellation.ring.wrapping_sub(taken);
        }
    }

    /// Notes that the batch has other chains now, which were neither in it nor in the ring.
    pub(super) fn replace_batch(&mut self) {
        self.0.iter_mut().for_each(|cancellation| cancellation.batch = 0);
    }

    /// Notes that no more chains of the ring are taken.
    pub(super) fn forget_ring(&mut self) {
        self.0.iter_mut().for_each(|cancellation| cancellation.ring = 0);
    }

    /// Response of chain `index` of the batch, with that tag and place, where it is not to begin.
    pub(super) fn mark_of(&self, index: usize, place: LunPlace, tag: u64) -> Option<Mark> {
        let has_bit = |bits: u64| bits.checked_shr(u32::try_from(index).unwrap_or(64)).unwrap_or(0) & 1 == 1;
        let mut found = self.0.iter().filter(|one| has_bit(one.batch) && one.scope.has(place, tag));
        found.next().map(|one| Mark::from(one.end))
    }

    /// Drops the tokens of all that `is_over`; returns whether there were some.
    pub(super) fn settle(&mut self, mut is_over: impl FnMut(&mut Cancellation) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain_mut(|cancellation| !is_over(cancellation));
        self.0.len() < before
    }
}

/// A word in which the first `count` bits are set.
pub(super) fn ones(count: usize) -> u64 {
    let zeroes = u64::BITS.saturating_sub(u32::try_from(count).unwrap_or(u64::BITS));
    u64::MAX.checked_shr(zeroes).unwrap_or(0)
}
