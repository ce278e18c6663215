//! Deadlines, stretched where a machine is slow.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Multiplies every deadline: `LUGE_PATIENCE=3` for a machine three times slower than usual.
static PATIENCE: LazyLock<f64> = LazyLock::new(|| {
    let wanted = std::env::var("LUGE_PATIENCE").ok().and_then(|text| text.parse().ok());
    wanted.filter(|factor: &f64| factor.is_finite() && *factor > 0.0).unwrap_or(1.0)
});

/// A moment by which something must have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    began: Instant,
    within: Duration,
}

impl Deadline {
    /// So many seconds from now, times `LUGE_PATIENCE`.
    #[must_use]
    pub fn within(seconds: u32) -> Self {
        Self { began: Instant::now(), within: Duration::from_secs(seconds.into()).mul_f64(*PATIENCE) }
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.within.saturating_sub(self.began.elapsed())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// How long it allowed from the start.
    #[must_use]
    pub fn allowed(&self) -> Duration {
        self.within
    }

    /// Asks `question` again and again until it is answered.
    ///
    /// For what can only be asked, not waited for: a file that appears, a counter that moves.
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
        assert_eq!((third, asked), (Some("yes"), 3));
        assert_eq!(Deadline::within(0).poll(|| None::<()>), None);
    }
}
