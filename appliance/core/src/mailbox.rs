//! Work for a core: a bounded queue of tasks, and a bell for when it sleeps.

use crate::thread_bell::ThreadBell;
use crossbeam_queue::ArrayQueue;
use luge_volume::Wake;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread;

/// Work of the control plane on a core `C`, done between two turns.
pub(crate) type Task<C> = Box<dyn FnOnce(&mut C) + Send>;

/// Most tasks that wait at once; whoever sends more waits for room.
const CAPACITY: usize = 64;

/// The bell of a core that sleeps. Whoever rings it has stored before what the core is to see.
pub(crate) struct Bell {
    asleep: AtomicBool,
    thread: ThreadBell,
}

impl Bell {
    fn new() -> io::Result<Self> {
        Ok(Self { asleep: AtomicBool::new(false), thread: ThreadBell::new()? })
    }

    fn ring(&self) {
        // Either this load sees the core asleep, or the core's check after it said so sees what was stored.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.thread.ring();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.thread.as_fd()
    }
}

/// A bell that other cores ring: the eventfd is ours alone, so that a write does not wait.
pub(crate) struct Ringer(pub(crate) Arc<Bell>);

impl Wake for Ringer {
    fn wake(&self) {
        self.0.ring();
    }
}

/// Tasks on their way to a core `C`.
pub(crate) struct Mailbox<C> {
    tasks: ArrayQueue<Task<C>>,
    bell: Arc<Bell>,
}

impl<C> Mailbox<C> {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { tasks: ArrayQueue::new(CAPACITY), bell: Arc::new(Bell::new()?) })
    }

    /// Adds a task and wakes the core. May wait for room.
    pub(crate) fn send(&self, mut task: Task<C>) {
        while let Err(back) = self.tasks.push(task) {
            task = back;
            thread::yield_now();
        }
        self.bell.ring();
    }

    #[inline]
    pub(crate) fn next(&self) -> Option<Task<C>> {
        if self.tasks.is_empty() { None } else { self.tasks.pop() }
    }

    /// Says that the core is about to sleep; returns whether it may, as far as tasks go. What else may ring the bell
    /// is to be checked afterwards.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.bell.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.tasks.is_empty()
    }

    pub(crate) fn wake_up(&self) {
        self.bell.asleep.store(false, Ordering::Relaxed);
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}
