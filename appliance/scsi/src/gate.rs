//! Gate between a nexus and the cores that serve its commands.

use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};

/// Gate between a nexus and the cores that serve its commands. While it is closed, every command goes to the device
/// server.
#[derive(Debug, Default)]
pub struct Gate(AtomicBool);

impl Gate {
    /// Whether cores may serve commands by themselves.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.load(Acquire)
    }

    /// Opens the gate.
    pub fn open(&self) {
        self.0.store(false, Release);
    }

    /// Closes the gate.
    pub fn close(&self) {
        self.0.store(true, Release);
    }
}
