//! Device side of one queue without data, for benchmarks of the driver.

use super::queues::{Completed, Submissions, low_half};
use luge_memory::SharedArray;
use luge_spec::nvme::{CompletionEntry, StatusCode};
use std::sync::atomic::Ordering;

/// Device side of one queue pair, which may be on a thread of its own. It must not outlive the queue pair.
pub struct NullPartner {
    submissions: Submissions,
    completions: Completed,
    doorbells: SharedArray<u32>,
    tail: u32,
}

impl NullPartner {
    pub(super) fn new(
        submissions: Submissions,
        completions: Completed,
        doorbells: SharedArray<u32>,
        tail: u32,
    ) -> Self {
        Self { submissions, completions, doorbells, tail }
    }

    /// Completes all commands up to the tail in the doorbell; returns their number.
    pub fn serve(&mut self) -> usize {
        let tail = low_half(self.doorbells.load(self.tail, Ordering::Acquire));
        let mask = self.submissions.entries - 1;
        let waiting = tail.wrapping_sub(self.submissions.head) & mask;
        for ahead in 0..waiting.min(16) {
            self.prefetch(ahead, mask);
        }
        for i in 0..waiting {
            if i + 16 < waiting {
                self.prefetch(16, mask);
            }
            let first = self.submissions.words.load(u32::from(self.submissions.head) * 8, Ordering::Relaxed);
            self.submissions.head = (self.submissions.head + 1) & mask;
            let entry = CompletionEntry {
                submission_head: self.submissions.head,
                submission_queue: self.submissions.completions,
                command_id: (first >> 16 & 0xffff) as u16,
                ..CompletionEntry::default()
            };
            self.completions.post(StatusCode::SUCCESS, entry);
        }
        waiting.into()
    }

    fn prefetch(&self, ahead: u16, mask: u16) {
        self.submissions.words.prefetch(u32::from((self.submissions.head + ahead) & mask) * 8);
    }
}
