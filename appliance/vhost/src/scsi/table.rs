//! The LUNs of an adapter on one core.
//!
//! A table never changes. A LUN that is added, removed or changed makes a new table, which sessions get between two
//! turns.

use super::drain::Drain;
use super::lun::LunAddress;
use luge_scsi::{Gate, UnitView};
use luge_volume::{Stats, VolumeId};
use std::sync::Arc;

/// A LUN on one core.
#[derive(Clone)]
pub struct LunEntry {
    /// Number of its volume in the core's graph.
    pub volume: VolumeId,
    /// Statistics of the volume on that core.
    pub stats: Arc<Stats>,
    /// Size, limits and settings.
    pub view: UnitView,
    /// Whether the core may serve commands by itself.
    pub gate: Arc<Gate>,
    /// Token of whoever waits until no table has the LUN.
    pub hold: Arc<Drain>,
}

/// Number of targets of an adapter, and of LUNs of a target.
const NUMBERS: usize = 256;

/// Indices of the entries of a target's LUNs; [`NONE`] for those that are not there.
type Target = [u16; NUMBERS];

/// Index of no entry, or of no target.
const NONE: u16 = u16::MAX;

/// The LUNs of an adapter on one core.
#[derive(Default)]
pub struct LunTable {
    /// Index of each target in `targets`; none where a target has no LUN.
    numbers: Box<[u16]>,
    targets: Vec<Target>,
    entries: Vec<LunEntry>,
}

impl LunTable {
    /// A table of LUNs, of which the last one counts where several have one address. There are fewer than 65535.
    #[must_use]
    pub fn new(luns: impl IntoIterator<Item = (LunAddress, LunEntry)>) -> Self {
        let mut table = Self { numbers: vec![NONE; NUMBERS].into(), ..Self::default() };
        luns.into_iter().for_each(|(address, entry)| table.add(address, entry));
        table
    }

    fn add(&mut self, address: LunAddress, entry: LunEntry) {
        let next = u16::try_from(self.targets.len()).unwrap_or(NONE);
        let Some(number) = self.numbers.get_mut(usize::from(address.target)) else { return };
        if *number == NONE {
            *number = next;
            self.targets.push([NONE; NUMBERS]);
        }
        let target = self.targets.get_mut(usize::from(*number));
        let index = u16::try_from(self.entries.len()).unwrap_or(NONE);
        if let Some(place) = target.and_then(|target| target.get_mut(usize::from(address.lun))) {
            *place = index;
            self.entries.push(entry);
        }
    }

    /// The LUN at an address.
    #[inline]
    #[must_use]
    pub fn get(&self, address: LunAddress) -> Option<&LunEntry> {
        let number = *self.numbers.get(usize::from(address.target))?;
        let index = *self.targets.get(usize::from(number))?.get(usize::from(address.lun))?;
        self.entries.get(usize::from(index))
    }

    /// Whether a target has LUNs.
    #[must_use]
    pub fn has_target(&self, target: u8) -> bool {
        self.numbers.get(usize::from(target)).is_some_and(|&number| number != NONE)
    }
}
