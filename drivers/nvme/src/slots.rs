//! Slots of the requests in flight. The number of the slot is a part of the command identifier.
//!
//! Path: tags are kept here between submit and poll.
//!
//! Invariants
//! - A request ends once. A completion for a command that is not with the SSD is a fault, also if its identifier
//!   was that of an earlier use of the slot: the generation differs.
//!
//! Not here: the commands (`command`).

use crate::Fault;
use luge_block::Tag;
use zerocopy::{Immutable, IntoBytes};

/// Bits of the slot's number in a command identifier; the others are the generation.
const SLOT_BITS: u16 = 0x0fff;

/// The most slots of a queue pair: so many that no identifier is FFFFh, which some SSDs use for no command.
const SLOTS_MAX: u16 = SLOT_BITS;

/// Command identifier: the number of its slot (12 bits) and the generation of this use of it (4 bits).
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(transparent)]
pub(crate) struct CommandId(pub u16);

impl CommandId {
    /// Number of the slot.
    #[inline]
    pub(crate) fn slot(self) -> u16 {
        self.0 & SLOT_BITS
    }
}

/// Whether identifiers have generations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Generations {
    /// The last sixteen uses of a slot have different ones.
    On,
    /// All of them are zero, for SSDs that take only small identifiers.
    Off,
}

/// Memory that the command of a request uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(u8)]
pub(crate) enum Data {
    /// Memory of the request itself, or none.
    Direct,
    /// Bounce pages, which are freed at the end.
    BouncedWrite,
    /// Bounce pages, which are copied to the memory of the request and freed at the end.
    BouncedRead,
}

/// Request that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub id: CommandId,
    pub tag: Tag,
    pub data: Data,
}

/// State of a slot: 1 free; 2 its request waits for bounce pages; 3 its command is with the SSD.
///
/// ```text
///   1 --take--> 3 --end--> 1
///               3 --hold--> 2 --start--> 3
///               2, 3 --end_any--> 1
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(u8)]
enum State {
    Free,
    Waiting,
    InFlight,
}

/// Use of a slot.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct Usage {
    /// Identifier of this use. Of a free slot: that of the next use.
    id: CommandId,
    state: State,
    data: Data,
}

impl Usage {
    /// Use of a free slot.
    const fn free(id: CommandId) -> Self {
        Self { id, state: State::Free, data: Data::Direct }
    }

    /// Use by a command that is with the SSD.
    const fn in_flight(id: CommandId, data: Data) -> Self {
        Self { id, state: State::InFlight, data }
    }

    /// Whether both are equal, by one comparison of words.
    #[inline]
    fn is(self, other: Self) -> bool {
        let [one, two]: [u32; 2] = [zerocopy::transmute!(self), zerocopy::transmute!(other)];
        one == two
    }
}

/// Slot of a request. Four share a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Slot {
    tag: Tag,
    /// Tick in which the command went to the SSD. Of a free slot: next slot of the list of free ones.
    since_or_next: u32,
    usage: Usage,
}

/// Slots of a queue pair.
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// First slot of the list of free ones; past the last slot where none is free. The slot that was freed last is
    /// taken first, because it is still in the cache.
    free: u32,
    /// Number of slots that are not free.
    in_flight: u16,
    /// Difference of the identifiers of two uses that follow each other.
    generation: u16,
}

impl Slots {
    /// Makes `count` free slots, or [`SLOTS_MAX`] if that is less.
    pub(crate) fn new(count: u16, generations: Generations) -> Self {
        let generation = if generations == Generations::On { SLOT_BITS.wrapping_add(1) } else { 0 };
        let slot = |id: u16| Slot {
            tag: Tag::default(),
            since_or_next: u32::from(id).wrapping_add(1),
            usage: Usage::free(CommandId(id)),
        };
        Self { slots: (0..count.min(SLOTS_MAX)).map(slot).collect(), free: 0, in_flight: 0, generation }
    }

