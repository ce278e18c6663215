//! Commands in flight: one slot each, whose number is the command identifier.
//!
//! Path: tags wait here between submit and poll.
//!
//! Invariants
//! - A slot ends once: what the SSD completes twice, or invents, is a fault.
//!
//! Not here: what the commands are (`command`).

use crate::Fault;
use crate::bounce::JobId;
use luge_block::Tag;

/// A command identifier: the number of its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct CommandId(pub u16);

/// What becomes of a request's data when its command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Data {
    /// Nothing: the SSD used the request's own memory, if any.
    Direct,
    /// The bounce pages are free again.
    BouncedWrite(JobId),
    /// The bounce pages are copied to the request's memory, and free again.
    BouncedRead(JobId),
}

/// A command that was in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub tag: Tag,
    pub data: Data,
}

/// Sixteen bytes: four slots to a cache line.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct Slot {
    tag: Tag,
    /// The tick in which it was taken.
    since: u32,
    data: Data,
    in_flight: bool,
}

/// The slots of one queue pair.
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// A stack: the slot that ended last is the one still in the cache.
    free: Vec<CommandId>,
}

impl Slots {
    pub(crate) fn new(count: u16) -> Self {
        let slot = Slot { tag: Tag::default(), since: 0, data: Data::Direct, in_flight: false };
        Self {
            slots: vec![slot; count.into()].into_boxed_slice(),
            free: (0..count).rev().map(CommandId).collect(),
        }
    }

    /// How many are free.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// How many are in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    /// The slot that the next `take` will take.
    #[inline]
    pub(crate) fn next(&self) -> Option<CommandId> {
        self.free.last().copied()
    }

    /// Takes that slot.
    #[inline]
    pub(crate) fn take(&mut self, tag: Tag, data: Data, tick: u32) {
        let next = self.free.pop();
        if let Some(slot) = next.and_then(|id| self.slots.get_mut(usize::from(id.0))) {
            *slot = Slot { tag, since: tick, data, in_flight: true };
        }
    }

    /// Ends a command that the SSD says it has completed.
    #[inline]
    pub(crate) fn end(&mut self, id: CommandId) -> Result<Ended, Fault> {
        let slot = self.slots.get_mut(usize::from(id.0)).ok_or(Fault::UnknownCommand)?;
        if !slot.in_flight {
            return Err(Fault::NotInFlight);
        }
        slot.in_flight = false;
        self.free.push(id);
        Ok(Ended { tag: slot.tag, data: slot.data })
    }

    /// Ends any command in flight: after a reset.
    pub(crate) fn end_any(&mut self) -> Option<Ended> {
        let (id, _) = (0..).zip(&*self.slots).find(|(_, slot)| slot.in_flight)?;
        self.end(CommandId(id)).ok()
    }

    /// Whether a command has been in flight for `ticks` ticks.
    pub(crate) fn any_older(&self, ticks: u32, now: u32) -> bool {
        self.slots.iter().any(|slot| slot.in_flight && now.wrapping_sub(slot.since) >= ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag { session: 1, slot: 2 };

    #[test]
    fn four_slots_share_a_cache_line() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn a_command_ends_once() {
        let mut slots = Slots::new(2);
        let id = slots.next().unwrap();
        slots.take(TAG, Data::Direct, 0);
        assert_eq!(slots.end(id).unwrap().tag, TAG);
        assert_eq!(slots.end(id), Err(Fault::NotInFlight));
        assert_eq!(slots.end(CommandId(2)), Err(Fault::UnknownCommand));
        assert_eq!((slots.free(), slots.in_flight()), (2, 0));
    }

    #[test]
    fn age_is_counted_across_the_wrap_of_the_tick() {
        let mut slots = Slots::new(2);
        slots.take(TAG, Data::Direct, u32::MAX);
        assert!(!slots.any_older(3, 1) && slots.any_older(3, 2));
        assert!(slots.end_any().is_some() && slots.end_any().is_none());
        assert!(!slots.any_older(3, 2));
    }
}
