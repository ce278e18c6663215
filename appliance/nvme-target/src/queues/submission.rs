//! A submission queue, controller side: commands between its head and its tail.
//!
//! Invariant: a command stays in the queue until the session has done with its entry. The head moves in order: entries
//! in its window that were taken before those at the head are remembered until it has passed them.

use super::doorbell::{Doorbell, InvalidDoorbell, Refused};
use super::doorbells::Doorbells;
use super::memory::{Piece, QueueLayout, QueueMemory, QueueMemoryError};
use super::places::{Places, WINDOW};
use crate::ids::QueueId;
use luge_memory::{GuestMemory, Use};
use luge_spec::nvme::SubmissionEntry;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Words of an entry.
pub(crate) const WORDS: usize = 8;

/// A submission queue.
pub(crate) struct SubmissionQueue {
    layout: QueueLayout,
    /// Entries; none while the host has taken their memory away.
    memory: Option<QueueMemory<WORDS>>,
    doorbell: Doorbell,
    head: u32,
    tail: u32,
    /// Commands behind the head that were taken before it. That at the head is none of them.
    taken: Places,
    refused: Refused,
    /// Commands that were taken and are not completed.
    in_flight: u32,
    /// Whether it takes no more, because the host deletes it.
    is_leaving: bool,
}

impl SubmissionQueue {
    /// Makes an empty queue with memory that was found for it.
    pub(crate) fn new(layout: QueueLayout, memory: QueueMemory<WORDS>, doorbell: Doorbell) -> Self {
        let (head, tail, taken, refused, in_flight) = (0, 0, Places::default(), Refused::default(), 0);
        let memory = Some(memory);
        Self { layout, memory, doorbell, head, tail, taken, refused, in_flight, is_leaving: false }
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
        QueueMemory::find(layout, page_bytes, Use::Read, memory)
    }

    pub(crate) fn id(&self) -> QueueId {
        self.layout.id
    }

    /// SQHD: index of the first entry that was not taken.
    #[inline]
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Uses other memory; returns that before.
    pub(crate) fn replace_memory(&mut self, memory: &mut Option<QueueMemory<WORDS>>) {
        std::mem::swap(&mut self.memory, memory);
    }

    /// Uses other doorbells, which get the tail that the host has told by those before.
    pub(crate) fn replace_doorbell(&mut self, doorbells: &Doorbells) {
        let Some(doorbell) = doorbells.tail(self.layout.id) else { return };
        self.pass_tail_on(doorbell);
        self.doorbell = doorbell;
    }

    /// Uses other doorbells, in which the host has told its tail.
    pub(crate) fn follow_doorbell(&mut self, doorbells: &Doorbells) {
        self.doorbell = doorbells.tail(self.layout.id).unwrap_or(self.doorbell);
    }

    /// Stores the tail that the host has told in another doorbell; returns it. One out of range is not passed on.
    pub(crate) fn pass_tail_on(&mut self, doorbell: Doorbell) -> u32 {
        let told = self.doorbell.load();
        self.tail = if told < self.layout.entries { told } else { self.tail };
        doorbell.store(self.tail);
        self.tail
    }

    /// Number of commands that wait.
    ///
    /// # Errors
    /// [`InvalidDoorbell`], once for each value out of range. The tail stays where it was.
    #[inline]
    pub(crate) fn waiting(&mut self) -> Result<u32, InvalidDoorbell> {
        if self.memory.is_none() || self.is_leaving {
            return Ok(0);
        }
        let value = self.doorbell.load();
        if value < self.layout.entries {
            self.tail = value;
            self.refused.clear();
        } else {
            self.refused.refuse(value)?;
        }
        Ok(self.known_waiting())
    }

    /// Number of commands that wait, as of the last [`Self::waiting`].
    #[inline]
    pub(crate) fn known_waiting(&self) -> u32 {
        self.layout.distance(self.head, self.tail).saturating_sub(self.taken.count())
    }

    /// The first `most` commands that wait, as far as they lie side by side and follow each other.
    #[inline]
    pub(crate) fn next(&self, most: u32) -> Option<Piece<WORDS>> {
        let piece = self.memory.as_ref()?.piece(self.head)?;
        let gap = if self.taken.is_empty() { u32::MAX } else { self.taken.lowest() };
        Some(Piece { len: piece.len.min(most).min(gap), ..piece })
    }

    /// The entries of the window at the head, as far as they lie side by side.
    #[inline]
    pub(crate) fn window(&self) -> Option<Piece<WORDS>> {
        let piece = self.memory.as_ref()?.piece(self.head)?;
        let told = self.layout.distance(self.head, self.tail);
        Some(Piece { len: piece.len.min(told).min(WINDOW), ..piece })
    }

    /// Commands that wait in a window.
    pub(crate) fn waiting_in(&self, window: &Piece<WORDS>) -> Places {
        Places::first(window.len).without(self.taken)
    }

    /// Prefetches the first `count` commands that wait, as far as they lie side by side.
    #[inline]
    pub(crate) fn prefetch(&self, count: usize) {
        let piece = self.next(u32::try_from(count).unwrap_or(u32::MAX));
        piece.inspect(Piece::prefetch);
    }

    /// Copy of the `ahead`th command behind the head, from zero; none of one that was taken.
    pub(crate) fn entry(&self, ahead: u32) -> Option<SubmissionEntry> {
        if self.taken.has(ahead) {
            return None;
        }
        let at = self.head.wrapping_add(ahead);
        let at = if at < self.layout.entries { at } else { at.wrapping_sub(self.layout.entries) };
        let Piece { entries, first, .. } = self.memory.as_ref()?.piece(at)?;
        Some(SubmissionEntry::from_words(entries.get(first, Relaxed)?))
    }

    /// Takes the first `count` commands that wait, which follow each other.
    #[inline]
    pub(crate) fn advance(&mut self, count: u32) {
        if self.taken.is_empty() {
            self.in_flight = self.in_flight.wrapping_add(count);
            self.move_head(count);
        } else {
            self.take(Places::first(count));
        }
    }

    /// Takes commands of the window that wait, and moves the head to the first one that was not taken.
    pub(crate) fn take(&mut self, commands: Places) {
        self.in_flight = self.in_flight.wrapping_add(commands.count());
        self.taken = self.taken.either(commands);
        let count = self.taken.take_beginning();
        self.move_head(count);
    }

    /// Number of entries that the head has passed since it was `from`.
    pub(crate) fn passed_since(&self, from: u32) -> u32 {
        self.layout.distance(from, self.head)
    }

    #[inline]
    fn move_head(&mut self, count: u32) {
        let head = self.head.wrapping_add(count);
        self.head = if head < self.layout.entries { head } else { head.wrapping_sub(self.layout.entries) };
    }

    /// Completes commands that were taken.
    #[inline]
    pub(crate) fn completed(&mut self, count: u32) {
        self.in_flight = self.in_flight.wrapping_sub(count);
    }

    /// Takes no more commands.
    pub(crate) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Whether it takes no more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether it takes no more, and nothing of it is in flight.
    pub(crate) fn has_drained(&self) -> bool {
        self.is_leaving && self.in_flight == 0
    }

    /// Asks the host to write the register for what it adds from now on.
    pub(crate) fn arm(&self) {
        self.doorbell.set_event(self.tail);
    }
}
