//! Rate-limited log lines about front ends and guests, which may come, go and fail as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two lines of one kind of an endpoint.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The kinds of line of an endpoint.
#[derive(Default)]
pub(crate) struct Log {
    /// A front end has connected.
    pub(crate) came: Limit,
    /// Another front end has connected meanwhile, and waits.
    pub(crate) waits: Limit,
    /// The front end has sent no message.
    pub(crate) silent: Limit,
    /// The front end has left.
    pub(crate) left: Limit,
    /// The front end was cut off for a fault.
    pub(crate) fault: Limit,
    /// A ring was broken by its guest.
    pub(crate) broken: Limit,
    /// A ring waits for its memory.
    pub(crate) waiting: Limit,
    /// A region of memory is in a file that is not mapped.
    pub(crate) unmapped: Limit,
    /// A core has waited for its memory.
    pub(crate) costly: Limit,
    /// No front end can be accepted.
    pub(crate) deaf: Limit,
}

/// Rate limit of one kind of line: the time of the last one.
#[derive(Default)]
pub(crate) struct Limit(Mutex<Option<Instant>>);

impl Limit {
    /// Logs a line, unless the last one was less than [`INTERVAL_MIN`] ago.
    pub(crate) fn line(&self, write: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= INTERVAL_MIN) {
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
