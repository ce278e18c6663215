//! The time stamp counter: what volumes and cores measure time in.

#![expect(unsafe_code, reason = "the time stamp counter is read by an intrinsic")]

use std::cell::Cell;
use std::ops::Add;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Time over which the counter's rate is measured.
const MEASUREMENT: Duration = Duration::from_millis(20);

/// Attempts to read both clocks at once: a thread may lose its CPU in between.
const READINGS: usize = 8;

/// The time stamp counter of this CPU; all CPUs of a machine show the same time.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has a time stamp counter, and user space may read it on Linux.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Ticks of the time stamp counter in a second. The first call measures it, which takes 20 ms.
#[must_use]
pub fn tick_rate() -> u64 {
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, first) = read_both();
        thread::sleep(MEASUREMENT);
        let (end, last) = read_both();
        let (ns, passed) = (end.duration_since(start).as_nanos(), last.0.wrapping_sub(first.0));
        u64::try_from(u128::from(passed) * NS_PER_S / ns.max(1)).unwrap_or(u64::MAX).max(1)
    })
}

const NS_PER_S: u128 = 1_000_000_000;

/// A reading of the system's clock and of the counter, as close to each other as can be.
fn read_both() -> (Instant, Ticks) {
    let read = || {
        let (before, instant, after) = (ticks(), Instant::now(), ticks());
        (after.wrapping_sub(before), (instant, Ticks(before)))
    };
    let first = read();
    let better = |best: (u64, _), next: (u64, _)| if next.0 < best.0 { next } else { best };
    (1..READINGS).map(|_| read()).fold(first, better).1
}

/// A time: a reading of the time stamp counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Time earlier than any reading. Who asks for a turn at this time gets the next one.
    pub const PAST: Self = Self(0);

    /// The time now.
    #[inline]
    #[must_use]
    pub fn now() -> Self {
        Self(ticks())
    }

    /// The time from `earlier` to this one; zero if this one is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let passed = u128::from(self.0.saturating_sub(earlier.0));
        let ns = passed * NS_PER_S / u128::from(tick_rate());
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

fn ticks_in(duration: Duration) -> u64 {
    let ticks = duration.as_nanos().saturating_mul(tick_rate().into()) / NS_PER_S;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// A later time; one that is too far away is the last one.
impl Add<Duration> for Ticks {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(ticks_in(duration)))
    }
}

/// The time stamp counter, read once for all that happens at about the same time.
#[derive(Default)]
pub(crate) struct Clock(Cell<u64>);

impl Clock {
    /// The time when it was first asked for since [`Self::pass`].
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        if self.0.get() == 0 {
            self.0.set(ticks());
        }
        self.0.get()
    }

    /// Sets the time.
    #[inline]
    pub(crate) fn set(&self, now: Ticks) {
        self.0.set(now.0);
    }

    /// Lets time pass: the clock is read again when the time is asked for next.
    #[inline]
    pub(crate) fn pass(&self) {
        self.0.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_a_duration_are_a_later_time_by_the_systems_clock() {
        let (start, wait) = (Instant::now(), Duration::from_millis(2));
        let end = Ticks::now() + wait;
        while Ticks::now() < end {}
        // The rate is measured to some parts in a million; a per cent is far from that.
        assert!(start.elapsed() >= wait - wait / 100, "{:?}", start.elapsed());
    }

    #[test]
    fn the_time_since_another_is_what_was_added_to_it() {
        let now = Ticks::now();
        for wait in [Duration::ZERO, Duration::from_micros(7), Duration::from_secs(100_000)] {
            let since = (now + wait).since(now);
            assert!(since <= wait, "{since:?}");
            assert!(wait - since < Duration::from_micros(1), "{since:?}");
        }
    }

    #[test]
    fn times_that_cannot_be_are_the_nearest_that_can() {
        let now = Ticks::now();
        assert_eq!(now + Duration::MAX, Ticks(u64::MAX));
        assert_eq!(Ticks::PAST.since(now), Duration::ZERO);
        assert!(Ticks(u64::MAX).since(now) > Duration::from_secs(1 << 30));
    }
}
