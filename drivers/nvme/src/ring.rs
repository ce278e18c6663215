//! Rings of a queue pair, host side. Base 2.0, clause 3.3.1.
//!
//! Path: session -> volume -> channel -> **rings** -> SSD.
//!
//! Invariants
//! - The number of entries is a power of two; head and tail are masked whenever they move, so that they are
//!   always inside of the ring.
//! - A completion is used only after its phase tag was loaded (Acquire) as the expected one.
//! - The head that the controller reports (SQHD) is accepted only between the last one and the tail in the doorbell.
//!
//! Not here: doorbells (`doorbells`, `registers`), command identifiers (`slots`).

use crate::Fault;
use luge_memory::{SharedArray, Span};
use luge_spec::nvme::{CompletionEntry, SubmissionEntry};
use std::sync::atomic::Ordering;

/// Submission ring: the driver writes entries at the tail, the controller fetches them at the head.
pub(crate) struct SubmissionRing {
    entries: SharedArray<[u64; 8]>,
    memory: Span,
    mask: u16,
    tail: u16,
    /// Tail that was last written to the doorbell.
    rung: u16,
    /// Number of entries up to that tail that the controller has not reported as fetched.
    unfetched: u16,
}

impl SubmissionRing {
    /// Makes a ring of `entries` entries, a power of two, in memory that is aligned to a page.
    pub(crate) fn new(memory: Span, entries: u16) -> Self {
        let mask = entries.wrapping_sub(1);
        let places: SharedArray<[u64; 8]> = SharedArray::new(memory).expect("rings are aligned to pages");
        assert!(entries.is_power_of_two());
        assert!(places.len() >= u32::from(entries));
        Self { entries: places, memory, mask, tail: 0, rung: 0, unfetched: 0 }
    }

    /// Empties the ring and fills it with zeroes, as after creation.
    pub(crate) fn reset(&mut self) {
        self.memory.fill(0);
        (self.tail, self.rung, self.unfetched) = (0, 0, 0);
    }

    /// Number of entries that can be added. One entry always stays free, since a full ring would look empty.
    #[inline]
    pub(crate) fn space(&self) -> u16 {
        self.mask.wrapping_sub(self.unrung()).wrapping_sub(self.unfetched)
    }

    /// Number of entries that the doorbell has not announced.
    #[inline]
    fn unrung(&self) -> u16 {
        self.tail.wrapping_sub(self.rung) & self.mask
    }

    /// Adds an entry; there must be space.
    #[inline]
    pub(crate) fn push(&mut self, entry: SubmissionEntry) {
        // Relaxed: the doorbell (Release) publishes the entry.
        self.entries.store(self.tail.into(), entry.to_words(), Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1) & self.mask;
    }

    /// Entry that was added last with a command identifier, if the ring still has it. For a command in flight, it is
    /// the entry of that command.
    #[cold]
    pub(crate) fn find(&self, command_id: u16) -> Option<SubmissionEntry> {
        (1..=self.mask)
            .map(|back| self.tail.wrapping_sub(back) & self.mask)
            .map(|place| SubmissionEntry::from_words(self.entries.load(place.into(), Ordering::Relaxed)))
            .find(|entry| entry.command_id == command_id)
    }

    /// Takes the tail that is to be written to the doorbell; none where the doorbell has it already.
    #[inline]
    pub(crate) fn take_tail(&mut self) -> Option<u16> {
        let new = self.unrung();
        self.unfetched = self.unfetched.wrapping_add(new);
        self.rung = self.tail;
        (new > 0).then_some(self.tail)
    }

    /// Accepts a head that the controller reports, if it is between the last one and the tail in the doorbell.
    #[inline]
    pub(crate) fn fetched_to(&mut self, head: u16) -> Result<(), Fault> {
        let unfetched = self.rung.wrapping_sub(head) & self.mask;
        if head > self.mask || unfetched > self.unfetched {
            return Err(Fault::HeadOutOfRange);
        }
        self.unfetched = unfetched;
        Ok(())
    }
}

/// Completion ring: the controller writes entries, the driver takes them at the head.
pub(crate) struct CompletionRing {
    words: SharedArray<u64>,
    memory: Span,
    mask: u16,
    next: RingPosition,
}

/// Position of a completion ring from which the next completion is taken.
#[derive(Clone, Copy)]
pub(crate) struct RingPosition {
    head: u16,
    /// Phase tag of a new entry.
    phase: bool,
}

impl RingPosition {
    const FIRST: Self = Self { head: 0, phase: true };
}

