//! Counters of a core's time.

use crate::load::LoadAverage;
use luge_volume::ticks;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Counters of a core, written by it every so many turns, read by anybody.
#[derive(Debug, Default)]
pub struct CoreStats {
    pub(crate) busy_ticks: AtomicU64,
    pub(crate) idle_ticks: AtomicU64,
    pub(crate) sleeps: AtomicU64,
    longest_turn_ticks: AtomicU64,
    load: LoadAverage,
    asleep: AtomicBool,
    poll_window_us: AtomicU64,
}

impl CoreStats {
    /// Time spent in turns that did something, in ticks of the time stamp counter.
    #[must_use]
    pub fn busy_ticks(&self) -> u64 {
        self.busy_ticks.load(Ordering::Relaxed)
    }

    /// Time spent in turns that found nothing to do, and asleep, in ticks.
    #[must_use]
    pub fn idle_ticks(&self) -> u64 {
        self.idle_ticks.load(Ordering::Relaxed)
    }

    /// Busy share of recent time, 0 to 1: of about the last second.
    #[must_use]
    pub fn load(&self) -> f64 {
        if self.asleep() { self.load.idle_until(ticks()) } else { self.load.last() }
    }

    /// Sleeps that have ended.
    #[must_use]
    pub fn sleeps(&self) -> u64 {
        self.sleeps.load(Ordering::Relaxed)
    }

    /// Whether it sleeps, until an interrupt wakes it.
    #[must_use]
    pub fn asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Poll window before the last sleep, in microseconds. It adapts to the pauses of the guests.
    #[must_use]
    pub fn poll_window_us(&self) -> u64 {
        self.poll_window_us.load(Ordering::Relaxed)
    }

    /// Longest turn so far, with the tasks after it, in ticks.
    #[must_use]
    pub fn longest_turn_ticks(&self) -> u64 {
        self.longest_turn_ticks.load(Ordering::Relaxed)
    }

    /// Notes the time that a turn took. Called by the core only.
    #[inline]
    pub(crate) fn note_turn(&self, ticks: u64) {
        if ticks > self.longest_turn_ticks() {
            self.longest_turn_ticks.store(ticks, Ordering::Relaxed);
        }
    }

    pub(crate) fn fall_asleep(&self, poll_window: Duration) {
        let poll_window_us = u64::try_from(poll_window.as_micros()).unwrap_or(u64::MAX);
        self.poll_window_us.store(poll_window_us, Ordering::Relaxed);
        self.asleep.store(true, Ordering::Relaxed);
    }
}

/// Turns between two readings of the clock.
const WINDOW: u32 = 1024;

/// Divides time into busy and idle by the share of turns, so that the clock is read once
/// every [`WINDOW`] turns and not on the data path.
#[derive(Debug)]
pub(crate) struct Meter {
    turns: u32,
    busy: u32,
    since: u64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { turns: 0, busy: 0, since: ticks() }
    }

    #[inline]
    pub(crate) fn turn(&mut self, busy: bool, stats: &CoreStats) {
        self.turns += 1;
        self.busy += u32::from(busy);
        if self.turns == WINDOW {
            self.close(stats);
        }
    }

    /// Accounts for the turns since the last reading of the clock.
    pub(crate) fn close(&mut self, stats: &CoreStats) {
        let elapsed = self.mark();
        let busy = elapsed / u64::from(self.turns.max(1)) * u64::from(self.busy);
        stats.busy_ticks.fetch_add(busy, Ordering::Relaxed);
        stats.idle_ticks.fetch_add(elapsed - busy.min(elapsed), Ordering::Relaxed);
        stats.load.add(f64::from(self.busy) / f64::from(self.turns.max(1)), elapsed, self.since);
        (self.turns, self.busy) = (0, 0);
    }

    /// Accounts for a sleep that has just ended.
    pub(crate) fn slept(&mut self, stats: &CoreStats) {
        let elapsed = self.mark();
        stats.asleep.store(false, Ordering::Relaxed);
        stats.idle_ticks.fetch_add(elapsed, Ordering::Relaxed);
        stats.load.add(0.0, elapsed, self.since);
        stats.sleeps.fetch_add(1, Ordering::Relaxed);
    }

    fn mark(&mut self) -> u64 {
        let now = ticks();
        now.wrapping_sub(std::mem::replace(&mut self.since, now))
    }
}
