//! A request to a connection to stop between two messages.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A request to stop, which a connection waits for beside its messages.
pub struct Quit {
    asked: OwnedFd,
    is_heard: Mutex<bool>,
    heard: Condvar,
}

impl Quit {
    /// A request that nobody has made.
    ///
    /// # Errors
    /// No more files can be open.
    pub fn new() -> io::Result<Self> {
        let asked = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { asked, is_heard: Mutex::new(false), heard: Condvar::new() })
    }

    /// Asks the connection to stop; returns whether it has heard that within `timeout`.
    pub(crate) fn ask(&self, timeout: Duration) -> bool {
        // It fails only after 2^64 signals that nobody has read.
        let _ = rustix::io::write(&self.asked, &1_u64.to_ne_bytes());
        let is_heard = self.is_heard.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(is_heard, timeout, |is_heard| !*is_heard);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Notes that the connection reads no more messages, whatever the reason.
    pub fn hear(&self) {
        *self.is_heard.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_all();
    }
}

impl AsFd for Quit {
    /// Descriptor that is readable once the connection is asked to stop.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.asked.as_fd()
    }
}
