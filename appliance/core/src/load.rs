//! Load of a core: the busy share of its recent time, and what rings are expected to add that have
//! just begun.
//!
//! Both fade: a second ago counts for a third of now.

use luge_volume::{Ticks, tick_rate};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seconds after which a part of e is left.
const FADE_S: f64 = 1.0;

/// Share of a core that a ring is expected to use, until the average shows what it does.
const RING: f64 = 0.1;

/// Part that is left of a load after so many ticks.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn faded(ticks: u64) -> f64 {
    (-(ticks as f64) / (tick_rate() as f64 * FADE_S)).exp()
}

/// Busy share of a core's recent time. Written by that core only, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct LoadAverage {
    /// Bits of a number from 0 to 1.
    share: AtomicU64,
    at: AtomicU64,
}

impl LoadAverage {
    /// Adds time that ended at `now`, with its busy share.
    pub(crate) fn add(&self, share: f64, elapsed: u64, now: u64) {
        let (old, left) = (f64::from_bits(self.share.load(Ordering::Relaxed)), faded(elapsed));
        let average = share + (old - share) * left;
        self.share.store(average.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
    }

    /// The average when time was last added.
    pub(crate) fn last(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    /// The average at `now` of a core that has been idle since time was last added.
    pub(crate) fn idle_until(&self, now: u64) -> f64 {
        self.last() * faded(now.saturating_sub(self.at.load(Ordering::Relaxed)))
    }
}

/// The rings that a core serves, as those see them who choose cores.
#[derive(Debug, Default)]
pub(crate) struct Rings(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    count: usize,
    /// Load that young rings were expected to add, at a time.
    expected: f64,
    at: Ticks,
}

impl Counted {
    /// Adds to what is expected at `now`; never less than nothing is.
    fn expect(&mut self, more: f64, now: Ticks) -> f64 {
        self.expected = (self.expected * faded(now.0.saturating_sub(self.at.0)) + more).max(0.0);
        self.at = now;
        self.expected
    }
}

impl Rings {
    /// Counts a ring that starts now.
    pub(crate) fn start(&self, now: Ticks) {
        let mut rings = self.lock();
        rings.count += 1;
        rings.expect(RING, now);
    }

    /// Counts the end of a ring that started at `start`.
    pub(crate) fn stop(&self, start: Ticks, now: Ticks) {
        let mut rings = self.lock();
        rings.count -= 1;
        rings.expect(-RING * faded(now.0.saturating_sub(start.0)), now);
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Load that rings are expected to add which the average does not show yet.
    pub(crate) fn expected(&self, now: Ticks) -> f64 {
        self.lock().expect(0.0, now)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> u64 {
        count * tick_rate()
    }

    #[test]
    fn an_average_follows_what_a_core_does_within_seconds() {
        let average = LoadAverage::default();
        (1..=30).for_each(|step| average.add(0.8, seconds(1) / 10, step * seconds(1) / 10));
        assert!((0.7..=0.8).contains(&average.last()), "{}", average.last());
        average.add(0.0, seconds(3), seconds(6));
        assert!(average.last() < 0.1, "{}", average.last());
    }

    #[test]
    fn an_average_does_not_depend_on_how_often_it_is_told() {
        let (often, once) = (LoadAverage::default(), LoadAverage::default());
        (1..=1000).for_each(|step| often.add(0.5, seconds(1) / 1000, step * seconds(1) / 1000));
        once.add(0.5, seconds(1), seconds(1));
        assert!((often.last() - once.last()).abs() < 0.001);
    }

    #[test]
    fn the_load_of_a_core_that_sleeps_fades() {
        let average = LoadAverage::default();
        average.add(1.0, seconds(100), seconds(100));
        assert!(average.idle_until(seconds(100)) > 0.99);
        assert!(average.idle_until(seconds(110)) < 0.01);
        assert!(average.idle_until(0) > 0.99, "a time before does not count");
        assert!(average.idle_until(u64::MAX) >= 0.0);
    }

    #[test]
    fn a_young_ring_counts_until_the_average_shows_it_or_it_ends() {
        let (rings, start) = (Rings::default(), Ticks(seconds(10)));
        (0..4).for_each(|_| rings.start(start));
        assert_eq!(rings.count(), 4);
        assert!(rings.expected(start) > 3.9 * RING);
        assert!(rings.expected(Ticks(seconds(20))) < RING / 100.0);
        (0..4).for_each(|_| rings.start(Ticks(seconds(20))));
        (0..4).for_each(|_| rings.stop(Ticks(seconds(20)), Ticks(seconds(21))));
        assert!(rings.expected(Ticks(seconds(21))) < RING / 100.0);
        assert_eq!(rings.count(), 4);
    }

    #[test]
    fn rings_that_come_and_go_without_end_add_no_load() {
        let rings = Rings::default();
        for step in 1..100_000 {
            rings.start(Ticks(step * 1000));
            rings.stop(Ticks(step * 1000), Ticks(step * 1000 + 500));
        }
        assert!(rings.expected(Ticks(100_000_000)) < RING);
    }
}
