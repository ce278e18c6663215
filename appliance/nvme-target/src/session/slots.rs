//! Commands in flight: a slot for each completion entry that can be used at the same time.

use crate::ids::{CommandId, QueueId};
use crate::relay::RelayedId;
use std::num::NonZeroU64;

/// Bit of every command, so that none is zero. It is above what a completion has of a command.
const BUSY: NonZeroU64 = NonZeroU64::new(1 << 63).expect("a bit that is set");

/// A command in flight: the second word of its completion, with the index of its submission queue in the session
/// where the head of that queue will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InFlight(NonZeroU64);

impl InFlight {
    /// A command of the queue `queue`, which is the `index`th of the session.
    #[inline]
    pub(super) fn new(index: u16, queue: QueueId, command: CommandId) -> Self {
        Self(BUSY | u64::from(index) | u64::from(queue.0) << 16 | u64::from(command.0) << 32)
    }

    /// Another command of the queue, where this is command 0.
    #[inline(always)]
    pub(super) fn numbered(self, command: CommandId) -> Self {
        Self(self.0 | u64::from(command.0) << 32)
    }

    /// Identifier of its submission queue.
    pub(super) fn queue(self) -> QueueId {
        QueueId(low(self.0.get() >> 16))
    }

    /// Identifier of the command.
    pub(super) fn command(self) -> CommandId {
        CommandId(low(self.0.get() >> 32))
    }

    /// Index of the submission queue in the session.
    #[inline]
    pub(super) fn index(self) -> u16 {
        low(self.0.get())
    }

    /// Difference between the second word of a completion without a status, which has a phase tag, and a command in
    /// flight of the queue that has that index and that head: the same for all commands of a queue.
    #[inline]
    pub(super) fn to_word(index: u16, head: u32, phase: u64) -> u64 {
        // The head is where the index was.
        let from_index = u64::from(head).wrapping_sub(u64::from(index));
        from_index.wrapping_sub(BUSY.get()).wrapping_add(phase)
    }

    /// Second word of the completion, without a status.
    #[inline(always)]
    pub(super) fn word(self, difference: u64) -> u64 {
        self.0.get().wrapping_add(difference)
    }
}

/// The lowest half-word.
#[inline]
fn low(word: u64) -> u16 {
    u16::try_from(word & 0xffff).unwrap_or(0)
}

/// The slots of a session. Does not grow.
pub(super) struct Slots {
    commands: Box<[Option<InFlight>]>,
    /// Numbers of free slots, a stack: those up to `vacant`.
    free: Box<[u16]>,
    vacant: usize,
    /// Generation of the relayed command in each slot; zero for a slot that has none.
    relayed: Box<[u32]>,
    generation: u32,
    /// Slots of commands that the controller's thread has.
    away: usize,
}

impl Slots {
    pub(super) fn new(count: u16) -> Self {
        Self {
            commands: vec![None; count.into()].into_boxed_slice(),
            free: (0..count).rev().collect(),
            vacant: count.into(),
            relayed: vec![0; count.into()].into_boxed_slice(),
            generation: 0,
            away: 0,
        }
    }

    /// Number of slots.
    pub(super) fn count(&self) -> usize {
        self.commands.len()
    }

    /// Number of commands that are not completed.
    #[inline]
    pub(super) fn busy(&self) -> usize {
        self.free.len().wrapping_sub(self.vacant)
    }

