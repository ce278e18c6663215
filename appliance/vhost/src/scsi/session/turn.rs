//! Progress of a take.

use luge_core::{Took, Work};
use luge_virtqueue::BATCH;

/// Progress of a take: how much may still be done, and what was done.
pub(super) struct Turn {
    /// Number of requests that may still be served.
    pub(super) room: usize,
    /// Number of requests that were served.
    pub(super) served: usize,
    /// Bytes of data that volumes have taken.
    pub(super) bytes: u64,
    /// Descriptors after which no other batch is walked, and those that were walked.
    pub(super) walk_max: usize,
    walked: usize,
}

impl Turn {
    #[inline]
    pub(super) fn new(allowance: Work) -> Self {
        // Twice as many as the allowance pays for: chains that are left over are loaded again.
        let walk_max = allowance.number_of(Work::DESCRIPTOR).saturating_mul(2);
        Self { room: allowance.number_of(Work::REQUEST).min(BATCH), served: 0, bytes: 0, walk_max, walked: 0 }
    }

    /// Counts requests that were served.
    #[inline]
    pub(super) fn serve(&mut self, count: usize) {
        self.served = self.served.wrapping_add(count);
        self.room = self.room.saturating_sub(count);
    }

    /// Counts descriptors that were walked.
    #[inline]
    pub(super) fn walk(&mut self, descriptors: usize) {
        self.walked = self.walked.saturating_add(descriptors);
    }

    /// Whether another batch may be walked and served.
    pub(super) fn goes_on(&self) -> bool {
        self.room > 0 && self.walked < self.walk_max
    }

    /// Work of the take.
    #[inline]
    pub(super) fn took(&self) -> Took {
        let walked = Work::DESCRIPTOR.times(self.walked);
        let work = Work::REQUEST.times(self.served).plus(walked).plus(Work::of_bytes(self.bytes));
        if work == Work::default() { Took::NoRoom } else { Took::Work(work) }
    }
}
