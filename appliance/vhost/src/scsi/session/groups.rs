//! Chains of a batch by their LUNs, in one pass and without a sort.
//!
//! Requests of a LUN need not follow each other. All task attributes are taken for SIMPLE, so that requests may overtake
//! each other.
//!
//! Invariant: the LUN of a chain is loaded once, here; a run reads the rest of the header.

use crate::scsi::request::Batch;
use luge_spec::virtio::scsi::{LunField, RequestHeader};
use luge_virtqueue::BATCH;
use std::mem::offset_of;

/// Chains of a batch that are to one LUN, a bit each.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) lun: LunField,
    /// Chains that were not found unfit for a run.
    pub(super) chains: u64,
}

/// Place of the LUN in a header.
const LUN: usize = offset_of!(RequestHeader, lun);

/// Number of places in the table of groups.
const PLACES: usize = 256;

/// The groups of a batch.
pub(super) struct Groups {
    /// The first `count` are in use.
    groups: [Group; BATCH],
    count: usize,
    /// Index of the group that was last found by a hash. One that is out of date leads to another group or to none.
    places: [u8; PLACES],
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { groups: [Group { lun: LunField([0; 8]), chains: 0 }; BATCH], count: 0, places: [0; PLACES] }
    }

    /// Groups the chains of a new batch.
    ///
    /// Not inlined, so that the loop keeps its values in registers.
    #[inline(never)]
    pub(super) fn form(&mut self, batch: &Batch) {
        self.count = 0;
        let mut row = Group { lun: LunField([0; 8]), chains: 0 };
        let mut bit = 1_u64;
        for header in batch.headers() {
            if let Some(header) = header {
                let lun = LunField(header.load_at::<LUN, { size_of::<LunField>() }>());
                if lun != row.lun {
                    self.add(row);
                    row = Group { lun, chains: 0 };
                }
                row.chains |= bit;
            }
            bit = bit.wrapping_shl(1);
        }
        self.add(row);
    }

    /// Adds chains that follow each other to the group of their LUN.
    #[inline]
    fn add(&mut self, row: Group) {
        if row.chains == 0 {
            return;
        }
        let hash = hash(row.lun);
        let place = self.places.get(hash).copied().unwrap_or(0);
        match self.groups.get_mut(..self.count).and_then(|groups| groups.get_mut(usize::from(place))) {
            Some(group) if group.lun == row.lun => group.chains |= row.chains,
            _ => self.find(row, hash),
        }
    }

    /// Adds chains to a group that its hash does not lead to: a new one, nearly always.
    #[inline(never)]
    fn find(&mut self, row: Group, hash: usize) {
        let mut groups = self.groups.iter().take(self.count);
        let index = groups.position(|group| group.lun == row.lun).unwrap_or(self.count);
        if index == self.count {
            self.groups.get_mut(index).into_iter().for_each(|place| *place = Group { chains: 0, ..row });
            self.count = self.count.saturating_add(1);
        }
        self.groups.get_mut(index).into_iter().for_each(|group| group.chains |= row.chains);
        let index = u8::try_from(index).unwrap_or(0);
        self.places.get_mut(hash).into_iter().for_each(|place| *place = index);
    }

    /// Number of groups.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A group.
    #[inline]
    pub(super) fn get(&mut self, index: usize) -> Option<&mut Group> {
        self.groups.get_mut(index)
    }
}

/// Place of a LUN in the table.
#[inline]
fn hash(lun: LunField) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    usize::from(u64::from_le_bytes(lun.0).wrapping_mul(ODD).to_be_bytes()[0])
}
