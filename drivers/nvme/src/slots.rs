//! Requests in flight: one slot each, whose number is the command identifier.
//!
//! Path: tags wait here between submit and poll.
//!
//! Invariants
//! - A request ends once: what the SSD completes twice, invents, or never got is a fault.
//!
//! Not here: what the commands are (`command`).

use crate::Fault;
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
    /// Its bounce pages are free again.
    BouncedWrite,
    /// Its bounce pages are copied to the request's memory, and free again.
    BouncedRead,
}

/// A request that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub id: CommandId,
    pub tag: Tag,
    pub data: Data,
}

/// Where a slot's request is: 1 free, 2 waiting for bounce pages, 3 with the SSD.
///
/// ```text
///   1 --take--> 3 --end--> 1
///               3 --hold--> 2 --start--> 3
///               2, 3 --end_any--> 1
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Waiting,
    InFlight,
}

/// A slot. Four share a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Slot {
    tag: Tag,
    /// The tick in which it went to the SSD.
    since: u32,
    data: Data,
    state: State,
    /// Of a free slot: the one that is taken after it.
    next: CommandId,
}

/// The slots of one queue pair.
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// The head of the list of free ones, past the last slot where there are none. The slot that
    /// ended last is taken first: it is still in the cache.
    free: CommandId,
    /// How many are not free.
    in_flight: u16,
}

impl Slots {
    pub(crate) fn new(count: u16) -> Self {
        let slot = |next| Slot {
            tag: Tag::default(),
            since: 0,
            data: Data::Direct,
            state: State::Free,
            next: CommandId(next),
        };
        Self { slots: (1..=count).map(slot).collect(), free: CommandId(0), in_flight: 0 }
    }

    /// How many are free.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.slots.len().saturating_sub(self.in_flight())
    }

    /// How many are not.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.into()
    }

    /// 1 to 3: takes a slot for a request that goes to the SSD now; none where none is free.
    #[inline]
    pub(crate) fn take(&mut self, tag: Tag, tick: u32) -> Option<CommandId> {
        let id = self.free;
        let slot = self.slots.get_mut(usize::from(id.0))?;
        self.free = slot.next;
        self.in_flight = self.in_flight.wrapping_add(1);
        (slot.tag, slot.since, slot.data, slot.state) = (tag, tick, Data::Direct, State::InFlight);
        Some(id)
    }

    /// 3 to 2: the request waits for bounce pages first.
    pub(crate) fn hold(&mut self, id: CommandId, data: Data) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.0)) {
            (slot.state, slot.data) = (State::Waiting, data);
        }
    }

    /// 2 to 3: the request goes to the SSD now. Returns what becomes of its data.
    pub(crate) fn start(&mut self, id: CommandId, tick: u32) -> Option<Data> {
        let slot = self.slots.get_mut(usize::from(id.0)).filter(|slot| slot.state == State::Waiting)?;
        (slot.state, slot.since) = (State::InFlight, tick);
        Some(slot.data)
    }

    /// 3 to 1: ends a command that the SSD says it has completed.
    #[inline]
    pub(crate) fn end(&mut self, id: CommandId) -> Result<Ended, Fault> {
        let slot = self.slots.get_mut(usize::from(id.0)).ok_or(Fault::UnknownCommand)?;
        if slot.state != State::InFlight {
            return Err(Fault::NotInFlight);
        }
        (slot.state, slot.next) = (State::Free, self.free);
        self.free = id;
        self.in_flight = self.in_flight.wrapping_sub(1);
        Ok(Ended { id, tag: slot.tag, data: slot.data })
    }

    /// 2 or 3 to 1: ends any request, after a reset.
    pub(crate) fn end_any(&mut self) -> Option<Ended> {
        let (id, slot) = (0..).zip(&mut *self.slots).find(|(_, slot)| slot.state != State::Free)?;
        slot.state = State::InFlight;
        self.end(CommandId(id)).ok()
    }

    /// Whether a command has been with the SSD for `ticks` ticks.
    pub(crate) fn any_older(&self, ticks: u32, now: u32) -> bool {
        let old = |slot: &Slot| now.wrapping_sub(slot.since) >= ticks;
        self.slots.iter().any(|slot| slot.state == State::InFlight && old(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag::new(1, 2);

    #[test]
    fn four_slots_share_a_cache_line() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn a_command_ends_once() {
        let mut slots = Slots::new(2);
        let id = slots.take(TAG, 0).unwrap();
        assert_eq!(slots.end(id).unwrap().tag, TAG);
        assert_eq!(slots.end(id), Err(Fault::NotInFlight));
        assert_eq!(slots.end(CommandId(2)), Err(Fault::UnknownCommand));
        assert_eq!((slots.free(), slots.in_flight()), (2, 0));
    }

    #[test]
    fn every_slot_is_taken_once_before_one_is_taken_again() {
        let mut slots = Slots::new(3);
        let taken: Vec<u16> = std::iter::from_fn(|| slots.take(TAG, 0)).map(|id| id.0).collect();
        assert_eq!((taken, slots.free(), slots.in_flight()), (vec![0, 1, 2], 0, 3));
        for id in [1, 2] {
            assert!(slots.end(CommandId(id)).is_ok());
        }
        let again: Vec<u16> = std::iter::from_fn(|| slots.take(TAG, 0)).map(|id| id.0).collect();
        assert_eq!((again, slots.free()), (vec![2, 1], 0));
    }

    #[test]
    fn a_request_that_waits_is_not_the_ssds_to_complete() {
        let mut slots = Slots::new(1);
        let id = slots.take(TAG, 0).unwrap();
        slots.hold(id, Data::BouncedRead);
        assert_eq!((slots.end(id), slots.in_flight()), (Err(Fault::NotInFlight), 1));
        assert_eq!((slots.start(id, 0), slots.start(id, 0)), (Some(Data::BouncedRead), None));
        assert_eq!(slots.end(id), Ok(Ended { id, tag: TAG, data: Data::BouncedRead }));
    }

    #[test]
    fn age_is_counted_across_the_wrap_of_the_tick() {
        let mut slots = Slots::new(2);
        assert!(slots.take(TAG, u32::MAX).is_some());
        assert!(!slots.any_older(3, 1) && slots.any_older(3, 2));
        assert!(slots.end_any().is_some() && slots.end_any().is_none());
        assert!(!slots.any_older(3, 2));
    }
}
