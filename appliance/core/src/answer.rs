//! An answer from a core to the one thread that waits for it: a push and an unpark on the core's
//! side, no lock.

use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::thread::{self, Thread};

struct Slot<R> {
    value: ArrayQueue<R>,
    waiter: Thread,
}

/// Sender of an answer: the core's side.
pub(crate) struct Answer<R>(Arc<Slot<R>>);

/// Receiver of an answer: the side of the thread that waits.
pub(crate) struct Question<R>(Arc<Slot<R>>);

/// Makes the two sides of an answer to the current thread.
pub(crate) fn question<R>() -> (Question<R>, Answer<R>) {
    let slot = Arc::new(Slot { value: ArrayQueue::new(1), waiter: thread::current() });
    (Question(slot.clone()), Answer(slot))
}

impl<R> Answer<R> {
    pub(crate) fn give(self, value: R) {
        // The queue has one place and this is consumed, so the push cannot fail.
        drop(self.0.value.push(value));
        self.0.waiter.unpark();
    }
}

impl<R> Question<R> {
    /// Waits, without end: a core that dies takes the process along.
    pub(crate) fn wait(self) -> R {
        loop {
            match self.0.value.pop() {
                Some(value) => return value,
                None => thread::park(),
            }
        }
    }
}
