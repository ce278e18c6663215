//! The time stamp counter: what volumes and cores measure time in.

#![expect(unsafe_code, reason = "the time stamp counter is read by an intrinsic")]

use std::cell::Cell;

/// The time stamp counter of this CPU; all CPUs of a machine show the same time.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has a time stamp counter, and user space may read it on Linux.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The time stamp counter, read once for all that happens at about the same time.
#[derive(Default)]
pub(crate) struct Clock(Cell<u64>);

impl Clock {
    /// The time when it was first asked for since [`Self::pass`].
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        if self.0.get() == 0 {
            self.0.set(ticks());
        }
        self.0.get()
    }

    /// What comes is later.
    #[inline]
    pub(crate) fn pass(&self) {
        self.0.set(0);
    }
}
