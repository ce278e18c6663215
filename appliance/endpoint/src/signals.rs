//! Signals to the thread that accepts.

use luge_core::ThreadBell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
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
    bell: ThreadBell,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { ending: OnceLock::new(), bell: ThreadBell::new()? })
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
        self.bell.ring();
    }

    /// Takes the wake-ups so far.
    pub(crate) fn take(&self) {
        self.bell.hush();
    }
}

impl AsFd for Signals {
    /// Descriptor that is readable after a wake-up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
