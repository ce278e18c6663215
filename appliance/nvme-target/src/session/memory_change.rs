//! Changes of a session's guest memory, also while commands in flight use the memory before.
//!
//! ```text
//!  (1) settled --other memory; no command in flight uses what goes--> (1)
//!  (1) settled --memory goes that commands in flight use--> (2) leaving: commands to come use the new memory
//!  (2) leaving --memory goes that no command in flight uses--> (2)
//!  (2) leaving --every command that was waited for has ended--> (3) left
//!  (3) left    --the memory before is taken--> (1)
//! ```
//!
//! In (2) no other memory can go that commands in flight use, and none while a long command is being read: the session
//! has to be held until nothing is in flight.

use super::leaving_memory::LeavingMemory;
use super::queue_session::QueueSession;
use super::setup::SessionMemory;
use luge_memory::AddressRanges;

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
        if self.command_memory.is_none() {
            self.command_memory = memory.command_memory.take();
        }
        let some_goes = self.mark_users(&mut memory);
        let is_used = memory.users.iter().any(|word| *word != 0);
        if some_goes && self.long.is_some() || is_used && self.leaving_memory.is_some() {
            return MemoryChange::Refused(memory);
        }
        std::mem::swap(&mut self.memory, &mut memory.table);
        self.completion.replace_memory(&mut memory.completion);
        for queue in self.queues.iter_mut().flatten() {
            let found = memory.submissions.iter_mut().find(|(id, _)| *id == queue.id());
            found.into_iter().for_each(|(_, found)| queue.replace_memory(found));
        }
        if !is_used {
            return MemoryChange::Done(memory);
        }
        self.leaving_memory = Some(LeavingMemory::new(memory));
        self.is_awaited = true;
        MemoryChange::Leaving
    }

    /// Marks the commands in flight that use memory which goes; returns whether some goes.
    fn mark_users(&self, memory: &mut SessionMemory) -> bool {
        let SessionMemory { gone, users, .. } = memory;
        let addresses = gone.as_ref().and_then(|gone| gone.addresses(&self.memory));
        if addresses.is_some_and(AddressRanges::is_empty) {
            return false;
        }
        self.slots.mark_in_flight(users);
        if let (Some(addresses), Some(notes)) = (addresses, &self.command_memory) {
            notes.keep_users(addresses, users);
        }
        true
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
