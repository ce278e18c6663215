//! Exponential back-off of an endpoint whose peers are cut off for cause.
//!
//! A peer that breaks the protocol, or takes its memory away, costs a core time, and could come back at
//! once for ever. So the endpoint serves nobody for a while after it, twice as long after each more of them, and
//! forgets them after a quiet while. One that leaves by itself delays nobody.
//!
//! Not here: who waits meanwhile (`accept`).

use std::time::{Duration, Instant};

/// Limits of a back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffLimits {
    /// Pause after the first peer that is cut off.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Time after a pause without another cut-off, after which those before are forgotten.
    pub quiet: Duration,
}

impl Default for BackoffLimits {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            quiet: Duration::from_secs(60),
        }
    }
}

/// Back-off of an endpoint, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackoffStatus {
    /// Peers that were cut off for cause in a row.
    pub cut_off: u32,
    /// Time until the next peer is served.
    pub pause_left: Duration,
}

/// Peers of an endpoint that were cut off for cause in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    limits: BackoffLimits,
    cut_off: u32,
    /// Time of the last cut-off.
    last: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(limits: BackoffLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Counts a peer that was cut off for cause; returns the pause that follows.
    pub(crate) fn count(&mut self, now: Instant) -> Duration {
        self.cut_off = self.status(now).cut_off.saturating_add(1);
        self.last = Some(now);
        self.pause()
    }

    /// Pause after the last cut-off.
    fn pause(&self) -> Duration {
        let doublings = self.cut_off.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.limits.first.saturating_mul(factor).min(self.limits.longest)
    }

    pub(crate) fn status(&self, now: Instant) -> BackoffStatus {
        let Some(last) = self.last else { return BackoffStatus::default() };
        let (since, pause) = (now.saturating_duration_since(last), self.pause());
        if since >= pause.saturating_add(self.limits.quiet) {
            return BackoffStatus::default();
        }
        BackoffStatus { cut_off: self.cut_off, pause_left: pause.saturating_sub(since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> (Backoff, BackoffLimits, Instant) {
        let limits = BackoffLimits::default();
        (Backoff::new(limits), limits, Instant::now())
    }

    #[test]
    fn each_pause_is_twice_the_one_before_up_to_the_longest() {
        let (mut backoff, limits, mut now) = backoff();
        let mut expected = limits.first;
        for _ in 0..1000 {
            let pause = backoff.count(now);
            assert_eq!(pause, expected);
            assert_eq!(backoff.status(now).pause_left, pause);
            now += pause;
            assert_eq!(backoff.status(now).pause_left, Duration::ZERO);
            expected = (expected * 2).min(limits.longest);
        }
        assert_eq!(backoff.status(now).cut_off, 1000);
    }

    #[test]
    fn a_quiet_while_is_forgotten_and_a_shorter_one_is_not() {
        let (mut backoff, limits, now) = backoff();
        let pause = backoff.count(now);
        let almost = now + pause + limits.quiet - Duration::from_nanos(1);
        assert_eq!(backoff.status(almost).cut_off, 1);
        assert_eq!(backoff.status(now + pause + limits.quiet), BackoffStatus::default());
        assert_eq!(backoff.count(almost), limits.first * 2);
        let later = almost + limits.first * 2 + limits.quiet;
        assert_eq!(backoff.count(later), limits.first);
    }

    #[test]
    fn nobody_waits_where_nobody_was_cut_off() {
        let (backoff, _, now) = backoff();
        assert_eq!(backoff.status(now), BackoffStatus::default());
    }
}
