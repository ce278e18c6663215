//! Chains of a batch by their LUNs, in one pass and without a sort. Made for a batch that has more LUNs than one.
//!
//! Requests of a LUN need not follow each other. All task attributes are taken for SIMPLE, so that requests may overtake
//! each other.
//!
//! Not here: a promise. A guest may change a LUN after it was read here; whoever reads a request checks that its LUN is
//! the one of the group.

use crate::scsi::request::{Batch, HeaderSpan};
use luge_spec::virtio::scsi::{LunField, RequestHeader};
use luge_virtqueue::BATCH;
use std::mem::offset_of;

/// Chains of a batch that are to one LUN, a bit each.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) lun: LunField,
    /// Chains that may be for a run.
    pub(super) chains: u64,
}

/// Place of the LUN in a header.
const LUN: usize = offset_of!(RequestHeader, lun);

/// Number of places in the table of groups.
const PLACES: usize = 256;

/// Groups that are kept from one batch to the next, whose LUNs are then found at once.
const KEPT: usize = 16;

/// The groups of a batch.
pub(super) struct Groups {
    groups: heapless::Vec<Group, { KEPT + BATCH }>,
    /// Index of the group that was last found by a hash. One that is out of date leads to another group or to none.
    places: [u8; PLACES],
    /// Whether the groups are of this batch.
    are_formed: bool,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { groups: heapless::Vec::new(), places: [0; PLACES], are_formed: false }
    }

    /// Forgets the groups: they are of another batch.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.are_formed = false;
    }

    /// Whether the groups are of this batch.
    pub(super) fn are_formed(&self) -> bool {
        self.are_formed
    }

    /// Groups the chains of a batch, if that was not done yet. A chain without a header is in a
    /// group by chance.
    ///
    /// Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    pub(super) fn form(&mut self, batch: &Batch) {
        if std::mem::replace(&mut self.are_formed, true) {
            return;
        }
        self.begin();
        let (mut lun, mut first, mut bit) = (LunField([0; 8]), 1_u64, 1_u64);
        for header in batch.headers() {
            if let Some(of) = header.map(lun_of)
                && of != lun
            {
                // All bits from the first one on, below this one.
                self.add(Group { lun, chains: bit.wrapping_sub(first) });
                (lun, first) = (of, bit);
            }
            bit = bit.wrapping_add(bit);
        }
        self.add(Group { lun, chains: bit.wrapping_sub(first) });
    }

    /// Chains of a LUN, of those that were grouped.
    pub(super) fn of(&self, lun: LunField) -> u64 {
        self.groups.iter().find(|group| group.lun == lun).map_or(0, |group| group.chains)
    }

    /// Takes the chains out of the groups, and lets LUNs go if there are many.
    #[inline]
    fn begin(&mut self) {
        if self.groups.len() > KEPT {
            self.groups.clear();
        }
        self.groups.iter_mut().for_each(|group| group.chains = 0);
    }

    /// Adds chains that follow each other to the group of their LUN.
    #[inline]
    fn add(&mut self, row: Group) {
        if row.chains == 0 {
            return;
        }
        let hash = hash(row.lun);
        let place = self.places.get(hash).copied().unwrap_or(0);
        match self.groups.get_mut(usize::from(place)) {
            Some(group) if group.lun == row.lun => group.chains |= row.chains,
            _ => self.find(row, hash),
        }
    }

    /// Adds chains to a group that its hash does not lead to: a new one, nearly always.
    #[inline(never)]
    fn find(&mut self, row: Group, hash: usize) {
        let found = self.groups.iter().position(|group| group.lun == row.lun);
        let index = found.unwrap_or(self.groups.len());
        match self.groups.get_mut(index) {
            Some(group) => group.chains |= row.chains,
            // There is room for as many as a batch can have.
            None => _ = self.groups.push(row),
        }
        let index = u8::try_from(index).unwrap_or(0);
        self.places.get_mut(hash).into_iter().for_each(|place| *place = index);
    }

    /// A group, which may have no chain; none past the last one, and none where no groups were formed.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Group> {
        if self.are_formed { self.groups.get(index).copied() } else { None }
    }
}

/// LUN in a header.
#[inline]
pub(super) fn lun_of(header: HeaderSpan) -> LunField {
    LunField(header.load_at::<LUN, { size_of::<LunField>() }>())
}

/// Place of a LUN in the table.
#[inline]
fn hash(lun: LunField) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    usize::from(u64::from_le_bytes(lun.0).wrapping_mul(ODD).to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_seeded::Random;

    /// Groups a batch whose chains are to LUNs with these numbers, and checks that each LUN has its chains.
    fn check(groups: &mut Groups, luns: &[u8]) {
        let field = |lun: u8| LunField([1, lun % 7, 0, lun, 0, 0, 0, 0]);
        groups.begin();
        for (index, &lun) in luns.iter().enumerate() {
            groups.add(Group { lun: field(lun), chains: 1 << index });
        }
        for (index, &lun) in luns.iter().enumerate() {
            let of_lun = groups.groups.iter().filter(|group| group.lun == field(lun));
            let chains: Vec<u64> = of_lun.map(|group| group.chains).collect();
            assert_eq!(chains.len(), 1, "a LUN has one group");
            assert!(chains[0] >> index & 1 == 1, "chain {index} of {luns:?}");
        }
        let all: u32 = groups.groups.iter().map(|group| group.chains.count_ones()).sum();
        assert_eq!(all as usize, luns.len(), "each chain is in one group");
    }

    #[test]
    fn each_chain_is_in_the_group_of_its_lun_whatever_batches_there_were_before() {
        let (mut groups, mut random) = (Groups::new(), Random::new(1));
        for _ in 0..2000 {
            let most: u64 = random.pick(&[1, 8, 17, 256]);
            let chains = 1 + random.below(BATCH as u64);
            let luns: Vec<u8> =
                (0..chains).map(|_| u8::try_from(random.below(most) % 256).unwrap()).collect();
            check(&mut groups, &luns);
        }
        let all: Vec<u8> = (0..64).collect();
        check(&mut groups, &all);
        check(&mut groups, &all.iter().rev().map(|lun| lun + 64).collect::<Vec<_>>());
    }
}
