//! A completion queue, controller side.
//!
//! Invariants
//! - There are never more completions than free entries: the session reserves one for each command that it takes.
//! - The word with the phase tag is stored last, with Release.

use super::doorbell::{Doorbell, InvalidDoorbell, Refused};
use super::doorbells::Doorbells;
use super::memory::{Piece, QueueLayout, QueueMemory, QueueMemoryError};
use crate::ids::QueueId;
use luge_memory::{GuestMemory, SharedArray, SharedWords, Use};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

/// Words of an entry.
pub(crate) const WORDS: usize = 2;

/// Place of the phase tag in the second word of an entry.
const PHASE: u64 = 1 << 48;

/// Entries in a cache line.
const ENTRIES_PER_LINE: usize = 4;

/// Free entries that lie side by side, for completions with the same phase tag.
pub(crate) struct Vacancies {
    entries: SharedArray<[u64; WORDS]>,
    indices: Range<u32>,
    /// Phase tag, in its place in the second word of an entry.
    pub(crate) phase: u64,
}

impl Vacancies {
    /// The entries, in order.
    #[inline]
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Vacancy> + use<> {
        self.entries.elements(self.indices.clone()).map(Vacancy)
    }
}

/// A free entry.
pub(crate) struct Vacancy(SharedWords<u64, WORDS>);

impl Vacancy {
    /// Stores a completion: its two words, the second with the phase tag.
    #[inline]
    pub(crate) fn fill(self, result: u64, rest: u64) {
        // Release: whoever sees the phase tag, in the second word, sees the first.
        self.0.store([result, rest], Release);
    }
}

/// A completion queue.
pub(crate) struct CompletionQueue {
    layout: QueueLayout,
    /// Entries; none while the host has taken their memory away.
    memory: Option<QueueMemory<WORDS>>,
    doorbell: Doorbell,
    /// Index of the first entry that the host has not consumed, as far as it has told.
    head: u32,
    tail: u32,
    /// Phase tag of the next completion, in its place.
    phase: u64,
    refused: Refused,
}

impl CompletionQueue {
    /// Makes an empty queue with memory that was found for it.
    pub(crate) fn new(layout: QueueLayout, memory: QueueMemory<WORDS>, doorbell: Doorbell) -> Self {
        Self {
            layout,
            memory: Some(memory),
            doorbell,
            head: 0,
            tail: 0,
            phase: PHASE,
            refused: Refused::default(),
        }
    }

    /// Finds the memory of a queue.
    ///
    /// # Errors
    /// [`QueueMemoryError`].
    pub(crate) fn find(
        layout: &QueueLayout,
        page_bytes: u32,
        memory: &Arc<GuestMemory>,
    ) -> Result<QueueMemory<WORDS>, QueueMemoryError> {
        QueueMemory::find(layout, page_bytes, Use::Write, memory)
    }

    pub(crate) fn id(&self) -> QueueId {
        self.layout.id
    }

    /// Index of the first entry that the host has not consumed, as far as it has told.
    #[inline]
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Uses other memory; returns that before.
    pub(crate) fn replace_memory(&mut self, memory: &mut Option<QueueMemory<WORDS>>) {
        std::mem::swap(&mut self.memory, memory);
    }

    /// Uses other doorbells, which get the head that the host has told by those before.
    pub(crate) fn replace_doorbell(&mut self, doorbells: &Doorbells) {
        let Some(doorbell) = doorbells.head(self.layout.id) else { return };
        self.pass_head_on(doorbell);
        self.doorbell = doorbell;
    }

    /// Uses other doorbells, in which the host has told its head.
    pub(crate) fn follow_doorbell(&mut self, doorbells: &Doorbells) {
        self.doorbell = doorbells.head(self.layout.id).unwrap_or(self.doorbell);
    }

    /// Stores the head that the host has told in another doorbell.
    pub(crate) fn pass_head_on(&mut self, doorbell: Doorbell) {
        // A head out of range changes nothing, and is not passed on.
        let _ = self.update();
        doorbell.store(self.head);
    }

    /// Number of completions that the host has not consumed, as far as it has told.
    #[inline]
    pub(crate) fn unconsumed(&self) -> u32 {
        self.layout.distance(self.head, self.tail)
    }

    /// Number of free entries.
    #[inline]
    pub(crate) fn free(&self) -> u32 {
        if self.memory.is_none() {
            return 0;
        }
        self.layout.entries.wrapping_sub(1).wrapping_sub(self.unconsumed())
    }

    /// Learns what the host has consumed.
    ///
    /// # Errors
    /// [`InvalidDoorbell`], once for each value out of range. The head stays where it was.
    #[inline]
    pub(crate) fn update(&mut self) -> Result<(), InvalidDoorbell> {
        let value = self.doorbell.load();
        if value == self.head {
            return Ok(());
        }
        // Consumed is what was there to consume.
        if value < self.layout.entries && self.layout.distance(self.head, value) <= self.unconsumed() {
            self.head = value;
            self.refused.clear();
            return Ok(());
        }
        self.refused.refuse(value)
    }

    /// Prefetches the entries of `count` completions.
    #[inline]
    pub(crate) fn prefetch(&self, count: usize) {
        let Some(Piece { entries, first, .. }) = self.next() else { return };
        for ahead in (0..count).step_by(ENTRIES_PER_LINE) {
            entries.prefetch_to_write(first.wrapping_add(u32::try_from(ahead).unwrap_or(0)));
        }
    }

    /// Lets `part` store a completion for each of `ended`, a part of them at a time: the host sees each at once. Returns
    /// those for which there is no place, because the host has taken the queue's memory away.
    #[inline]
    pub(crate) fn post_all<'a, T>(
        &mut self,
        mut ended: &'a [T],
        mut part: impl FnMut(&'a [T], Vacancies),
    ) -> &'a [T] {
        // A piece at a time: the next one is somewhere else, or has another phase.
        while !ended.is_empty()
            && let Some(Piece { entries, first, len }) = self.next()
        {
            let (now, rest) = ended.split_at_checked(len as usize).unwrap_or((ended, &[]));
            let count = u32::try_from(now.len()).unwrap_or(len);
            part(now, Vacancies { entries, indices: first..first.wrapping_add(count), phase: self.phase });
            self.advance(count);
            ended = rest;
        }
        ended
    }

    /// The entries from the tail on that lie side by side.
    #[inline]
    fn next(&self) -> Option<Piece<WORDS>> {
        let piece = self.memory.as_ref()?.piece(self.tail)?;
        Some(Piece { len: piece.len.min(self.layout.entries.wrapping_sub(self.tail)), ..piece })
    }

    #[inline]
    fn advance(&mut self, count: u32) {
        self.tail = self.tail.wrapping_add(count);
        if self.tail >= self.layout.entries {
            self.tail = 0;
            self.phase ^= PHASE;
        }
    }

    /// Asks the host to write the register for what it consumes from now on.
    pub(crate) fn arm(&self) {
        self.doorbell.set_event(self.head);
    }
}
