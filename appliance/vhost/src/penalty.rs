//! Pause before the next front end of an endpoint is served, after one has harmed others.
//!
//! Who takes memory away, or makes it slow, costs its neighbours a moment each time. So who comes back at once waits,
//! and longer each time.

use std::time::{Duration, Instant};

/// Pause after the first harm.
const FIRST: Duration = Duration::from_millis(100);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Duration of a connection without harm after which earlier harm is forgotten.
const GOOD: Duration = Duration::from_secs(600);

/// Pause of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Penalty {
    pause: Duration,
    until: Option<Instant>,
}

impl Penalty {
    /// A connection has harmed others; returns the pause.
    pub(crate) fn harmed(&mut self, now: Instant) -> Duration {
        self.pause = self.pause.saturating_mul(2).clamp(FIRST, LONGEST);
        self.until = now.checked_add(self.pause);
        self.pause
    }

    /// A connection has ended without harm.
    pub(crate) fn behaved(&mut self, lasted: Duration) {
        if lasted >= GOOD {
            *self = Self::default();
        }
    }

    /// Time until the next front end is served; none if that may be now.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        Some(left).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_grow_from_a_tenth_of_a_second_to_a_minute() {
        let (mut penalty, now) = (Penalty::default(), Instant::now());
        assert_eq!(penalty.left(now), None);
        let pauses: Vec<_> = (0..4).map(|_| penalty.harmed(now)).collect();
        assert_eq!(pauses, [100 * MS, 200 * MS, 400 * MS, 800 * MS]);
        assert_eq!(penalty.left(now + 300 * MS), Some(500 * MS));
        assert_eq!(penalty.left(now + 800 * MS), None);
        (0..20).for_each(|_| _ = penalty.harmed(now));
        assert_eq!(penalty.left(now), Some(LONGEST));
    }

    #[test]
    fn only_a_long_connection_without_harm_is_forgiven() {
        let (mut penalty, now) = (Penalty::default(), Instant::now());
        penalty.harmed(now);
        penalty.behaved(GOOD - MS);
        assert_eq!(penalty.harmed(now), 200 * MS);
        penalty.behaved(GOOD);
        assert_eq!(penalty.left(now), None);
        assert_eq!(penalty.harmed(now), FIRST);
    }
}
