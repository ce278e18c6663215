//! Bound of the time that a server may take for its replies.
//!
//! One slow reply is allowed, and many are not: time that was waited comes back at a tenth of the speed of the clock.
//! So a server that answers late each time, and never too late, costs those who wait a tenth of their time at most.

use std::time::{Duration, Instant};

/// Part of the time that comes back: one of so many.
const REFILL: u32 = 10;

/// Time that is left for replies.
#[derive(Debug)]
pub struct ReplyTime {
    most: Duration,
    left: Duration,
    /// End of the last wait.
    at: Instant,
}

impl ReplyTime {
    /// Time for a single reply that takes `most`.
    pub fn new(most: Duration) -> Self {
        Self { most, left: most, at: Instant::now() }
    }

    /// Time limit of a wait that begins at `now`.
    pub fn deadline(&mut self, now: Instant) -> Instant {
        let back = now.saturating_duration_since(self.at).checked_div(REFILL).unwrap_or_default();
        self.left = self.left.saturating_add(back).min(self.most);
        self.at = now;
        now.checked_add(self.left).unwrap_or(now)
    }

    /// Counts the wait that began at the last [`Self::deadline`] and ends at `now`.
    pub fn waited(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(now.saturating_duration_since(self.at));
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Time of five seconds, and a wait of `waited` seconds.
    fn after(waited: u32) -> (ReplyTime, Instant) {
        let mut reply_time = ReplyTime::new(5 * SECOND);
        let begin = reply_time.at;
        assert_eq!(reply_time.deadline(begin), begin + 5 * SECOND);
        reply_time.waited(begin + waited * SECOND);
        (reply_time, begin + waited * SECOND)
    }

    #[test]
    fn a_server_that_answers_late_each_time_gets_less_and_less_time() {
        let (mut reply_time, now) = after(4);
        assert_eq!(reply_time.deadline(now), now + SECOND);
        reply_time.waited(now + SECOND);
        assert_eq!(reply_time.deadline(now + SECOND), now + SECOND);
    }

    #[test]
    fn time_comes_back_at_a_tenth_of_the_speed_up_to_all_of_it() {
        let (mut reply_time, now) = after(4);
        let later = now + 20 * SECOND;
        assert_eq!(reply_time.deadline(later), later + 3 * SECOND);
        let much_later = now + 2000 * SECOND;
        assert_eq!(reply_time.deadline(much_later), much_later + 5 * SECOND);
    }
}
