//! When a core stops polling, and how it wakes.
//!
//! ```text
//!  (1) polling --nothing for IDLE_BEFORE_SLEEP, nothing in flight--> (2) arming
//!  (2) arming  --a session or the mailbox has something--> (1)
//!  (2) arming  --all quiet--> (3) asleep in epoll
//!  (3) asleep  --a kick or an errand--> (1)
//! ```
//!
//! While an SSD has requests the core keeps polling, but lets others have the CPU.

use crate::mailbox::Mailbox;
use rustix::event::epoll;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longer than the gap between two requests of a busy guest, short against a wake-up's cost.
const IDLE_BEFORE_SLEEP: Duration = Duration::from_micros(100);

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

/// How long nothing has happened.
#[derive(Default)]
pub(crate) struct Idleness {
    turns: u32,
    since: Option<Instant>,
}

impl Idleness {
    #[inline]
    pub(crate) fn end(&mut self) {
        (self.turns, self.since) = (0, None);
    }

    /// One idle turn more; whether it has been long enough to sleep.
    pub(crate) fn turn(&mut self) -> bool {
        std::hint::spin_loop();
        self.turns = self.turns.wrapping_add(1);
        if !self.turns.is_multiple_of(LOOK_EVERY) {
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() >= IDLE_BEFORE_SLEEP
    }
}
