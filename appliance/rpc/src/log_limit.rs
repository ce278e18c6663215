//! Limit on log lines that clients cause: they call and fail as fast as they like, and must not fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Interval for which lines are counted.
const INTERVAL: Duration = Duration::from_secs(10);

/// Limit on lines of one kind.
pub(crate) struct LogLimit {
    kind: &'static str,
    lines_max: u64,
    count: Mutex<Count>,
}

/// Lines of the present interval.
struct Count {
    since: Option<Instant>,
    lines: u64,
}

impl LogLimit {
    /// Limit of `lines_max` lines in 10 s.
    pub(crate) const fn new(kind: &'static str, lines_max: u64) -> Self {
        Self { kind, lines_max, count: Mutex::new(Count { since: None, lines: 0 }) }
    }

    /// Logs a line by `write`, unless there were too many; the next line after the interval tells their number.
    pub(crate) fn line(&self, write: impl FnOnce()) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if count.since.is_none_or(|since| since.elapsed() >= INTERVAL) {
            let left_out = count.lines.saturating_sub(self.lines_max);
            if left_out > 0 {
                tracing::info!("{left_out} lines about {} were left out", self.kind);
            }
            *count = Count { since: Some(Instant::now()), lines: 0 };
        }
        count.lines = count.lines.saturating_add(1);
        if count.lines <= self.lines_max {
            drop(count);
            write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_at_once_the_first_are_logged() {
        let (limit, mut lines) = (LogLimit::new("tests", 3), 0);
        (0..100).for_each(|_| limit.line(|| lines += 1));
        assert_eq!(lines, 3);
    }
}
