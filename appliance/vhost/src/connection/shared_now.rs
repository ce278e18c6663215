//! Memory that a front end shares at a moment, for threads that must not wait for its connection.

use super::inflight::Tracking;
use luge_memory::stall::Stalls;
use luge_memory::{GuestMemory, PeerMemory};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory that a front end shares now.
#[derive(Default)]
struct Shares {
    guest: Arc<GuestMemory>,
    tracking: Option<Arc<PeerMemory>>,
}

/// Memory that a front end shares, for other threads than its own.
#[derive(Default)]
pub(super) struct SharedNow(Mutex<Shares>);

impl SharedNow {
    /// Replaces the guest's memory.
    pub(super) fn set_guest(&self, memory: &Arc<GuestMemory>) {
        let before = std::mem::replace(&mut self.lock().guest, memory.clone());
        // Without the lock: it may be the last to unmap it.
        drop(before);
    }

    /// Replaces the memory for requests in flight.
    pub(super) fn set_tracking(&self, tracking: Option<&Tracking>) {
        let new = tracking.map(Tracking::memory).cloned();
        let before = std::mem::replace(&mut self.lock().tracking, new);
        drop(before);
    }

    /// Waits of cores for any of it.
    pub(super) fn stalls(&self) -> Stalls {
        let shares = self.lock();
        let tracking = shares.tracking.as_ref().map(|memory| memory.stalls());
        shares.guest.stalls().and(tracking.unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