    /// Number of free slots.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.slots.len().saturating_sub(self.in_flight())
    }

    /// Number of slots that are not free.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.into()
    }

    /// 1 to 3: takes a slot for a request that goes to the SSD now; none where no slot is free.
    #[inline]
    pub(crate) fn take(&mut self, tag: Tag, tick: u32) -> Option<CommandId> {
        let slot = self.slots.get_mut(self.free as usize)?;
        self.free = slot.since_or_next;
        self.in_flight = self.in_flight.wrapping_add(1);
        (slot.tag, slot.since_or_next) = (tag, tick);
        slot.usage = Usage::in_flight(slot.usage.id, Data::Direct);
        Some(slot.usage.id)
    }

    /// 3 to 2: the request waits for bounce pages first.
    pub(crate) fn hold(&mut self, id: CommandId, data: Data) {
        if let Some(slot) = self.slots.get_mut(usize::from(id.slot())) {
            slot.usage = Usage { state: State::Waiting, data, ..slot.usage };
        }
    }

    /// 2 to 3: the request goes to the SSD now.
    pub(crate) fn start(&mut self, id: CommandId, tick: u32) -> Option<Data> {
        let slot = self.slots.get_mut(usize::from(id.slot()));
        let slot = slot.filter(|slot| slot.usage.state == State::Waiting)?;
        (slot.usage.state, slot.since_or_next) = (State::InFlight, tick);
        Some(slot.usage.data)
    }

    /// 3 to 1: ends a command for which the SSD has sent a completion, if it is of the usual kind, without bounce
    /// pages. None otherwise: [`Self::end`] tells why.
    #[inline]
    pub(crate) fn end_direct(&mut self, id: CommandId) -> Option<Tag> {
        self.release(Usage::in_flight(id, Data::Direct))
    }

    /// 3 to 1: ends any command for which the SSD has sent a completion.
    pub(crate) fn end(&mut self, id: CommandId) -> Result<Ended, Fault> {
        let slot = self.slots.get(usize::from(id.slot())).ok_or(Fault::UnknownCommand)?;
        let data = slot.usage.data;
        let tag = self.release(Usage::in_flight(id, data)).ok_or(Fault::NotInFlight)?;
        Ok(Ended { id, tag, data })
    }

    /// Frees the slot that has this use; returns its tag. None where no slot has it.
    #[inline]
    fn release(&mut self, usage: Usage) -> Option<Tag> {
        let id = usage.id;
        let slot = self.slots.get_mut(usize::from(id.slot())).filter(|slot| slot.usage.is(usage))?;
        // A carry out of the generation is lost, and the slot's bits stay.
        slot.usage = Usage::free(CommandId(id.0.wrapping_add(self.generation)));
        slot.since_or_next = self.free;
        self.free = id.slot().into();
        self.in_flight = self.in_flight.wrapping_sub(1);
        Some(slot.tag)
    }

    /// 2 or 3 to 1: ends some request, after a reset; none where all slots are free.
    pub(crate) fn end_any(&mut self) -> Option<Ended> {
        let slot = self.slots.iter_mut().find(|slot| slot.usage.state != State::Free)?;
        slot.usage.state = State::InFlight;
        let id = slot.usage.id;
        self.end(id).ok()
    }

    /// Whether a command has been with the SSD for `ticks` ticks.
    pub(crate) fn any_older(&self, ticks: u32, now: u32) -> bool {
        let old = |slot: &Slot| now.wrapping_sub(slot.since_or_next) >= ticks;
        self.slots.iter().any(|slot| slot.usage.state == State::InFlight && old(slot))
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
        let mut slots = Slots::new(2, Generations::On);
        let id = slots.take(TAG, 0).unwrap();
        assert_eq!(slots.end(id).unwrap().tag, TAG);
        assert_eq!(slots.end(id), Err(Fault::NotInFlight));
        assert_eq!(slots.end(CommandId(2)), Err(Fault::UnknownCommand));
        assert_eq!(slots.free(), 2);
        assert_eq!(slots.in_flight(), 0);
    }

    #[test]
    fn every_slot_is_taken_once_before_one_is_taken_again() {
        let mut slots = Slots::new(3, Generations::On);
        let taken: Vec<u16> = std::iter::from_fn(|| slots.take(TAG, 0)).map(CommandId::slot).collect();
        assert_eq!(taken, vec![0, 1, 2]);
        assert_eq!(slots.free(), 0);
        assert_eq!(slots.in_flight(), 3);
        for id in [1, 2].map(|slot| slots.slots[slot].usage.id) {
            assert!(slots.end(id).is_ok());
        }
        let again: Vec<u16> = std::iter::from_fn(|| slots.take(TAG, 0)).map(CommandId::slot).collect();
        assert_eq!(again, vec![2, 1]);
        assert_eq!(slots.free(), 0);
    }

    #[test]
    fn a_request_that_waits_is_not_the_ssds_to_complete() {
        let mut slots = Slots::new(1, Generations::On);
        let id = slots.take(TAG, 0).unwrap();
        slots.hold(id, Data::BouncedRead);
        assert_eq!(slots.end(id), Err(Fault::NotInFlight));
        assert_eq!(slots.in_flight(), 1);
        assert_eq!(slots.start(id, 0), Some(Data::BouncedRead));
        assert_eq!(slots.start(id, 0), None);
        assert_eq!(slots.end_direct(id), None);
        assert_eq!(slots.end(id), Ok(Ended { id, tag: TAG, data: Data::BouncedRead }));
    }

    #[test]
    fn an_identifier_comes_again_after_sixteen_uses_of_its_slot() {
        let mut slots = Slots::new(1, Generations::On);
        let mut earlier: Vec<CommandId> = vec![];
        for _ in 0..16 {
            let id = slots.take(TAG, 0).unwrap();
            assert!(!earlier.contains(&id), "{id:?}");
            for &old in &earlier {
                assert_eq!(slots.end_direct(old), None, "{old:?} has ended before");
                assert_eq!(slots.end(old), Err(Fault::NotInFlight), "{old:?} has ended before");
            }
            assert_eq!(slots.end_direct(id), Some(TAG));
            earlier.push(id);
        }
        assert_eq!(slots.take(TAG, 0), earlier.first().copied());
    }

    #[test]
    fn without_generations_an_identifier_is_the_number_of_its_slot() {
        let mut slots = Slots::new(2, Generations::Off);
        for _ in 0..3 {
            assert_eq!(slots.take(TAG, 0), Some(CommandId(0)));
            assert!(slots.end(CommandId(0)).is_ok());
        }
        assert_eq!(slots.end(CommandId(0x1000)), Err(Fault::NotInFlight));
    }

    #[test]
    fn no_identifier_is_all_ones() {
        let mut slots = Slots::new(u16::MAX, Generations::On);
        for _ in 0..17 {
            let taken: Vec<_> = std::iter::from_fn(|| slots.take(TAG, 0)).collect();
            assert_eq!(taken.len(), 4095);
            assert!(taken.iter().all(|id| id.0 != u16::MAX));
            taken.into_iter().for_each(|id| assert!(slots.end(id).is_ok()));
        }
    }

    #[test]
    fn age_is_counted_across_the_wrap_of_the_tick() {
        let mut slots = Slots::new(2, Generations::On);
        assert!(slots.take(TAG, u32::MAX).is_some());
        assert!(!slots.any_older(3, 1));
        assert!(slots.any_older(3, 2));
        assert!(slots.end_any().is_some());
        assert!(slots.end_any().is_none());
        assert!(!slots.any_older(3, 2));
    }
}
