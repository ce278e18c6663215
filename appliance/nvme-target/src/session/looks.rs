//! Times at which an idle session looks at its doorbells: stores to them wake no core.
//!
//! The longer the pause of the host, the rarer the looks. The first command after a pause waits for at most a hundredth of
//! that pause, or 50 us if that is more, and for no more than 2 ms. After it the looks are as frequent as ever.
//!
//! Hosts that send their doorbells by message wake the core by that, and need no looks. They have them all the same: the
//! client may have mapped the doorbells, and use them one day.

use luge_core::Ticks;
use std::time::Duration;

/// Shortest and longest time between two looks.
const LOOK_MIN: Duration = Duration::from_micros(50);
const LOOK_MAX: Duration = Duration::from_millis(2);

/// Part of a pause for which the next look waits.
const PART: u32 = 100;

/// Looks of a session.
pub(super) struct Looks {
    /// Time of the last turn in which a command waited.
    active: Ticks,
}

impl Looks {
    /// Looks of a new session.
    pub(super) fn new() -> Self {
        Self { active: Ticks::now() }
    }

    /// Notes that a command waits.
    #[inline]
    pub(super) fn found(&mut self, now: Ticks) {
        self.active = now;
    }

    /// Time of the next look, while nothing happens.
    #[expect(clippy::arithmetic_side_effects, reason = "the last time is later than any")]
    pub(super) fn next(&self, now: Ticks) -> Ticks {
        let pause = now.since(self.active);
        now + (pause / PART).clamp(LOOK_MIN, LOOK_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of looks from `from` to `to` after the last command.
    fn looks(looks: &Looks, from: Duration, to: Duration) -> usize {
        let at = |after| looks.active + after;
        let next = |&now: &Ticks| Some(looks.next(now)).filter(|&next| next < at(to));
        std::iter::successors(Some(at(from)), next).count()
    }

    #[test]
    fn the_longer_the_pause_the_rarer_are_the_looks() {
        let idle = Looks::new();
        let [zero, ms_5, second, minute] = [0, 5, 1_000, 60_000].map(Duration::from_millis);
        assert!((95..=105).contains(&looks(&idle, zero, ms_5)), "every 50 us at first");
        let first = looks(&idle, zero, second);
        assert!(first < 900, "{first} in the first second");
        let later = looks(&idle, second, minute);
        assert!(later <= 59 * 501, "{later} in 59 seconds: one in 2 ms");
    }

    #[test]
    fn the_first_command_after_a_pause_brings_frequent_looks_back() {
        let mut session = Looks::new();
        let later = session.active + Duration::from_secs(100);
        assert_eq!(session.next(later).since(later).as_micros().div_ceil(10), 200);
        session.found(later);
        assert_eq!(session.next(later).since(later).as_micros().div_ceil(10), 5);
    }

    #[test]
    fn a_look_is_late_by_no_more_than_a_hundredth_of_the_pause() {
        let idle = Looks::new();
        for pause in [6, 30, 100, 190].map(Duration::from_millis) {
            let now = idle.active + pause;
            let wait = idle.next(now).since(now);
            assert!(wait <= pause / 100 + Duration::from_micros(1), "{wait:?} after {pause:?}");
        }
    }
}
