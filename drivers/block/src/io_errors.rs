//! Reports of failed requests, from the channels of a device to a log.
//!
//! Path: none of a request that succeeds. A channel reports from the branch where one has failed; a
//! thread that may block takes the reports and logs them.
//!
//! Invariants
//! - A report neither waits nor allocates: where the place for it is taken, it is only counted.
//! - The first failure since the last look is kept whole; of the others, how many there were.
//!
//! Not here: the counts of a volume (`volume`), who logs (`luge`).

use crate::{Lba, Operation, Status};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A request that failed, as the device knew it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoError {
    /// Operation and blocks; none where the device no longer knew.
    pub request: Option<FailedRequest>,
    /// Status that it ended with.
    pub status: Status,
}

/// Operation and blocks of a request that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedRequest {
    /// Operation.
    pub operation: Operation,
    /// The first block, or the first one that was not done.
    pub lba: Lba,
    /// The number of blocks from there.
    pub blocks: u32,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.request {
            Some(request) => write!(f, "{request} failed: {}", self.status),
            None => write!(f, "a request failed: {}", self.status),
        }
    }
}

impl fmt::Display for FailedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, lba: Lba(first), blocks } = *self;
        match blocks {
            _ if operation.is_flush() => write!(f, "{operation}"),
            0 | 1 => write!(f, "{operation} of LBA {first}"),
            _ => write!(f, "{operation} of LBA {first} to {}", first.saturating_add(u64::from(blocks - 1))),
        }
    }
}

/// The failures of one device, on all its channels.
#[derive(Debug, Default)]
pub struct IoErrors {
    first: Mutex<Option<IoError>>,
    /// Failures since the last look.
    count: AtomicU64,
}

impl IoErrors {
    /// Reports a failure; `error` is called only if there is a place for what it tells.
    #[cold]
    pub fn report(&self, error: impl FnOnce() -> IoError) {
        self.count.fetch_add(1, Ordering::Relaxed);
        // Whoever has the lock is in the middle of a look, or of another report.
        if let Ok(mut first) = self.first.try_lock() {
            first.get_or_insert_with(error);
        }
    }

    /// The first failure since the last look, and how many there were.
    pub fn take(&self) -> Option<(IoError, u64)> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((first, self.count.swap(0, Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(lba: u64) -> IoError {
        let request = FailedRequest { operation: Operation::Read, lba: Lba(lba), blocks: 8 };
        IoError { request: Some(request), status: Status::MediaError }
    }

    #[test]
    fn the_first_failure_is_told_with_the_number_of_all() {
        let errors = IoErrors::default();
        assert_eq!(errors.take(), None);
        (0..5).for_each(|lba| errors.report(|| error(lba)));
        assert_eq!(errors.take(), Some((error(0), 5)));
        assert_eq!(errors.take(), None);
        errors.report(|| error(9));
        assert_eq!(errors.take(), Some((error(9), 1)));
    }

    #[test]
    fn a_failure_is_told_in_words() {
        let lost = Status::MediaError;
        assert_eq!(error(77).to_string(), format!("read of LBA 77 to 84 failed: {lost}"));
        let told = |operation, blocks| {
            let request = FailedRequest { operation, lba: Lba(5), blocks };
            IoError { request: Some(request), status: Status::Gone }.to_string()
        };
        assert_eq!(told(Operation::Discard, 1), "discard of LBA 5 failed: the device is gone");
        assert_eq!(told(Operation::Flush, 0), "flush failed: the device is gone");
        let unknown = IoError { request: None, status: Status::Aborted };
        assert_eq!(unknown.to_string(), "a request failed: the device was reset");
    }

    #[test]
    fn a_report_during_a_look_does_not_wait() {
        let errors = IoErrors::default();
        let look = errors.first.lock().unwrap();
        errors.report(|| error(1));
        drop(look);
        errors.report(|| error(2));
        assert_eq!(errors.take(), Some((error(2), 2)));
    }
}
