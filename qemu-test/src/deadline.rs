//! Deadlines, which can be extended for slow machines.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Factor of all deadlines: `LUGE_TIMEOUT_FACTOR=3` for a machine three times slower than usual.
static TIMEOUT_FACTOR: LazyLock<f64> = LazyLock::new(|| {
    let wanted = std::env::var("LUGE_TIMEOUT_FACTOR").ok().and_then(|text| text.parse().ok());
    wanted.filter(|factor: &f64| factor.is_finite() && *factor > 0.0).unwrap_or(1.0)
});

/// Time by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    began: Instant,
    within: Duration,
}

impl Deadline {
    /// Deadline in `seconds` from now, times `LUGE_TIMEOUT_FACTOR`.
    #[must_use]
    pub fn within(seconds: u32) -> Self {
        Self { began: Instant::now(), within: Duration::from_secs(seconds.into()).mul_f64(*TIMEOUT_FACTOR) }
    }

    /// Remaining time; zero when the deadline has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.within.saturating_sub(self.began.elapsed())
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Whole time that was allowed.
    #[must_use]
    pub fn allowed(&self) -> Duration {
        self.within
    }

    /// Calls `question` repeatedly until it returns an answer; none when the deadline passes first.
    ///
    /// For events without a notification: a file that appears, a counter that changes.
    pub fn poll<T>(&self, mut question: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(answer) = question() {
                return Some(answer);
            }
            if self.has_passed() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10).min(self.left()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_until_it_is_answered_or_the_deadline_passes() {
        let mut asked = 0;
        let third = Deadline::within(60).poll(|| {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!(third, Some("yes"));
        assert_eq!(asked, 3);
        assert_eq!(Deadline::within(0).poll(|| None::<()>), None);
    }
}
