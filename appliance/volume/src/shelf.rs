//! Slots of one size, shared fairly among volumes.
//!
//! A volume that finds no free slot makes a *claim*. While it is valid, no volume that holds as many
//! slots or more gets one. Of several volumes without a slot, the one that holds the fewest has the
//! claim; among equals, the first. A claim is renewed by asking again, and lapses with the volume's interest.

use crate::VolumeId;

/// A slot of a cutter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct SlotId(pub(crate) u16);

/// Turns for which a claim is valid after the volume has asked.
const CLAIM_TURNS: u32 = 2;

/// A volume that asks for a slot.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) volume: VolumeId,
    /// Number of slots of this size that it holds.
    pub(crate) holds: usize,
    /// Number of the turn in which it asks.
    pub(crate) turn: u32,
}

impl Asker {
    /// Whether this claim is still valid in a turn.
    fn is_valid(&self, turn: u32) -> bool {
        turn.wrapping_sub(self.turn) <= CLAIM_TURNS
    }
}

/// Slots of one size. Does not grow.
pub(crate) struct Shelf {
    slots: usize,
    free: Vec<SlotId>,
    claim: Option<Asker>,
}

impl Shelf {
    pub(crate) fn new(slots: impl Iterator<Item = SlotId>) -> Self {
        let free: Vec<SlotId> = slots.collect();
        Self { slots: free.len(), free, claim: None }
    }

    /// Takes a slot for a volume; none where there is none, or another volume's claim goes first.
    pub(crate) fn take(&mut self, asker: Asker) -> Option<SlotId> {
        let first = self.claim.filter(|claim| claim.is_valid(asker.turn) && claim.volume != asker.volume);
        if first.is_some_and(|claim| claim.holds <= asker.holds) {
            return None;
        }
        let slot = self.free.pop();
        match slot {
            Some(_) if first.is_none() => self.claim = None,
            Some(_) => {}
            None => self.claim = Some(asker),
        }
        slot
    }

    /// Returns a slot. With the last one goes the claim: no turns are counted while nothing is in parts.
    pub(crate) fn put_back(&mut self, slot: SlotId) {
        self.free.push(slot);
        if self.free.len() == self.slots {
            self.claim = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(volume: u16, holds: usize, turn: u32) -> Asker {
        Asker { volume: VolumeId(volume), holds, turn }
    }

    fn shelf(slots: u16) -> Shelf {
        Shelf::new((0..slots).map(SlotId))
    }

    #[test]
    fn a_volume_alone_gets_all_slots() {
        let mut shelf = shelf(3);
        (0..3).for_each(|holds| assert!(shelf.take(asker(1, holds, 0)).is_some()));
        assert!(shelf.take(asker(1, 3, 0)).is_none());
        shelf.put_back(SlotId(2));
        assert_eq!(shelf.take(asker(1, 2, 1)), Some(SlotId(2)));
    }

    #[test]
    fn a_claim_goes_before_volumes_that_hold_as_much_or_more() {
        let mut shelf = shelf(2);
        (0..2).for_each(|holds| assert!(shelf.take(asker(1, holds, 0)).is_some()));
        assert!(shelf.take(asker(2, 0, 0)).is_none(), "there is none left");
        shelf.put_back(SlotId(0));
        assert!(shelf.take(asker(1, 1, 1)).is_none(), "volume 2 waits and holds less");
        assert!(shelf.take(asker(3, 0, 1)).is_none(), "volume 2 came first");
        assert!(shelf.take(asker(2, 0, 1)).is_some());
    }

    #[test]
    fn a_claim_passes_to_a_volume_that_holds_less() {
        let mut shelf = shelf(2);
        (0..2).for_each(|holds| assert!(shelf.take(asker(1, holds, 0)).is_some()));
        assert!(shelf.take(asker(1, 2, 0)).is_none());
        assert!(shelf.take(asker(2, 0, 0)).is_none());
        shelf.put_back(SlotId(0));
        assert!(shelf.take(asker(3, 0, 1)).is_none());
        assert!(shelf.take(asker(2, 0, 1)).is_some());
    }

    #[test]
    fn a_claim_lapses_when_its_volume_asks_no_more() {
        let claimed = || {
            let mut shelf = shelf(2);
            (0..2).for_each(|holds| assert!(shelf.take(asker(1, holds, 0)).is_some()));
            assert!(shelf.take(asker(2, 0, 0)).is_none());
            shelf.put_back(SlotId(0));
            shelf
        };
        assert!(claimed().take(asker(1, 1, CLAIM_TURNS)).is_none());
        assert!(claimed().take(asker(1, 1, CLAIM_TURNS + 1)).is_some());
        let mut idle = claimed();
        idle.put_back(SlotId(1));
        assert!(idle.take(asker(1, 0, 0)).is_some(), "all slots were free");
    }
}
