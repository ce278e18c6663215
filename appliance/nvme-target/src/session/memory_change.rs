//! Changes of a session's guest memory, also while commands in flight use the memory before.
//!
//! ```text
//!  (1) settled --other memory; nothing is in flight, or all regions stay--> (1)
//!  (1) settled --regions go; commands are in flight--> (2) leaving: commands to come use the new memory
//!  (2) leaving --every command that was in flight then has ended--> (3) left
//!  (3) left    --the memory before is taken--> (1)
//! ```
//!
//! In (2) no further regions can go, and none while a long command is being read: the session has to be held until
//! nothing is in flight.

use super::leaving_memory::LeavingMemory;
use super::queue_session::QueueSession;
use super::setup::SessionMemory;
use std::sync::Arc;

/// Outcome of a change of memory.
pub enum MemoryChange {
    /// The session uses the new memory, and nothing the memory before, which is to be dropped.
    Done(SessionMemory),
    /// The session uses the new memory, and commands in flight the memory before.
    Leaving,
    /// The memory that is refused: commands in flight use the memory before, and the session can wait for no more of
    /// them.
    Refused(SessionMemory),
}

impl QueueSession {
    /// Uses another table of guest memory, with the places of all queues there, for commands to come.
    pub fn replace_memory(&mut self, mut memory: SessionMemory) -> MemoryChange {
        let follows = memory.follows.as_ref().is_some_and(|before| Arc::ptr_eq(before, &self.memory));
        let is_used = !follows && self.slots.in_flight() > 0;
        let is_read = !follows && self.long.is_some();
        if is_read || is_used && self.leaving_memory.is_some() {
            return MemoryChange::Refused(memory);
        }
        let mut users = std::mem::take(&mut memory.users);
        std::mem::swap(&mut self.memory, &mut memory.table);
        self.completion.replace_memory(&mut memory.completion);
        for queue in self.queues.iter_mut().flatten() {
            let found = memory.submissions.iter_mut().find(|(id, _)| *id == queue.id());
            found.into_iter().for_each(|(_, found)| queue.replace_memory(found));
        }
        if !is_used {
            return MemoryChange::Done(memory);
        }
        self.slots.mark_in_flight(&mut users);
        self.leaving_memory = Some(LeavingMemory::new(memory, users));
        self.is_awaited = true;
        MemoryChange::Leaving
    }

    /// Takes the memory before, once no command uses it any more.
    pub fn take_left_memory(&mut self) -> Option<SessionMemory> {
        let Self { leaving_memory, slots, .. } = self;
        leaving_memory.take_if(|leaving| leaving.has_left(slots)).map(LeavingMemory::into_memory)
    }

    /// Whether commands in flight use memory before.
    #[must_use]
    pub fn has_leaving_memory(&self) -> bool {
        self.leaving_memory.is_some()
    }
}
