//! When a core stops polling, and how it wakes.
//!
//! ```text
//!  (1) polling --nothing for as long as its patience, nothing in flight--> (2) arming
//!  (2) arming  --a session or the mailbox has something--> (1)
//!  (2) arming  --all quiet--> (3) asleep in epoll
//!  (3) asleep  --a kick or an errand--> (1)
//! ```
//!
//! While an SSD has requests the core keeps polling, but lets others have the CPU.
//!
//! Patience adapts. A sleep that more polling would have spared the guest doubles it: a guest
//! that pauses for half a millisecond between requests finds the core awake. A long sleep halves
//! it: a guest that is mostly idle costs little.

use crate::mailbox::Mailbox;
use rustix::event::epoll;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a core polls for nothing before it sleeps: at first, at least, and at most.
const PATIENCE: Duration = Duration::from_micros(100);
const PATIENCE_MIN: Duration = Duration::from_micros(25);
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// Idle turns after which the other half of the processor gets its share: a pause of some 50 ns
/// for each turn, which a guest with one request at a time would wait for.
const EAGER: u32 = 256;

/// Idle turns between two looks at the clock.
const LOOK_EVERY: u32 = 64;

/// Where a core sleeps.
pub(crate) struct Bed {
    epoll: OwnedFd,
}

impl Bed {
    pub(crate) fn new(mailbox: &Mailbox) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, mailbox.bell(), epoll::EventData::new_u64(u64::MAX), edges)?;
        Ok(Self { epoll })
    }

    /// Until something rings.
    pub(crate) fn sleep(&self) {
        let mut events = [MaybeUninit::uninit(); 16];
        // Interrupted by a signal: as good as a ring, the turn finds nothing.
        let _ = epoll::wait(&self.epoll, &mut events, None);
    }
}

impl AsFd for Bed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// How long nothing has happened, and how long that may go on.
#[derive(Debug)]
pub(crate) struct Idleness {
    turns: u32,
    since: Option<Instant>,
    patience: Duration,
}

impl Default for Idleness {
    fn default() -> Self {
        Self { turns: 0, since: None, patience: PATIENCE }
    }
}

impl Idleness {
    /// Something has happened.
    #[inline]
    pub(crate) fn end(&mut self) {
        (self.turns, self.since) = (0, None);
    }

    /// One idle turn more; whether it has been long enough to sleep.
    pub(crate) fn turn(&mut self) -> bool {
        self.turns = self.turns.wrapping_add(1);
        if self.turns > EAGER {
            std::hint::spin_loop();
        }
        if !self.turns.is_multiple_of(LOOK_EVERY) {
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= self.patience
    }

    /// The core has slept so long.
    pub(crate) fn slept(&mut self, asleep: Duration) {
        let patience = if asleep < PATIENCE_MAX { self.patience * 2 } else { self.patience / 2 };
        self.patience = patience.clamp(PATIENCE_MIN, PATIENCE_MAX);
        self.end();
    }

    /// How long it polls for nothing before it sleeps.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sleeps_make_a_core_poll_longer_and_long_ones_shorter() {
        let mut idleness = Idleness::default();
        (0..10).for_each(|_| idleness.slept(Duration::from_micros(300)));
        assert_eq!(idleness.patience(), PATIENCE_MAX);
        idleness.slept(Duration::from_secs(1));
        assert_eq!(idleness.patience(), PATIENCE_MAX / 2);
        (0..10).for_each(|_| idleness.slept(Duration::from_secs(1)));
        assert_eq!(idleness.patience(), PATIENCE_MIN);
    }

    #[test]
    fn a_core_is_patient_for_as_long_as_it_says() {
        let mut idleness = Idleness::default();
        let start = Instant::now();
        while !idleness.turn() {}
        assert!(start.elapsed() >= idleness.patience());
    }
}
