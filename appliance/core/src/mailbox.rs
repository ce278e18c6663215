//! Work for a core: a bounded queue of tasks, and a bell for when it sleeps.

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread;

/// Work of the control plane on a core `C`, done between two turns.
pub(crate) type Task<C> = Box<dyn FnOnce(&mut C) + Send>;

/// Most tasks that wait at once; whoever sends more waits for room.
const CAPACITY: usize = 64;

/// Tasks on their way to a core `C`.
pub(crate) struct Mailbox<C> {
    tasks: ArrayQueue<Task<C>>,
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl<C> Mailbox<C> {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { tasks: ArrayQueue::new(CAPACITY), asleep: AtomicBool::new(false), bell })
    }

    /// Adds a task and wakes the core. May wait for room.
    pub(crate) fn send(&self, mut task: Task<C>) {
        while let Err(back) = self.tasks.push(task) {
            task = back;
            thread::yield_now();
        }
        // Either this load sees the core asleep, or the core's check after it said so sees the task.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            // It only fails when the counter is full, and then the core is awake.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    #[inline]
    pub(crate) fn next(&self) -> Option<Task<C>> {
        if self.tasks.is_empty() { None } else { self.tasks.pop() }
    }

    /// Says that the core is about to sleep; returns whether it may.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.tasks.is_empty()
    }

    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
