//! Page faults that keep a core waiting.
//!
//! Path: none; a core asks after a turn that took much too long.
//!
//! Who shares memory can make an access to it slow: by punching a hole in its file, which makes every fault
//! there wait until the hole is made, or by pages that are large and not there yet. The kernel logs the
//! faults of a core's thread ([`FaultLog`]), so that a core knows after a long turn which memory it was, and
//! it says so ([`note`]): the memory's owners read it ([`crate::GuestMemory::stalls`]) when the alarm tells them to
//! ([`alarm`]).
//!
//! Invariant: a thread that lost its CPU to another one has not waited for memory.
//!
//! Not here: what is done with who owns the memory (`vhost`).

mod event;
mod log;
mod records;

use crate::fault::find_range;
pub use log::{FaultLog, PageFault};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

/// Waits of cores for a piece of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stalls {
    /// Their number.
    pub count: u64,
    /// The longest of them.
    pub longest: Duration,
}

impl Stalls {
    /// Stalls of two pieces of memory.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let count = self.count.saturating_add(other.count);
        Self { count, longest: self.longest.max(other.longest) }
    }
}

/// Notes a fault that kept a core waiting; returns whether it was in memory that a peer shares. Sets off the
/// alarm then.
pub fn note(fault: &PageFault) -> bool {
    let Some(range) = find_range(fault.address) else { return false };
    range.stall(fault.took);
    if let Some(alarm) = alarm() {
        // It fails only if it was written 2^64 times before.
        let _ = rustix::io::write(alarm, &1_u64.to_ne_bytes());
    }
    true
}

/// Eventfd that is readable after memory of some peer has kept a core waiting; none if the process has no
/// descriptor left for it.
pub fn alarm() -> Option<BorrowedFd<'static>> {
    static ALARM: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let made = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
    ALARM.get_or_init(made).as_ref().map(AsFd::as_fd)
}
