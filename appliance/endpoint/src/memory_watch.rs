//! Peers whose memory keeps cores waiting: their queues leave the cores.
//!
//! ```text
//!   core --a long turn: whose memory was it?--> stall::note --> alarm
//!   thread "memory-watch" --alarm--> peers whose memory has stalls --> a thread each: leave_cores
//! ```
//!
//! Invariant: a peer that takes long to leave its cores delays no other.

use luge_memory::stall::{self, Stalls};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread;

/// Peer whose memory is watched.
pub trait MemoryUser: Send + Sync {
    /// Waits of cores for memory that it shares now. Called by a thread that must not wait for the peer's connection.
    fn stalls(&self) -> Stalls;

    /// Moves its queues off the cores. Called once, on a thread of its own.
    fn leave_cores(&self, stalls: Stalls);
}

/// A peer, as the watch knows it.
struct Watched {
    user: Weak<dyn MemoryUser>,
    is_moved: bool,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Watches the memory of a peer until the peer is dropped.
pub fn watch_memory(user: Weak<dyn MemoryUser>) {
    static THREAD: Once = Once::new();
    THREAD.call_once(|| {
        let Some(alarm) = stall::alarm() else { return };
        // Without it peers stay on their cores, as where the kernel has no log of faults.
        let _ = thread::Builder::new().name("memory-watch".into()).spawn(move || wait_for(alarm));
    });
    let mut watched = watched();
    watched.retain(|watched| watched.user.strong_count() > 0);
    watched.push(Watched { user, is_moved: false });
}

fn wait_for(alarm: BorrowedFd<'static>) {
    loop {
        // Interrupted or out of memory: another look, no worse than one too many.
        let _ = poll(&mut [PollFd::new(&alarm, PollFlags::IN)], None);
        let _ = rustix::io::read(alarm, &mut [0; 8]);
        watched().iter_mut().filter(|watched| !watched.is_moved).for_each(Watched::move_if_costly);
    }
}

impl Watched {
    /// Moves the peer if its memory has kept a core waiting.
    fn move_if_costly(&mut self) {
        let stalls = self.user.upgrade().map_or(Stalls::default(), |user| user.stalls());
        if stalls.count == 0 {
            return;
        }
        let user = self.user.clone();
        let mover = thread::Builder::new().name("memory-move".into());
        let started = mover.spawn(move || user.upgrade().iter().for_each(|user| user.leave_cores(stalls)));
        // Without a thread: at the next alarm.
        self.is_moved = started.is_ok();
    }
}

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
