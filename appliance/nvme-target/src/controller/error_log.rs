//! Error log. Base 2.0, clause 5.16.1.2.

use super::limits::ERROR_LOG_ENTRIES;
use luge_spec::nvme::ErrorEntry;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A command that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// Submission queue of the command.
    pub queue: u16,
    /// Identifier of the command.
    pub command: u16,
    /// Status, as in the completion, with a phase tag of zero.
    pub status: u16,
    /// Namespace.
    pub namespace: u32,
    /// First block of an I/O command.
    pub lba: u64,
}

/// Errors of a controller: the last ones, and the number of all. Resets leave it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ErrorLog {
    count: u64,
    records: VecDeque<ErrorRecord>,
}

impl ErrorLog {
    /// Adds an error.
    pub(crate) fn add(&mut self, record: ErrorRecord) {
        self.count = self.count.saturating_add(1);
        self.records.truncate(usize::from(ERROR_LOG_ENTRIES).saturating_sub(1));
        self.records.push_front(record);
    }

    /// Counts errors of which nothing else is known. They have no entries, as those that have left the log.
    pub(crate) fn add_unknown(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
    }

    /// Number of all errors.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Entries of the log, the last error first.
    pub(crate) fn entries(&self) -> Vec<ErrorEntry> {
        let entries = (0_u64..).zip(&self.records).map(|(age, record)| ErrorEntry {
            count: self.count.saturating_sub(age),
            submission_queue: record.queue,
            command_id: record.command,
            status: record.status,
            parameter: u16::MAX,
            namespace: record.namespace,
            lba: record.lba,
            ..ErrorEntry::default()
        });
        entries.chain(std::iter::repeat(ErrorEntry::default())).take(ERROR_LOG_ENTRIES.into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(command: u16) -> ErrorRecord {
        ErrorRecord { queue: 0, command, status: 2 << 1, namespace: 1, lba: 5 }
    }

    #[test]
    fn the_last_error_comes_first_and_errors_are_numbered_from_one() {
        let mut log = ErrorLog::default();
        log.add(record(7));
        log.add(record(8));
        let entries = log.entries();
        assert_eq!(entries.len(), 64);
        assert_eq!(entries[0].count, 2);
        assert_eq!(entries[0].command_id, 8);
        assert_eq!(entries[1].count, 1);
        assert_eq!(entries[2], ErrorEntry::default());
    }

    #[test]
    fn old_errors_leave_and_are_still_counted() {
        let mut log = ErrorLog::default();
        (0..100).for_each(|command| log.add(record(command)));
        let entries = log.entries();
        assert_eq!(log.count(), 100);
        assert_eq!(entries[0].count, 100);
        assert_eq!(entries[63].count, 37);
        assert_eq!(entries[63].command_id, 36);
    }
}
