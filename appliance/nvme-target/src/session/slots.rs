//! Commands in flight: a slot for each completion entry that can be used at the same time.

use crate::ids::{CommandId, QueueId};
use crate::relay::RelayedId;

/// Bit of a slot that is free; the lower bits are the next free one.
const FREE: u64 = 1 << 63;

/// A command in flight: the second word of its completion, with the index of its submission queue in the session
/// where the head of that queue will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InFlight(u64);

impl InFlight {
    /// A command of the queue `queue`, which is the `index`th of the session.
    #[inline]
    pub(super) fn new(index: u16, queue: QueueId, command: CommandId) -> Self {
        Self(u64::from(index) | u64::from(queue.0) << 16 | u64::from(command.0) << 32)
    }

    /// Index of the submission queue in the session.
    #[inline]
    pub(super) fn index(self) -> usize {
        usize::from(self.0 as u16)
    }

    /// The second word of the completion, with that head and no status.
    #[inline]
    pub(super) fn word(self, head: u32) -> u64 {
        (self.0 & !0xffff) | u64::from(head)
    }
}

/// The slots of a session. Does not grow.
pub(super) struct Slots {
    slots: Box<[u64]>,
    /// Generation of the relayed command in each slot; zero for a slot that has none.
    relayed: Box<[u32]>,
    generation: u32,
    /// A free slot; past the end if there is none.
    free: u16,
    busy: u32,
    /// Slots of commands that the controller's thread has.
    away: u32,
}

impl Slots {
    pub(super) fn new(count: u16) -> Self {
        let slots = (1..=count).map(|next| FREE | u64::from(next)).collect();
        let relayed = vec![0; count.into()].into_boxed_slice();
        Self { slots, relayed, generation: 0, free: 0, busy: 0, away: 0 }
    }

    /// Number of commands that are not completed.
    #[inline]
    pub(super) fn busy(&self) -> u32 {
        self.busy
    }

    /// Number of commands that a volume has.
    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        self.busy.wrapping_sub(self.away)
    }

    /// Fills a free slot; none if all are busy.
    #[inline]
    pub(super) fn fill(&mut self, command: InFlight) -> Option<u16> {
        let slot = self.free;
        let place = self.slots.get_mut(usize::from(slot))?;
        self.free = *place as u16;
        *place = command.0;
        self.busy = self.busy.wrapping_add(1);
        Some(slot)
    }

    /// Frees a slot.
    ///
    /// # Panics
    /// If it is free: a mistake of ours, after which no slot can be trusted.
    #[inline]
    pub(super) fn free(&mut self, slot: u16) -> InFlight {
        let place = self.slots.get_mut(usize::from(slot)).filter(|place| **place & FREE == 0);
        let place = place.expect("a command ends that is not in flight");
        let command = std::mem::replace(place, FREE | u64::from(self.free));
        self.free = slot;
        self.busy = self.busy.wrapping_sub(1);
        InFlight(command)
    }

    /// Names the command in a slot, for the controller's thread.
    pub(super) fn send_away(&mut self, slot: u16) -> RelayedId {
        // Zero is for none.
        self.generation = self.generation.wrapping_add(1).max(1);
        let generation = self.generation;
        self.relayed.get_mut(usize::from(slot)).into_iter().for_each(|place| *place = generation);
        self.away = self.away.wrapping_add(1);
        RelayedId { slot, generation }
    }

    /// Takes a relayed command back; none if it is not away, such as one that was answered before.
    pub(super) fn take_back(&mut self, id: RelayedId) -> Option<u16> {
        let place = self.relayed.get_mut(usize::from(id.slot)).filter(|place| **place == id.generation);
        *place? = 0;
        self.away = self.away.wrapping_sub(1);
        Some(id.slot)
    }
}
