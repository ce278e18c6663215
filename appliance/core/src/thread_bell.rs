//! The bell of a thread that waits for several things at once.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Eventfd by which other threads, and cores, wake one that polls it. It stays with this process, so that ringing it
/// waits for nobody.
pub struct ThreadBell(OwnedFd);

impl ThreadBell {
    /// Makes a bell that is silent.
    ///
    /// # Errors
    /// That of the kernel, if no eventfd is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings the bell: it is readable until [`Self::hush`].
    pub fn ring(&self) {
        // It fails only when the counter is full, and then the bell has rung.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes the bell silent. Whatever comes afterwards rings it again: call it before you look for what has come.
    pub fn hush(&self) {
        // It fails only if nothing has rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for ThreadBell {
    /// Descriptor that is readable while the bell rings.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