    /// Number of commands that a volume has.
    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.busy().wrapping_sub(self.away)
    }

    /// Whether a volume has the command in a slot.
    fn is_in_flight(&self, slot: usize) -> bool {
        let is_busy = self.commands.get(slot).is_some_and(Option::is_some);
        is_busy && self.relayed.get(slot).is_some_and(|generation| *generation == 0)
    }

    /// Sets the bits of the slots with commands that a volume has, where all are clear.
    pub(super) fn mark_in_flight(&self, bits: &mut [u64]) {
        let mut left = self.in_flight();
        for (word, first) in bits.iter_mut().zip((0..).step_by(64)) {
            if left == 0 {
                return;
            }
            let busy = (0..64_usize).filter(|bit| self.is_in_flight(first | bit));
            *word = busy.fold(0, |word, bit| word | 1 << bit);
            left = left.saturating_sub(word.count_ones() as usize);
        }
    }

    /// Clears the bits of the slots without a command that a volume has.
    pub(super) fn keep_in_flight(&self, bits: &mut [u64]) {
        let firsts = (0..).step_by(64);
        for (word, first) in bits.iter_mut().zip(firsts).filter(|(word, _)| **word != 0) {
            let ended = (0..64_usize).filter(|bit| !self.is_in_flight(first | bit));
            *word &= ended.fold(u64::MAX, |kept, bit| kept & !(1 << bit));
        }
    }

    /// Fills a free slot for each of up to `most` items with the command that `command` makes of it, up to the first that
    /// becomes none; returns how many.
    #[inline(always)]
    pub(super) fn fill_all<T>(
        &mut self,
        most: usize,
        items: impl Iterator<Item = T>,
        mut command: impl FnMut(T, u16) -> Option<InFlight>,
    ) -> usize {
        let Self { commands, free, vacant, .. } = self;
        let first = vacant.saturating_sub(most);
        let mut filled = 0_usize;
        for (&slot, item) in free.get(first..*vacant).unwrap_or_default().iter().zip(items) {
            let Some(place) = commands.get_mut(usize::from(slot)) else { break };
            let Some(command) = command(item, slot) else { break };
            *place = Some(command);
            filled = filled.wrapping_add(1);
        }
        // Those at the front were used; the others stay.
        let used = first.wrapping_add(filled).min(*vacant);
        if used < *vacant {
            free.copy_within(used..*vacant, first);
        }
        *vacant = vacant.saturating_sub(filled);
        filled
    }

    /// Fills a free slot; none if all are busy.
    pub(super) fn fill(&mut self, command: InFlight) -> Option<u16> {
        let mut filled = None;
        self.fill_all(1, std::iter::once(command), |command, slot| {
            filled = Some(slot);
            Some(command)
        });
        filled
    }

    /// Frees a slot.
    ///
    /// # Panics
    /// If it is free: a mistake of ours, after which no slot can be trusted.
    pub(super) fn free(&mut self, slot: u16) -> InFlight {
        let mut freed = None;
        self.free_all(std::iter::once(slot), |&slot| slot, |_, command| freed = Some(command));
        freed.expect("a command that was freed")
    }

    /// Frees the slot of each of `ended`, and calls `each` with it and the command.
    ///
    /// # Panics
    /// As of [`Self::free`].
    #[inline]
    pub(super) fn free_all<T>(
        &mut self,
        ended: impl ExactSizeIterator<Item = T>,
        slot_of: impl Fn(&T) -> u16,
        mut each: impl FnMut(T, InFlight),
    ) {
        let Self { commands, free, vacant, .. } = self;
        let end = vacant.wrapping_add(ended.len());
        let free = free.get_mut(*vacant..end).expect("more commands end than are in flight");
        for (end, free) in ended.zip(free) {
            let slot = slot_of(&end);
            let command = commands.get_mut(usize::from(slot)).and_then(Option::take);
            *free = slot;
            each(end, command.expect("a command ends that is not in flight"));
        }
        *vacant = end;
    }

    /// The command in a slot.
    ///
    /// # Panics
    /// If the slot is free.
    pub(super) fn command(&self, slot: u16) -> InFlight {
        let command = self.commands.get(usize::from(slot)).copied().flatten();
        command.expect("a slot that is filled")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn command(id: u16) -> InFlight {
        InFlight::new(3, QueueId(7), CommandId(id))
    }

    #[test]
    fn every_slot_is_filled_once_and_comes_back() {
        let mut slots = Slots::new(3);
        let filled: Vec<u16> = (0..3).map(|id| slots.fill(command(id)).unwrap()).collect();
        assert_eq!(slots.fill(command(9)), None);
        assert_eq!(slots.busy(), 3);
        for (slot, id) in filled.into_iter().zip(0..) {
            assert_eq!(slots.free(slot), command(id));
        }
        assert_eq!(slots.busy(), 0);
        assert!(slots.fill(command(9)).is_some());
    }

    #[test]
    fn a_completion_has_the_head_where_the_index_was() {
        assert_eq!(command(0x1234).word(InFlight::to_word(3, 0x42, 1 << 48)), 0x0001_1234_0007_0042);
        assert_eq!(command(0).word(InFlight::to_word(3, 0, 0)), 0x0000_0000_0007_0000);
    }

    #[test]
    fn marks_of_commands_in_flight_go_with_the_commands_and_do_not_come_back_with_others() {
        let mut slots = Slots::new(200);
        let filled: Vec<u16> = (0..130).map(|id| slots.fill(command(id)).unwrap()).collect();
        slots.send_away(filled[3]);
        let mut marks = [0; 4];
        slots.mark_in_flight(&mut marks);
        let count = |marks: &[u64]| marks.iter().map(|word| word.count_ones()).sum::<u32>();
        assert_eq!(count(&marks), 129, "all but the relayed one");
        for slot in [filled[0], filled[64], filled[129]] {
            slots.free(slot);
        }
        slots.keep_in_flight(&mut marks);
        assert_eq!(count(&marks), 126);
        slots.fill(command(7)).unwrap();
        slots.keep_in_flight(&mut marks);
        assert_eq!(count(&marks), 126, "the slot has a command that came later");
    }

    #[test]
    fn a_relayed_command_is_taken_back_once_also_where_its_slot_has_another_one() {
        let mut slots = Slots::new(1);
        let slot = slots.fill(command(1)).unwrap();
        let first = slots.send_away(slot);
        assert_eq!(slots.in_flight(), 0);
        assert_eq!(slots.take_back(first), Some(slot));
        assert_eq!(slots.take_back(first), None);
        slots.free(slot);
        let slot = slots.fill(command(2)).unwrap();
        let second = slots.send_away(slot);
        assert_eq!(slots.take_back(first), None);
        assert_eq!(slots.take_back(second), Some(slot));
    }
}
