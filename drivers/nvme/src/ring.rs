//! The two rings of a queue pair, as the host sees them. Base 2.0, clause 3.3.1.
//!
//! Path: session -> volume -> channel -> **rings** -> SSD.
//!
//! Invariants
//! - Rings have a power of two of entries; head and tail are masked where they move, so they are
//!   always inside.
//! - A completion is used only after its phase tag was loaded (Acquire) as the expected one.
//! - The controller's claims (SQHD) move nothing that was not submitted.
//!
//! Not here: doorbells (`channel`, `admin`), command identifiers (`slots`).

use crate::Fault;
use luge_memory::{SharedArray, Span};
use luge_spec::nvme::{CompletionEntry, SubmissionEntry};
use std::sync::atomic::Ordering;

/// A submission ring: we write at the tail, the controller fetches at the head.
pub(crate) struct SubmissionRing {
    entries: SharedArray<[u64; 8]>,
    memory: Span,
    mask: u16,
    tail: u16,
    /// The tail that the controller was told.
    rung: u16,
    /// The head that the controller last told.
    head: u16,
}

impl SubmissionRing {
    /// A ring of `entries` entries, a power of two, in memory that is aligned to a page.
    pub(crate) fn new(memory: Span, entries: u16) -> Self {
        let mask = entries.wrapping_sub(1);
        let places: SharedArray<[u64; 8]> = SharedArray::new(memory).expect("rings are aligned to pages");
        assert!(entries.is_power_of_two() && places.len() >= u32::from(entries));
        Self { entries: places, memory, mask, tail: 0, rung: 0, head: 0 }
    }

    /// As after creation: empty, all zeroes.
    pub(crate) fn reset(&mut self) {
        self.memory.fill(0);
        (self.tail, self.rung, self.head) = (0, 0, 0);
    }

    /// How many entries can be added. One less than the ring has: a full ring would look empty.
    #[inline]
    pub(crate) fn space(&self) -> u16 {
        self.head.wrapping_sub(self.tail).wrapping_sub(1) & self.mask
    }

    /// Adds an entry; there must be space.
    #[inline]
    pub(crate) fn push(&mut self, entry: SubmissionEntry) {
        // Relaxed: the doorbell (Release) publishes the entry.
        self.entries.store(self.tail.into(), entry.to_words(), Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1) & self.mask;
    }

    /// The entry that was added last under a command identifier, if the ring still holds it: for a
    /// command in flight it is that command's, since whatever overwrites it overwrote older ones first.
    #[cold]
    pub(crate) fn find(&self, command_id: u16) -> Option<SubmissionEntry> {
        (1..=self.mask)
            .map(|back| self.tail.wrapping_sub(back) & self.mask)
            .map(|place| SubmissionEntry::from_words(self.entries.load(place.into(), Ordering::Relaxed)))
            .find(|entry| entry.command_id == command_id)
    }

    /// The tail for the doorbell, if the controller was told another one last.
    #[inline]
    pub(crate) fn take_tail(&mut self) -> Option<u16> {
        let tail = self.tail;
        (std::mem::replace(&mut self.rung, tail) != tail).then_some(tail)
    }

    /// Believes the controller's head if it is between the last one and what it was told.
    #[inline]
    pub(crate) fn fetched_to(&mut self, head: u16) -> Result<(), Fault> {
        let claimed = head.wrapping_sub(self.head) & self.mask;
        let possible = self.rung.wrapping_sub(self.head) & self.mask;
        if head > self.mask || claimed > possible {
            return Err(Fault::HeadOutOfRange);
        }
        self.head = head;
        Ok(())
    }
}

/// A completion ring: the controller writes, we read at the head.
pub(crate) struct CompletionRing {
    words: SharedArray<u64>,
    memory: Span,
    mask: u16,
    head: u16,
    /// The phase tag of an entry that is new.
    phase: bool,
}

impl CompletionRing {
    /// As [`SubmissionRing::new`].
    pub(crate) fn new(memory: Span, entries: u16) -> Self {
        let words = SharedArray::new(memory).expect("rings are aligned to pages");
        assert!(entries.is_power_of_two() && words.len() >= u32::from(entries).wrapping_mul(2));
        Self { words, memory, mask: entries.wrapping_sub(1), head: 0, phase: true }
    }

    /// As after creation: empty, all zeroes, so that no phase tag is the expected one.
    pub(crate) fn reset(&mut self) {
        self.memory.fill(0);
        (self.head, self.phase) = (0, true);
    }

    /// Takes the next completion, if there is one.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<CompletionEntry> {
        let (head, phase) = (self.head, self.phase);
        let second = u32::from(head).wrapping_mul(2).wrapping_add(1);
        // Acquire: what the controller wrote before the phase tag (data, first word) is there after it.
        let entry = CompletionEntry::from_words([0, self.words.load(second, Ordering::Acquire)]);
        if entry.status.phase() != phase {
            return None;
        }
        self.head = head.wrapping_add(1) & self.mask;
        self.phase = phase ^ (self.head == 0);
        Some(entry)
    }

    /// DW0 and DW1 of the completion taken last.
    pub(crate) fn last_result(&self) -> u64 {
        let last = self.head.wrapping_sub(1) & self.mask;
        self.words.load(u32::from(last).wrapping_mul(2), Ordering::Relaxed)
    }

    /// The head, for the doorbell.
    #[inline]
    pub(crate) fn head(&self) -> u16 {
        self.head
    }

    /// Asks the CPU to bring the next completion near.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.words.prefetch(u32::from(self.head).wrapping_mul(2));
    }
}
