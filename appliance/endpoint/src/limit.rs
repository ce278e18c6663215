//! Rate-limited log lines about peers, which may come, go and fail as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two lines of one kind of an endpoint.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Rate limit of one kind of line: the time of the last one.
#[derive(Default)]
pub struct Limit(Mutex<Option<Instant>>);

impl Limit {
    /// Logs a line, unless the last one was less than a second ago.
    pub fn line(&self, write: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= INTERVAL_MIN) {
            *last = Some(Instant::now());
            write();
        }
    }
}

/// Limits of the lines about the peers of an endpoint.
#[derive(Default)]
pub(crate) struct Log {
    /// A peer has connected.
    pub(crate) came: Limit,
    /// Another peer has connected meanwhile, and waits or is refused.
    pub(crate) waits: Limit,
    /// The peer has sent no message.
    pub(crate) silent: Limit,
    /// The peer has left.
    pub(crate) left: Limit,
    /// The peer was cut off for a fault.
    pub(crate) fault: Limit,
    /// No peer can be accepted.
    pub(crate) deaf: Limit,
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
