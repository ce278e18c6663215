//! Number of recoveries of a controller, for threads that wait for one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of recoveries that have ended, whatever their outcome.
#[derive(Default)]
pub(crate) struct Recoveries {
    ended: Mutex<u64>,
    more: Condvar,
}

impl Recoveries {
    /// Number so far.
    pub(crate) fn count(&self) -> u64 {
        *self.lock()
    }

    /// Counts one that has ended.
    pub(crate) fn end(&self) {
        let mut ended = self.lock();
        *ended = ended.wrapping_add(1);
        self.more.notify_all();
    }

    /// Waits until there are more than `before`, but no longer than `timeout`; returns whether that is so.
    pub(crate) fn wait(&self, before: u64, timeout: Duration) -> bool {
        let waited = self.more.wait_timeout_while(self.lock(), timeout, |ended| *ended == before);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
