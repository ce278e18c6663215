//! Measurement of latencies: which requests need a time of their own.
//!
//! ```text
//!  (1) idle    --requests begin--------------------------> (2) together, since then
//!  (2) together --others begin in another turn: noted by slot--> (3) apart
//!  (2), (3)    --the last one ends-----------------------> (1)
//! ```
//!
//! All requests that begin in one turn begin at one time. As long as nothing else is in flight, that time is known
//! without a look at a slot, and a run of requests of one size is counted by a few additions. So a device that has done everything when
//! the turn ends costs nothing per request.
//!
//! In (3) only the requests that began after (2) are noted. The time in another request's slot is an earlier user's,
//! which is before (2) began, so the later of both is right for all.

use super::{Latencies, SessionTimes};
use crate::ended_run::EndedRun;
use luge_block::Tag;

/// Measurement of the requests of one volume on one core.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// Time at which the first of the requests in flight began.
    since: u64,
    /// Whether requests have begun at another time.
    apart: bool,
}

impl Stopwatch {
    /// Notes that requests begin, while `in_flight` others are in flight.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        in_flight: usize,
        tags: impl Iterator<Item = Tag>,
        now: u64,
        times: &mut SessionTimes,
    ) {
        if in_flight == 0 {
            *self = Self { since: now, apart: false };
        } else if now != self.since {
            self.apart = true;
            times.note(tags, now);
        }
    }

    /// Counts requests that have ended now.
    #[inline]
    pub(crate) fn end(&self, run: &EndedRun<'_>, now: u64, times: &SessionTimes, latencies: &Latencies) {
        if self.apart || !run.sorts.are_of_one_size() {
            return self.end_each(run, now, times.of(run.sorts.first.session()), latencies);
        }
        latencies.add_all(&run.sorts, now.saturating_sub(self.since));
    }

    /// Counts requests one by one, of a session with these times.
    #[inline(never)]
    fn end_each(&self, run: &EndedRun<'_>, now: u64, times: &[u64], latencies: &Latencies) {
        for end in run.ended {
            let tag = end.tag();
            let noted = times.get(usize::from(tag.slot())).copied().unwrap_or(0);
            latencies.add(tag, now.saturating_sub(noted.max(self.since)), 1);
        }
    }
}
