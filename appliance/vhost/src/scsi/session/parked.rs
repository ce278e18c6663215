//! Chains that were taken and whose volume has no room, in a list for each LUN.
//!
//! Only the heads of chains are kept, and the tags in their slots: a chain is walked and read anew when there is room.

use crate::scsi::cancel::Scope;
use crate::scsi::lun::{LunAddress, LunPlace};
use luge_virtqueue::{Head, QueueSize};

/// Most LUNs that have parked chains at the same time.
const LUNS: usize = 64;

/// Parked chains of a LUN.
#[derive(Clone, Copy)]
pub(super) struct ParkedLun {
    pub(super) lun: LunAddress,
    first: Head,
    last: Head,
    count: usize,
    /// Number of chains at the beginning among which some are to be answered whether there is room or not.
    pub(super) urgent: usize,
}

/// Parked chains of a session. Does not grow.
pub(super) struct Parked {
    /// Next chain of the same list, by heads.
    next: Box<[Head]>,
    luns: heapless::Vec<ParkedLun, LUNS>,
    /// Index of the LUN that is looked at next.
    at: usize,
    /// Whether the next take serves parked chains.
    is_due: bool,
}

impl Parked {
    pub(super) fn new(size: QueueSize) -> Self {
        Self {
            next: vec![Head(0); size.get().into()].into(),
            luns: heapless::Vec::new(),
            at: 0,
            is_due: true,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.luns.is_empty()
    }

    /// Number of LUNs that have parked chains.
    pub(super) fn luns(&self) -> usize {
        self.luns.len()
    }

    /// Whether a take serves parked chains: every other one, so that those of the ring have their turn, too.
    pub(super) fn take_turn(&mut self) -> bool {
        let is_due = self.is_due;
        self.is_due = !is_due;
        is_due
    }

    /// The LUN that is to be looked at next, and its index.
    pub(super) fn turn_to_next(&mut self) -> Option<(usize, ParkedLun)> {
        let at = if self.at < self.luns.len() { self.at } else { 0 };
        self.at = at.saturating_add(1);
        self.luns.get(at).map(|lun| (at, *lun))
    }

    /// Adds a chain to the end of a LUN's list; returns whether there was room for the LUN.
    pub(super) fn add(&mut self, lun: LunAddress, head: Head) -> bool {
        match self.luns.iter_mut().find(|parked| parked.lun == lun) {
            Some(parked) => {
                let last = self.next.get_mut(usize::from(parked.last.0));
                last.into_iter().for_each(|next| *next = head);
                parked.last = head;
                parked.count = parked.count.saturating_add(1);
                true
            }
            None => {
                let parked = ParkedLun { lun, first: head, last: head, count: 1, urgent: 0 };
                self.luns.push(parked).is_ok()
            }
        }
    }

    /// The first chains of the LUN with that index, at most `most`.
    pub(super) fn heads(&self, index: usize, most: usize) -> impl Iterator<Item = Head> {
        let lun = self.luns.get(index);
        let count = lun.map_or(0, |lun| lun.count).min(most);
        let first = lun.map(|lun| lun.first);
        std::iter::successors(first, |head| self.next.get(usize::from(head.0)).copied()).take(count)
    }

    /// Removes the first `count` chains of the LUN with that index.
    pub(super) fn remove_first(&mut self, index: usize, count: usize) {
        let after = self.heads(index, usize::MAX).nth(count);
        let Some(lun) = self.luns.get_mut(index) else { return };
        match after {
            Some(first) => {
                lun.first = first;
                lun.count = lun.count.saturating_sub(count);
                lun.urgent = lun.urgent.saturating_sub(count);
            }
            None => {
                self.luns.swap_remove(index);
            }
        }
    }

    /// Lets all chains of a scope be looked at, whether there is room or not.
    pub(super) fn urge(&mut self, scope: Scope) {
        let in_scope = |parked: &&mut ParkedLun| scope.covers(LunPlace::Lun(parked.lun));
        self.luns.iter_mut().filter(in_scope).for_each(|parked| parked.urgent = parked.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LUN: LunAddress = LunAddress { target: 1, lun: 2 };
    const OTHER: LunAddress = LunAddress { target: 1, lun: 3 };

    fn parked(heads: impl IntoIterator<Item = u16>) -> Parked {
        let mut parked = Parked::new(QueueSize::new(64).unwrap());
        heads.into_iter().for_each(|head| assert!(parked.add(LUN, Head(head))));
        parked
    }

    fn heads(parked: &Parked, index: usize) -> Vec<u16> {
        parked.heads(index, usize::MAX).map(|head| head.0).collect()
    }

    #[test]
    fn chains_of_a_lun_stay_in_their_order() {
        let mut parked = parked([5, 3]);
        assert!(parked.add(OTHER, Head(4)));
        assert!(parked.add(LUN, Head(60)));
        assert_eq!(heads(&parked, 0), [5, 3, 60]);
        assert_eq!(heads(&parked, 1), [4]);
        parked.remove_first(0, 2);
        assert_eq!(heads(&parked, 0), [60]);
        assert!(parked.add(LUN, Head(5)));
        assert_eq!(heads(&parked, 0), [60, 5]);
        parked.remove_first(0, 2);
        assert_eq!(heads(&parked, 0), [4], "a LUN without chains is gone");
    }

    #[test]
    fn all_luns_are_looked_at_in_turn() {
        let mut parked = parked([1]);
        parked.add(OTHER, Head(2));
        let luns: Vec<_> =
            (0..4).filter_map(|_| parked.turn_to_next()).map(|(_, parked)| parked.lun).collect();
        assert_eq!(luns, [LUN, OTHER, LUN, OTHER]);
    }

    #[test]
    fn only_chains_that_were_parked_before_are_urgent() {
        let mut parked = parked([1, 2]);
        parked.urge(Scope::Target(2));
        assert_eq!(parked.turn_to_next().unwrap().1.urgent, 0);
        parked.urge(Scope::Target(1));
        parked.add(LUN, Head(3));
        assert_eq!(parked.turn_to_next().unwrap().1.urgent, 2);
        parked.remove_first(0, 1);
        assert_eq!(parked.turn_to_next().unwrap().1.urgent, 1);
    }

    #[test]
    fn there_is_room_for_so_many_luns_and_no_more() {
        let mut parked = parked([]);
        for lun in 0..64 {
            assert!(parked.add(LunAddress { target: 0, lun }, Head(lun.into())));
        }
        assert!(!parked.add(LUN, Head(0)));
        assert!(parked.add(LunAddress { target: 0, lun: 5 }, Head(5)));
        assert_eq!(parked.luns(), 64);
    }
}
