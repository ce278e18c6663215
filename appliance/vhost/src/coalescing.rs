//! Coalescing of interrupts: while a queue gets many requests, an interrupt waits for those of the next ones.
//!
//! Path: completions -> queue -> **pace** -> call -> guest.
//!
//! The delay of a queue follows its rate, as in SPDK:
//!
//! ```text
//!   delay = base * (rate - threshold) / threshold, 1 ms at most; none up to the threshold
//! ```
//!
//! Invariants
//! - An interrupt that the guest has asked for comes, at the latest after the delay.
//! - Without coalescing, a publication costs one load more, and nobody reads a clock.

use luge_volume::{Ticks, tick_rate};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Longest delay of an interrupt.
pub const INTERRUPT_DELAY_MAX: Duration = Duration::from_millis(1);

/// Shortest time over which the rate of a queue is measured.
const WINDOW: Duration = Duration::from_millis(10);

/// Parameters of coalescing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoalescingConfig {
    /// Delay at twice the threshold, in microseconds; 0 for no coalescing.
    pub delay_base_us: u32,
    /// Requests per second up to which no interrupt is delayed.
    pub iops_threshold: u32,
}

/// Coalescing of all queues of an endpoint. Clones are the same.
#[derive(Clone, Default)]
pub struct Coalescing(Arc<Setting>);

#[derive(Default)]
struct Setting {
    delay_base_us: AtomicU32,
    iops_threshold: AtomicU32,
}

impl Coalescing {
    /// Sets the parameters for all queues, those that run and those to come.
    pub fn set(&self, config: CoalescingConfig) {
        // Its first call takes 20 ms, which no core is to wait for.
        let _ = tick_rate();
        self.0.iops_threshold.store(config.iops_threshold, Relaxed);
        self.0.delay_base_us.store(config.delay_base_us, Relaxed);
    }

    /// Parameters.
    #[must_use]
    pub fn get(&self) -> CoalescingConfig {
        CoalescingConfig {
            delay_base_us: self.0.delay_base_us.load(Relaxed),
            iops_threshold: self.0.iops_threshold.load(Relaxed),
        }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.0.delay_base_us.load(Relaxed) != 0
    }
}

impl CoalescingConfig {
    /// Delay of a queue that gets `requests` in `time`.
    fn delay(self, requests: u64, time: Duration) -> Duration {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = requests.saturating_mul(1_000_000).checked_div(us).unwrap_or_default();
        let above = rate.saturating_sub(self.iops_threshold.into());
        let threshold = u64::from(self.iops_threshold.max(1));
        let delay_us = u64::from(self.delay_base_us).saturating_mul(above).checked_div(threshold);
        Duration::from_micros(delay_us.unwrap_or_default()).min(INTERRUPT_DELAY_MAX)
    }
}

/// Interrupts of one queue in time.
#[derive(Default)]
pub(crate) struct Pace {
    setting: Coalescing,
    /// Whether the guest waits for an interrupt.
    is_held: bool,
    /// Beginning of the measurement of the rate, and requests since then.
    began: Ticks,
    requests: u64,
    /// Available index at the last publication.
    taken: u16,
    delay: Duration,
    /// Time of the last interrupt.
    last: Ticks,
}

impl Pace {
    pub(crate) fn new(setting: Coalescing) -> Self {
        Self { setting, ..Self::default() }
    }

    /// Whether an interrupt may be delayed, or is.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_held || self.setting.is_on()
    }

    /// Whether the guest waits for an interrupt.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Forgets an interrupt that the guest waits for; returns whether there was one.
    pub(crate) fn release(&mut self) -> bool {
        std::mem::take(&mut self.is_held)
    }

    /// Whether the guest is to be interrupted now. `wanted` says whether it has asked for it since the last call;
    /// `taken` is the available index of the next chain.
    pub(crate) fn is_due(&mut self, wanted: bool, taken: u16, now: Ticks) -> bool {
        self.is_held |= wanted;
        self.measure(taken, now);
        let is_due = self.is_held && (now.since(self.last) >= self.delay || !self.setting.is_on());
        if is_due {
            self.is_held = false;
            self.last = now;
        }
        is_due
    }

    fn measure(&mut self, taken: u16, now: Ticks) {
        let more = taken.wrapping_sub(std::mem::replace(&mut self.taken, taken));
        self.requests = self.requests.saturating_add(more.into());
        let time = now.since(self.began);
        if time >= WINDOW {
            self.delay = self.setting.get().delay(self.requests, time);
            self.requests = 0;
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: CoalescingConfig = CoalescingConfig { delay_base_us: 100, iops_threshold: 10_000 };

    fn delay_us(rate: u64) -> u128 {
        CONFIG.delay(rate, Duration::from_secs(1)).as_micros()
    }

    #[test]
    fn the_delay_follows_the_rate_above_the_threshold_up_to_a_millisecond() {
        for (rate, us) in
            [(0, 0), (10_000, 0), (15_000, 50), (20_000, 100), (110_000, 1000), (u64::MAX, 1000)]
        {
            assert_eq!(delay_us(rate), us, "{rate} requests per second");
        }
    }

    #[test]
    fn no_parameters_overflow() {
        let most = CoalescingConfig { delay_base_us: u32::MAX, iops_threshold: 0 };
        assert_eq!(most.delay(u64::MAX, Duration::ZERO), INTERRUPT_DELAY_MAX);
        assert_eq!(most.delay(0, Duration::MAX), Duration::ZERO);
    }

    /// A pace at twice the threshold, and the time of its last interrupt.
    fn at_twice_the_threshold() -> (Pace, Ticks) {
        let setting = Coalescing::default();
        setting.set(CONFIG);
        let mut pace = Pace::new(setting);
        let start = Ticks::now();
        assert!(pace.is_due(true, 0, start), "the first interrupt waits for nothing");
        let now = start + WINDOW * 2;
        assert!(pace.is_due(true, 400, now), "so far the rate was not known");
        (pace, now)
    }

    #[test]
    fn an_interrupt_waits_for_the_delay_and_comes_once() {
        let (mut pace, now) = at_twice_the_threshold();
        assert!(!pace.is_due(true, 401, now + Duration::from_micros(99)));
        assert!(pace.is_held());
        assert!(pace.is_due(false, 401, now + Duration::from_micros(101)));
        assert!(!pace.is_due(false, 401, now + Duration::from_micros(300)), "nobody asked again");
    }

    #[test]
    fn an_interrupt_that_waits_comes_when_coalescing_ends() {
        let (mut pace, now) = at_twice_the_threshold();
        assert!(!pace.is_due(true, 401, now));
        pace.setting.set(CoalescingConfig::default());
        assert!(pace.is_on(), "there is one left");
        assert!(pace.is_due(false, 401, now));
        assert!(!pace.is_on());
    }
}