impl CompletionRing {
    /// Makes a ring, as [`SubmissionRing::new`] does.
    pub(crate) fn new(memory: Span, entries: u16) -> Self {
        let words = SharedArray::new(memory).expect("rings are aligned to pages");
        assert!(entries.is_power_of_two());
        assert!(words.len() >= u32::from(entries).wrapping_mul(2));
        Self { words, memory, mask: entries.wrapping_sub(1), next: RingPosition::FIRST }
    }

    /// Empties the ring and fills it with zeroes, so that no entry has the phase tag of new ones.
    pub(crate) fn reset(&mut self) {
        self.memory.fill(0);
        self.next = RingPosition::FIRST;
    }

    /// Takes the next completion, if there is one.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<CompletionEntry> {
        let mut next = self.next;
        let entry = self.load(&mut next);
        self.next = next;
        entry
    }

    /// Position of the next completion.
    #[inline]
    pub(crate) fn next(&self) -> RingPosition {
        self.next
    }

    /// Goes on at a place that [`Self::load`] has reached.
    #[inline]
    pub(crate) fn go_to(&mut self, next: RingPosition) {
        self.next = next;
    }

    /// Loads the completion at a place, and moves the place behind it; none where there is no new one.
    #[inline]
    pub(crate) fn load(&self, next: &mut RingPosition) -> Option<CompletionEntry> {
        let second = u32::from(next.head).wrapping_mul(2).wrapping_add(1);
        // Acquire: what the controller has written before the phase tag (data, first word) is seen after it.
        let entry = CompletionEntry::from_words([0, self.words.load(second, Ordering::Acquire)]);
        if entry.status.phase() != next.phase {
            return None;
        }
        next.head = next.head.wrapping_add(1) & self.mask;
        if next.head == 0 {
            next.phase = !next.phase;
        }
        Some(entry)
    }

    /// DW0 and DW1 of the completion that was taken last.
    pub(crate) fn last_result(&self) -> u64 {
        let last = self.next.head.wrapping_sub(1) & self.mask;
        self.words.load(u32::from(last).wrapping_mul(2), Ordering::Relaxed)
    }

    /// Head, for the doorbell.
    #[inline]
    pub(crate) fn head(&self) -> u16 {
        self.next.head
    }

    /// Prefetches the next completion.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.words.prefetch(u32::from(self.next.head).wrapping_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue_memory::{Layout, QueueMemory};
    use luge_memory::{DmaSpace, PageSize};

    const ENTRIES: u16 = 8;

    fn memory() -> QueueMemory {
        let layout = Layout { entries: ENTRIES, pages: 0, kind: PageSize::Base, node: None };
        QueueMemory::allocate(&DmaSpace::new(), layout).unwrap()
    }

    /// Adds `count` entries, and announces them at the doorbell.
    fn announce(ring: &mut SubmissionRing, count: u16) {
        (0..count).for_each(|_| ring.push(SubmissionEntry::default()));
        assert_eq!(ring.take_tail().is_some(), count > 0);
    }

    /// An empty ring whose head and tail are at `start`.
    fn ring_at(memory: &QueueMemory, start: u16) -> SubmissionRing {
        let mut ring = SubmissionRing::new(memory.submissions(), ENTRIES);
        announce(&mut ring, start);
        ring.fetched_to(start).unwrap();
        ring
    }

    #[test]
    fn a_head_is_accepted_from_the_last_one_up_to_the_doorbell_and_nowhere_else() {
        let memory = memory();
        for start in 0..ENTRIES {
            for announced in 0..ENTRIES {
                for head in 0..2 * ENTRIES {
                    let mut ring = ring_at(&memory, start);
                    announce(&mut ring, announced);
                    let fetched = (head + ENTRIES - start) % ENTRIES;
                    let accepted = head < ENTRIES && fetched <= announced;
                    assert_eq!(ring.fetched_to(head).is_ok(), accepted, "{start} {announced} {head}");
                    let left = if accepted { announced - fetched } else { announced };
                    assert_eq!(ring.space(), ENTRIES - 1 - left, "{start} {announced} {head}");
                }
            }
        }
    }

    #[test]
    fn entries_that_no_doorbell_has_announced_take_space_and_cannot_be_fetched() {
        let memory = memory();
        for start in 0..ENTRIES {
            let mut ring = ring_at(&memory, start);
            announce(&mut ring, 2);
            ring.push(SubmissionEntry::default());
            assert_eq!(ring.space(), ENTRIES - 4);
            assert_eq!(ring.fetched_to((start + 3) % ENTRIES), Err(Fault::HeadOutOfRange));
            assert_eq!(ring.fetched_to((start + 2) % ENTRIES), Ok(()));
            assert_eq!(ring.space(), ENTRIES - 2);
            assert_eq!(ring.take_tail(), Some((start + 3) % ENTRIES));
            assert_eq!(ring.take_tail(), None, "the doorbell has it already");
        }
    }
}
