//! Front ends whose memory keeps cores waiting: their rings leave the cores.
//!
//! ```text
//!   core --a long turn: whose memory was it?--> stall::note --> alarm
//!   thread "memory-watch" --alarm--> front ends whose memory has stalls --> a thread each: leave_cores
//! ```
//!
//! Invariant: a front end that takes long to leave its cores delays no other.

use super::front_end::FrontEnd;
use super::shared_now::SharedNow;
use luge_memory::stall::{self, Stalls};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread;

/// A front end, as the watch knows it.
struct Watched {
    memory: Weak<SharedNow>,
    front_end: Weak<Mutex<FrontEnd>>,
    is_moved: bool,
}

impl Watched {
    fn is_there(&self) -> bool {
        self.memory.strong_count() > 0
    }
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Watches a front end until it is dropped.
pub(super) fn watch(front_end: &Arc<Mutex<FrontEnd>>) {
    static THREAD: Once = Once::new();
    THREAD.call_once(|| {
        let Some(alarm) = stall::alarm() else { return };
        // Without it front ends stay on their cores, as where the kernel has no log of faults.
        let _ = thread::Builder::new().name("memory-watch".into()).spawn(move || wait_for(alarm));
    });
    let memory = Arc::downgrade(lock(front_end).shared_now());
    let mut watched = lock(&WATCHED);
    watched.retain(Watched::is_there);
    watched.push(Watched { memory, front_end: Arc::downgrade(front_end), is_moved: false });
}

fn wait_for(alarm: BorrowedFd<'static>) {
    loop {
        // Interrupted or out of memory: another look, no worse than one too many.
        let _ = poll(&mut [PollFd::new(&alarm, PollFlags::IN)], None);
        let _ = rustix::io::read(alarm, &mut [0; 8]);
        move_costly();
    }
}

/// Moves the front ends whose memory has kept a core waiting and that were not moved yet.
fn move_costly() {
    let mut watched = lock(&WATCHED);
    watched.retain(Watched::is_there);
    for watched in watched.iter_mut().filter(|watched| !watched.is_moved) {
        let stalls = watched.memory.upgrade().map_or(Stalls::default(), |memory| memory.stalls());
        if stalls.count > 0 {
            let front_end = watched.front_end.clone();
            let mover = thread::Builder::new().name("memory-move".into());
            let started = mover.spawn(move || {
                if let Some(front_end) = front_end.upgrade() {
                    lock(&front_end).leave_cores(stalls);
                }
            });
            // Without a thread: at the next alarm.
            watched.is_moved = started.is_ok();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
