//! What is logged of front ends and guests. They come and go and fail as fast as they like,
//! and must not fill the log: a line of each kind now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line of one kind is logged this often at most, per endpoint.
const EVERY: Duration = Duration::from_secs(1);

/// The kinds of line of an endpoint.
#[derive(Default)]
pub(crate) struct Log {
    /// A front end has come.
    pub(crate) came: Limit,
    /// Another one has come meanwhile.
    pub(crate) waits: Limit,
    /// Silent: nothing was received.
    pub(crate) silent: Limit,
    /// It has left.
    pub(crate) left: Limit,
    /// It was at fault.
    pub(crate) fault: Limit,
    /// A ring was broken by its guest.
    pub(crate) broken: Limit,
    /// A ring waits for its memory.
    pub(crate) waiting: Limit,
    /// A region of memory is in a file that is not mapped.
    pub(crate) unmapped: Limit,
    /// A core has waited for its memory.
    pub(crate) costly: Limit,
    /// The next one has to wait.
    pub(crate) penalty: Limit,
    /// No front end can be accepted.
    pub(crate) deaf: Limit,
}

/// When a kind of line was last logged.
#[derive(Default)]
pub(crate) struct Limit(Mutex<Option<Instant>>);

impl Limit {
    /// Logs a line, unless there was one just now.
    pub(crate) fn line(&self, write: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= EVERY) {
            *last = Some(Instant::now());
            write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_at_once_one_is_logged() {
        let (limit, mut lines) = (Limit::default(), 0);
        (0..100).for_each(|_| limit.line(|| lines += 1));
        assert_eq!(lines, 1);
    }
}
