//! Rings, device side.

use super::memory::Reach;
use luge_memory::SharedArray;
use luge_spec::nvme::{CompletionEntry, StatusCode, StatusField, SubmissionEntry};
use std::sync::atomic::Ordering;

/// Value of a doorbell register. The bits above are reserved.
pub(crate) const fn low_half(value: u32) -> u16 {
    (value & 0xffff) as u16
}

/// Status and DW0 of a completion.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub code: StatusCode,
    pub result: u32,
}

impl Answer {
    pub(crate) const fn success(result: u32) -> Self {
        Self { code: StatusCode::SUCCESS, result }
    }
}

impl From<StatusCode> for Answer {
    fn from(code: StatusCode) -> Self {
        Self { code, result: 0 }
    }
}

/// Submission queue, as the SSD sees it.
#[derive(Clone)]
pub(crate) struct Submissions {
    pub words: SharedArray<u64>,
    pub entries: u16,
    pub head: u16,
    pub completions: u16,
}

impl Submissions {
    pub(crate) fn new(reach: &Reach, iova: u64, entries: u16, completions: u16) -> Option<Self> {
        let words = SharedArray::new(reach.span(iova, u32::from(entries) * 64)?)?;
        Some(Self { words, entries, head: 0, completions })
    }

    /// Number of entries up to the tail that were not fetched.
    pub(crate) fn left(&self, tail: u16) -> u16 {
        (tail + self.entries - self.head) % self.entries
    }

    /// Fetches an entry; none where the head is at the tail, or the tail is beyond the queue.
    pub(crate) fn fetch(&mut self, tail: u16) -> Option<SubmissionEntry> {
        if self.head == tail || tail >= self.entries {
            return None;
        }
        let first = u32::from(self.head) * 8;
        let mut words = [0; 8];
        for (index, word) in (first..).zip(&mut words) {
            *word = self.words.load(index, Ordering::Relaxed);
        }
        self.head = (self.head + 1) % self.entries;
        Some(SubmissionEntry::from_words(words))
    }
}

/// Completion queue, as the SSD sees it.
#[derive(Clone)]
pub(crate) struct Completed {
    pub words: SharedArray<u64>,
    pub entries: u16,
    pub tail: u16,
    pub phase: bool,
}

impl Completed {
    pub(crate) fn new(reach: &Reach, iova: u64, entries: u16) -> Option<Self> {
        let words = SharedArray::new(reach.span(iova, u32::from(entries) * 16)?)?;
        Some(Self { words, entries, tail: 0, phase: true })
    }

    /// Whether another completion would overwrite one that the driver has not taken.
    pub(crate) fn full(&self, head: u16) -> bool {
        (self.tail + 1) % self.entries == head
    }

    /// Posts a completion with the right phase tag.
    pub(crate) fn post(&mut self, code: StatusCode, entry: CompletionEntry) {
        let entry = CompletionEntry { status: StatusField::new(code, self.phase), ..entry };
        let [low, high] = entry.to_words();
        let first = u32::from(self.tail) * 2;
        self.words.store(first, low, Ordering::Relaxed);
        // Release: the phase tag comes last.
        self.words.store(first + 1, high, Ordering::Release);
        self.tail = (self.tail + 1) % self.entries;
        self.phase ^= self.tail == 0;
    }

    /// Flips the phase tag of the next entry, so that it looks new.
    pub(crate) fn flip_phase(&self) {
        let at = u32::from(self.tail) * 2 + 1;
        let stale = self.words.load(at, Ordering::Relaxed);
        self.words.store(at, stale ^ 1 << 48, Ordering::Release);
    }
}
