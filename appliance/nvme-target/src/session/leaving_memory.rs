//! Guest memory that a session used before, and the commands in flight that use it.

use super::setup::SessionMemory;
use super::slots::Slots;

/// Guest memory that a session used before.
pub(super) struct LeavingMemory {
    memory: SessionMemory,
    /// Bits of the slots with commands that use it.
    users: Box<[u64]>,
}

impl LeavingMemory {
    /// Memory that the commands in slots with these bits use.
    pub(super) fn new(memory: SessionMemory, users: Box<[u64]>) -> Self {
        Self { memory, users }
    }

    /// Learns which commands have ended; returns whether all have.
    pub(super) fn has_left(&mut self, slots: &Slots) -> bool {
        slots.keep_in_flight(&mut self.users);
        self.users.iter().all(|word| *word == 0)
    }

    /// The memory, to be dropped.
    pub(super) fn into_memory(self) -> SessionMemory {
        self.memory
    }
}
