//! The gate of a nexus: whether cores may serve its commands.

use std::sync::atomic::{AtomicU8, Ordering};

/// Reason why commands go to the device server, although they are for cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Closed {
    /// The initiator has to be told something first.
    Attention = 1 << 0,
    /// The path is in transition.
    Transition = 1 << 1,
    /// The unit is stopped.
    Stopped = 1 << 2,
}

/// A word that cores load before they serve a command of a nexus. Closed while the device server has to see every
/// command.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Gate(AtomicU8);

impl Gate {
    /// A gate that nobody opens.
    #[must_use]
    pub const fn closed() -> Self {
        Self(AtomicU8::new(u8::MAX))
    }

    /// Whether a core may serve commands itself.
    ///
    /// Relaxed: a command that came before the gate was closed may be served by either.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Adds a reason to be closed.
    pub(crate) fn close(&self, reason: Closed) {
        self.0.fetch_or(reason as u8, Ordering::Relaxed);
    }

    /// Removes a reason to be closed.
    pub(crate) fn open(&self, reason: Closed) {
        self.0.fetch_and(!(reason as u8), Ordering::Relaxed);
    }
}
