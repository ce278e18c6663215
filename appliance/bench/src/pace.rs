//! Due times of requests, where `--rate` gives their number a second.
//!
//! A request's latency counts from when it was due, not from when there was room for it: a server
//! that stands still is charged for all that it kept waiting, and what it missed is made up for.

use crate::clock::{Clock, ticks};
use std::time::Duration;

/// Longest wait that is polled: a thread that sleeps wakes late, so the end of each wait is polled.
const AWAKE: Duration = Duration::from_micros(60);

/// Due times of requests, at equal distances.
pub(crate) struct Pace {
    start: u64,
    /// Ticks between two requests.
    gap: f64,
    taken: u64,
    due: u64,
    clock: Clock,
    awake: u64,
}

impl Pace {
    /// The first request is due now.
    pub(crate) fn new(rate: u64, clock: Clock) -> Self {
        let start = ticks();
        let gap = clock.ticks(Duration::from_secs(1)) as f64 / rate as f64;
        Self { start, gap, taken: 0, due: start, clock, awake: clock.ticks(AWAKE) }
    }

    /// Takes the next request if it is due; returns the tick at which it was.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^52 ticks")]
    pub(crate) fn take(&mut self, now: u64) -> Option<u64> {
        let due = (self.due <= now).then_some(self.due)?;
        self.taken += 1;
        self.due = self.start + (self.taken as f64 * self.gap) as u64;
        Some(due)
    }

    /// Sleeps until shortly before the next request is due, but not longer than `limit`; false if
    /// that is now.
    pub(crate) fn sleep(&self, now: u64, limit: Duration) -> bool {
        let left = self.due.saturating_sub(now);
        if left <= 2 * self.awake {
            return false;
        }
        std::thread::sleep(Duration::from_nanos(self.clock.ns(left - self.awake)).min(limit));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_due_as_the_rate_says_also_after_a_long_silence() {
        let clock = Clock::calibrate();
        for rate in [1, 3, 5_000, 7_000_000, 900_000_000] {
            let mut pace = Pace::new(rate, clock);
            let (start, second) = (pace.start, clock.ticks(Duration::from_secs(1)));
            let due: Vec<u64> =
                std::iter::from_fn(|| pace.take(start + second - 1)).take(10_000_000).collect();
            assert_eq!(due.len() as u64, rate.min(10_000_000), "{rate}");
            assert!(due.is_sorted() && due[0] == start);
        }
    }
}
