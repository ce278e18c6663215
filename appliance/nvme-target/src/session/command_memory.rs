//! Memory that commands in flight use, by slot, so that memory that goes waits for no other commands.
//!
//! Kept from the first change of guest memory on, under which the session ran: most guests never change it.
//!
//! Invariant: what is noted of a command covers all memory that its request may touch. A command of which nothing is
//! noted may touch any.

use luge_memory::{AddressRange, AddressRanges, Span};

/// Ranges of a command that are noted as they are; the last one covers all further ones, too.
const RANGES: usize = 4;

/// Memory of the command in a slot.
#[derive(Clone, Default)]
struct Noted {
    ranges: heapless::Vec<AddressRange, RANGES>,
    is_known: bool,
}

impl Noted {
    fn add(&mut self, range: AddressRange) {
        let is_full = self.ranges.is_full();
        match self.ranges.last_mut() {
            Some(last) if is_full => *last = last.hull(range),
            Some(last) if last.joined(range).is_some() => *last = last.hull(range),
            _ => self.ranges.push(range).unwrap_or_default(),
        }
    }

    fn uses(&self, memory: &AddressRanges) -> bool {
        !self.is_known || self.ranges.iter().any(|range| memory.overlap(*range))
    }
}

/// Memory that commands in flight use, by slot. Does not grow.
pub(super) struct CommandMemory {
    slots: Box<[Noted]>,
}

impl CommandMemory {
    /// Notes for so many slots, of which nothing is known.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: vec![Noted::default(); slots].into_boxed_slice() }
    }

    /// Notes the memory of the command that has just filled a slot.
    pub(super) fn note(&mut self, slot: u16, data: &[Span]) {
        let Some(noted) = self.slots.get_mut(usize::from(slot)) else { return };
        noted.ranges.clear();
        data.iter().for_each(|span| noted.add(AddressRange::of(span)));
        noted.is_known = true;
    }

    /// Notes that the command which has just filled a slot may use any memory.
    pub(super) fn note_unknown(&mut self, slot: u16) {
        self.slots.get_mut(usize::from(slot)).into_iter().for_each(|noted| noted.is_known = false);
    }

    /// Clears the bits of slots whose commands do not use `memory`.
    pub(super) fn keep_users(&self, memory: &AddressRanges, bits: &mut [u64]) {
        for (word, slots) in bits.iter_mut().zip(self.slots.chunks(64)).filter(|(word, _)| **word != 0) {
            let unused = (0..).zip(slots).filter(|(bit, noted)| *word >> bit & 1 == 1 && !noted.uses(memory));
            *word &= unused.fold(u64::MAX, |kept, (bit, _)| kept & !(1 << bit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: usize, end: usize) -> AddressRange {
        AddressRange { start, end }
    }

    fn noted(ranges: impl IntoIterator<Item = AddressRange>) -> Noted {
        let mut noted = Noted { is_known: true, ..Noted::default() };
        ranges.into_iter().for_each(|range| noted.add(range));
        noted
    }

    fn uses(noted: &Noted, start: usize, end: usize) -> bool {
        noted.uses(&[range(start, end)].into_iter().collect())
    }

    #[test]
    fn a_command_uses_its_ranges_and_nothing_between_them() {
        let noted = noted([range(100, 200), range(200, 300), range(500, 600)]);
        assert_eq!(noted.ranges.len(), 2, "neighbours are one");
        assert!(uses(&noted, 250, 251));
        assert!(uses(&noted, 0, 1000));
        assert!(!uses(&noted, 300, 500));
    }

    #[test]
    fn a_command_of_many_ranges_uses_at_least_all_of_them() {
        let noted = noted((0..50).map(|n| range(n * 100, n * 100 + 10)));
        assert!((0..50).all(|n| uses(&noted, n * 100, n * 100 + 1)));
        assert!(!uses(&noted, 10, 100), "the first ones are exact");
    }

    #[test]
    fn a_command_of_which_nothing_is_known_uses_any_memory() {
        let mut memory = CommandMemory::new(70);
        memory.note(1, &[]);
        memory.note(65, &[]);
        memory.note(66, &[]);
        memory.note_unknown(66);
        let mut bits = [0b111, 0b110];
        memory.keep_users(&[range(1, 2)].into_iter().collect(), &mut bits);
        assert_eq!(bits, [0b101, 0b100]);
    }
}
