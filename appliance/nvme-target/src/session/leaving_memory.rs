//! Guest memory that a session used before, and the commands in flight that use it.

use super::setup::SessionMemory;
use super::slots::Slots;

/// Guest memory that a session used before.
pub(super) struct LeavingMemory {
    /// The memory, with the bits of slots whose commands use it.
    memory: SessionMemory,
}

impl LeavingMemory {
    /// Memory whose users are marked.
    pub(super) fn new(memory: SessionMemory) -> Self {
        Self { memory }
    }

    /// Learns which commands have ended; returns whether all have.
    pub(super) fn has_left(&mut self, slots: &Slots) -> bool {
        slots.keep_in_flight(&mut self.memory.users);
        self.memory.users.iter().all(|word| *word == 0)
    }

    /// The memory, to be dropped.
    pub(super) fn into_memory(self) -> SessionMemory {
        self.memory
    }
}
