//! Pace of the looks: the interval that the user chose, and longer ones on a slow line.

use std::time::{Duration, Instant};

/// Intervals that can be chosen.
const INTERVALS_MS: [u64; 7] = [250, 500, 1000, 2000, 5000, 10_000, 30_000];

/// Index of the first interval.
const FIRST: usize = 2;

/// Part of the time that a line may be busy with frames: one in so many.
const FRAMES_PART: u32 = 4;

/// Pace of the looks.
#[derive(Debug)]
pub(crate) struct Pace {
    chosen: usize,
    /// Time that the line took for the last frame.
    frame: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { chosen: FIRST, frame: Duration::ZERO }
    }
}

impl Pace {
    /// Present interval.
    pub(crate) fn interval(&self) -> Duration {
        let chosen = INTERVALS_MS.get(self.chosen).copied().unwrap_or(1000);
        Duration::from_millis(chosen).max(self.frame.saturating_mul(FRAMES_PART))
    }

    /// Whether the line is so slow that the interval is longer than chosen.
    pub(crate) fn is_slowed(&self) -> bool {
        let chosen = INTERVALS_MS.get(self.chosen).copied().unwrap_or(1000);
        self.interval() > Duration::from_millis(chosen)
    }

    /// Chooses the next longer interval.
    pub(crate) fn slower(&mut self) {
        self.chosen = (self.chosen + 1).min(INTERVALS_MS.len() - 1);
    }

    /// Chooses the next shorter interval.
    pub(crate) fn faster(&mut self) {
        self.chosen = self.chosen.saturating_sub(1);
    }

    /// Notes how long the line took for a frame that began at `began`.
    pub(crate) fn drawn_since(&mut self, began: Instant) {
        // A frame of a few characters tells little: the last long one counts, until others were quick.
        self.frame = began.elapsed().max(self.frame / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_gets_frames_less_often_and_more_often_again_when_it_is_fast() {
        let mut pace = Pace::default();
        assert_eq!(pace.interval(), Duration::from_secs(1));
        pace.frame = Duration::from_secs(2);
        assert_eq!(pace.interval(), Duration::from_secs(8));
        assert!(pace.is_slowed());
        (0..10).for_each(|_| pace.drawn_since(Instant::now()));
        assert_eq!(pace.interval(), Duration::from_secs(1));
        assert!(!pace.is_slowed());
    }

    #[test]
    fn the_interval_stays_within_its_limits() {
        let mut pace = Pace::default();
        (0..20).for_each(|_| pace.faster());
        assert_eq!(pace.interval(), Duration::from_millis(250));
        (0..20).for_each(|_| pace.slower());
        assert_eq!(pace.interval(), Duration::from_secs(30));
    }
}
