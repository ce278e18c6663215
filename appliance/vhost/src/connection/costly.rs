//! A front end, as the watch of memory that keeps cores waiting knows it.

use super::front_end::FrontEnd;
use super::shared_now::SharedNow;
use luge_endpoint::{MemoryUser, watch_memory};
use luge_memory::stall::Stalls;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A front end that is watched until this is dropped.
pub(super) struct Watched {
    memory: Arc<SharedNow>,
    front_end: Weak<Mutex<FrontEnd>>,
}

/// Watches the memory of a front end.
pub(super) fn watch(front_end: &Arc<Mutex<FrontEnd>>) -> Arc<Watched> {
    let memory = lock(front_end).shared_now().clone();
    let watched = Arc::new(Watched { memory, front_end: Arc::downgrade(front_end) });
    let user: Weak<Watched> = Arc::downgrade(&watched);
    watch_memory(user);
    watched
}

impl MemoryUser for Watched {
    fn stalls(&self) -> Stalls {
        self.memory.stalls()
    }

    fn leave_cores(&self, stalls: Stalls) {
        self.front_end.upgrade().iter().for_each(|front_end| lock(front_end).leave_cores(stalls));
    }
}

fn lock(front_end: &Mutex<FrontEnd>) -> MutexGuard<'_, FrontEnd> {
    front_end.lock().unwrap_or_else(PoisonError::into_inner)
}
