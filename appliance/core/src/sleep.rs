//! When a core stops polling, how it sleeps, and how it wakes.
//!
//! ```text
//!  (1) polling --idle for the poll window, no channel has requests-->   (2) arming
//!  (2) arming  --a session or the mailbox has work, a time is near-->   (1)
//!  (2) arming  --all quiet-->                                           (3) asleep in epoll
//!  (3) asleep  --a kick, a task, the time of a session or node-->       (1)
//! ```
//!
//! While a channel has requests the core keeps polling, but lets others have the CPU.
//!
//! The poll window adapts. A sleep that more polling would have spared the guest doubles it: a guest
//! that pauses for half a millisecond between requests finds the core awake. A long sleep halves
//! it: a guest that is mostly idle costs little.
//!
//! A sleep that ends at a time says nothing of guests by itself: the core has one turn, and sleeps again if there was
//! nothing. If there was something, from a guest whose stores wake no core, the sleeps up to then count as one that an
//! event has ended.
//!
//! Times have the precision of the kernel's timers, about a microsecond, and no timer slack: that is
//! why there is a timerfd and no timeout of `epoll_wait`.

use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Initial, minimum and maximum poll window: idle time before a core sleeps.
const POLL_WINDOW: Duration = Duration::from_micros(100);
const POLL_WINDOW_MIN: Duration = Duration::from_micros(25);
const POLL_WINDOW_MAX: Duration = Duration::from_millis(1);

/// Time that waking takes, about: a core sleeps until so long before a time, and polls for the rest.
pub(crate) const LEAD: Duration = Duration::from_micros(20);

/// Shortest sleep until a time; a timer that is set to zero never expires.
const SLEEP_MIN: Duration = Duration::from_micros(1);

/// Longest sleep until a time; the core asks again then. The rate of the time stamp counter is known to
/// some parts in a million, and far times are not to become late by that.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Idle turns after which the other half of the processor gets its share: a pause of some 50 ns
/// for each turn, which a guest with one request at a time would wait for.
const EAGER: u32 = 256;

/// Idle turns between two looks at the clock.
const LOOK_EVERY: u32 = 64;

/// Keys of epoll events. Kicks have others.
const BELL: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// The events that end a core's sleep.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    timer: OwnedFd,
}

/// Cause of the end of a sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    Event,
    Time,
}

impl Epoll {
    /// Waits for `bell`, and for whatever is added.
    pub(crate) fn new(bell: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, bell, epoll::EventData::new_u64(BELL), edges)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), edges)?;
        Ok(Self { epoll, timer })
    }

    /// Blocks until an event arrives, at most for `limit`.
    pub(crate) fn sleep(&self, limit: Option<Duration>) -> Woken {
        limit.inspect(|&limit| self.set_timer(limit.clamp(SLEEP_MIN, SLEEP_MAX)));
        let mut events = [MaybeUninit::uninit(); 16];
        // Interrupted by a signal: as good as an event, the turn finds nothing.
        let (events, _) = epoll::wait(&self.epoll, &mut events, None).unwrap_or_default();
        if limit.is_some() && events.iter().any(|event| event.data.u64() == TIMER) {
            return Woken::Time;
        }
        limit.inspect(|_| self.set_timer(Duration::ZERO));
        Woken::Event
    }

    /// Lets the timer expire after `time`; never if that is zero.
    fn set_timer(&self, time: Duration) {
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec::try_from(time).unwrap_or(once);
        let timer = Itimerspec { it_interval: once, it_value };
        let set = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer);
        // It fails only for what is no timer, or for times that are none.
        set.map(drop).expect("a timer can be set");
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Time without work, and how long that may go on.
#[derive(Debug)]
pub(crate) struct Idleness {
    turns: u32,
    since: Option<Instant>,
    poll_window: Duration,
    /// Length of the sleeps that ended at a time, without any work since.
    asleep: Option<Duration>,
}

impl Default for Idleness {
    fn default() -> Self {
        Self { turns: 0, since: None, poll_window: POLL_WINDOW, asleep: None }
    }
}

impl Idleness {
    /// Ends it: there was work.
    #[inline]
    pub(crate) fn end(&mut self) {
        (self.turns, self.since) = (0, None);
        if self.asleep.is_some() {
            self.end_sleeps();
        }
    }

    /// Adapts the poll window to sleeps that ended at a time, the last one with work.
    #[cold]
    fn end_sleeps(&mut self) {
        let asleep = self.asleep.take();
        asleep.into_iter().for_each(|asleep| self.adapt(asleep));
    }

