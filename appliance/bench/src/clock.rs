//! Time, cheaply: the time stamp counter, scaled to nanoseconds.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// The time stamp counter's rate, found by comparing it with the system's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    ns_per_tick: f64,
}

impl Clock {
    pub(crate) fn calibrate() -> Self {
        let (start, first) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let elapsed = start.elapsed().as_secs_f64() * 1e9;
        Self { ns_per_tick: elapsed / ticks().wrapping_sub(first).max(1) as f64 }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are far below 2^52 ns"
    )]
    pub(crate) fn ns(self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are far below 2^52 ns"
    )]
    pub(crate) fn ticks(self, time: Duration) -> u64 {
        (time.as_secs_f64() * 1e9 / self.ns_per_tick) as u64
    }
}

#[expect(unsafe_code, reason = "the time stamp counter is read by an intrinsic")]
#[inline]
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has one, and Linux lets user space read it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// CPU time of this thread.
pub(crate) fn of_this_thread() -> Duration {
    // A clock's time is not negative, and has nanoseconds.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
