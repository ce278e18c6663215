//! Memory of a client, as the watch of memory that keeps cores waiting sees it.

use luge_core::ThreadBell;
use luge_endpoint::{MemoryUser, watch_memory};
use luge_memory::GuestMemory;
use luge_memory::stall::Stalls;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Whether the client's queues are to leave the cores. Two may ask for it at the same time: the watch, and the
/// connection when the client maps memory that has kept a core waiting before.
#[derive(Default)]
enum Departure {
    #[default]
    NotAsked,
    Asked(Stalls),
    Told,
}

/// Memory of a client, for other threads than its connection's. Watched until it is dropped.
pub(super) struct WatchedMemory {
    table: Mutex<Arc<GuestMemory>>,
    departure: Mutex<Departure>,
    /// Bell of the connection's thread.
    bell: ThreadBell,
}

impl WatchedMemory {
    /// Watches the memory of a client, which has none yet.
    ///
    /// # Errors
    /// No more files can be open.
    pub(super) fn watch() -> io::Result<Arc<Self>> {
        let bell = ThreadBell::new()?;
        let watched = Arc::new(Self { table: Mutex::default(), departure: Mutex::default(), bell });
        let user: Weak<Self> = Arc::downgrade(&watched);
        watch_memory(user);
        Ok(watched)
    }

    /// Replaces the memory.
    pub(super) fn replace(&self, table: &Arc<GuestMemory>) {
        let before = std::mem::replace(&mut *lock(&self.table), table.clone());
        // Without the lock: it may be the last to unmap it.
        drop(before);
    }

    /// Waits for which the client's queues are to leave the cores, once. Hushes the bell.
    pub(super) fn take(&self) -> Option<Stalls> {
        self.bell.hush();
        let mut departure = lock(&self.departure);
        let Departure::Asked(stalls) = *departure else { return None };
        *departure = Departure::Told;
        Some(stalls)
    }

    /// Descriptor that is readable when [`Self::take`] has something.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl MemoryUser for WatchedMemory {
    fn stalls(&self) -> Stalls {
        let table = lock(&self.table).clone();
        table.stalls()
    }

    fn leave_cores(&self, stalls: Stalls) {
        let mut departure = lock(&self.departure);
        if matches!(*departure, Departure::NotAsked) {
            *departure = Departure::Asked(stalls);
            self.bell.ring();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