    /// Counts an idle turn; returns whether the poll window is over.
    pub(crate) fn turn(&mut self) -> bool {
        if self.asleep.is_some() {
            return true;
        }
        self.turns = self.turns.wrapping_add(1);
        if self.turns > EAGER {
            std::hint::spin_loop();
        }
        if !self.turns.is_multiple_of(LOOK_EVERY) {
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= self.poll_window
    }

    /// Notes a sleep that lasted `asleep`.
    pub(crate) fn slept(&mut self, asleep: Duration, woken: Woken) {
        (self.turns, self.since) = (0, None);
        let all = self.asleep.take().unwrap_or_default().saturating_add(asleep);
        match woken {
            Woken::Event => self.adapt(all),
            Woken::Time => self.asleep = Some(all),
        }
    }

    /// Adapts the poll window to a sleep that lasted `asleep`.
    fn adapt(&mut self, asleep: Duration) {
        let longer = asleep < POLL_WINDOW_MAX;
        let poll_window = if longer { self.poll_window * 2 } else { self.poll_window / 2 };
        self.poll_window = poll_window.clamp(POLL_WINDOW_MIN, POLL_WINDOW_MAX);
    }

    /// Idle time before the core sleeps.
    pub(crate) fn poll_window(&self) -> Duration {
        self.poll_window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECONDS: Duration = Duration::from_micros(300);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn short_sleeps_make_a_core_poll_longer_and_long_ones_shorter() {
        let mut idleness = Idleness::default();
        (0..10).for_each(|_| idleness.slept(MICROSECONDS, Woken::Event));
        assert_eq!(idleness.poll_window(), POLL_WINDOW_MAX);
        idleness.slept(SECOND, Woken::Event);
        assert_eq!(idleness.poll_window(), POLL_WINDOW_MAX / 2);
        (0..10).for_each(|_| idleness.slept(SECOND, Woken::Event));
        assert_eq!(idleness.poll_window(), POLL_WINDOW_MIN);
    }

    #[test]
    fn sleeps_that_end_at_a_time_leave_the_poll_window_alone() {
        let mut idleness = Idleness::default();
        [MICROSECONDS, SECOND].into_iter().for_each(|asleep| idleness.slept(asleep, Woken::Time));
        assert_eq!(idleness.poll_window(), POLL_WINDOW);
    }

    #[test]
    fn after_a_sleep_that_ended_at_a_time_one_idle_turn_is_enough() {
        let mut idleness = Idleness::default();
        idleness.slept(MICROSECONDS, Woken::Time);
        assert!(idleness.turn());
        idleness.slept(MICROSECONDS, Woken::Time);
        assert!(idleness.turn());
        idleness.end();
        assert!(!idleness.turn(), "there was work");
        assert_eq!(
            idleness.poll_window(),
            POLL_WINDOW * 2,
            "more polling would have spared the guest the sleeps"
        );
        (0..10).for_each(|_| idleness.slept(MICROSECONDS, Woken::Time));
        idleness.end();
        assert_eq!(idleness.poll_window(), POLL_WINDOW, "a long time together");
    }

    #[test]
    fn a_core_polls_for_as_long_as_its_poll_window() {
        let mut idleness = Idleness::default();
        let start = Instant::now();
        while !idleness.turn() {}
        assert!(start.elapsed() >= idleness.poll_window());
    }

    fn bell() -> OwnedFd {
        rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap()
    }

    fn ring(bell: &OwnedFd) {
        rustix::io::write(bell, &1_u64.to_ne_bytes()).unwrap();
    }

    #[test]
    fn a_sleep_ends_at_its_time_and_not_before() {
        let bell = bell();
        let epoll = Epoll::new(bell.as_fd()).unwrap();
        for limit in [Duration::ZERO, Duration::from_micros(30), Duration::from_millis(3)] {
            let start = Instant::now();
            assert_eq!(epoll.sleep(Some(limit)), Woken::Time);
            assert!(start.elapsed() >= limit, "{limit:?}");
        }
    }

    #[test]
    fn an_event_ends_a_sleep_before_its_time_which_does_not_end_the_next_one() {
        let bell = bell();
        let epoll = Epoll::new(bell.as_fd()).unwrap();
        for limit in [Duration::from_millis(5), SECOND, Duration::MAX] {
            ring(&bell);
            assert_eq!(epoll.sleep(Some(limit)), Woken::Event);
        }
        ring(&bell);
        assert_eq!(epoll.sleep(None), Woken::Event);
        let start = Instant::now();
        assert_eq!(epoll.sleep(Some(Duration::from_millis(20))), Woken::Time);
        assert!(start.elapsed() >= Duration::from_millis(20), "no earlier time is left");
    }
}
