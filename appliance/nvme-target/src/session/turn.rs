//! Work of a session in one turn of its core.

use luge_core::{Took, Work};

/// Most commands of a turn.
pub(super) const BATCH: usize = 64;

/// Work that a session may do in a turn, and has done.
pub(super) struct Turn {
    /// Commands that may still be taken.
    pub(super) room: usize,
    /// Entries and descriptors of data pointers that may still be looked at.
    pub(super) steps: usize,
    done: Work,
}

impl Turn {
    /// A turn with so much work, and room for so many commands.
    #[inline]
    pub(super) fn new(allowance: Work, room: usize) -> Self {
        let room = room.min(BATCH).min(allowance.number_of(Work::REQUEST));
        Self { room, steps: allowance.number_of(Work::DESCRIPTOR), done: Work::default() }
    }

    /// Whether more commands may be taken.
    #[inline]
    pub(super) fn goes_on(&self) -> bool {
        self.room > 0 && self.steps > 0
    }

    /// Counts commands that were taken, and the bytes that they move.
    #[inline]
    pub(super) fn took(&mut self, commands: usize, bytes: u64) {
        self.room = self.room.saturating_sub(commands);
        self.done = self.done.plus(Work::REQUEST.times(commands)).plus(Work::of_bytes(bytes));
    }

    /// Counts bytes that a command moves.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.done = self.done.plus(Work::of_bytes(bytes));
    }

    /// Counts entries and descriptors that were looked at, also of a command that was not taken.
    pub(super) fn looked_at(&mut self, steps: usize) {
        self.steps = self.steps.saturating_sub(steps);
        self.done = self.done.plus(Work::DESCRIPTOR.times(steps));
    }

    /// Outcome of the turn.
    #[inline]
    pub(super) fn outcome(&self) -> Took {
        if self.done == Work::default() { Took::NoRoom } else { Took::Work(self.done) }
    }
}
