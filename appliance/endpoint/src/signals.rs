//! Signals to the thread that accepts.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// End of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All peers are cut off.
    CutOff,
    /// The peer that is served is left to another process; others are cut off.
    HandOver,
}

/// Signals to an acceptor, from its endpoint and from the connection it serves.
pub(crate) struct Signals {
    ending: OnceLock<Ending>,
    wake: OwnedFd,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { ending: OnceLock::new(), wake })
    }

    /// Ends the acceptor, and with it the connections. The first call counts.
    pub(crate) fn close(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.wake();
    }

    /// End that the acceptor is to have, if any.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.get().copied()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ending().is_some()
    }

    /// Wakes the acceptor.
    pub(crate) fn wake(&self) {
        // It fails only after 2^64 signals that nobody has read.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Takes the wake-ups so far.
    pub(crate) fn take(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }
}

impl AsFd for Signals {
    /// Descriptor that is readable after a wake-up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
