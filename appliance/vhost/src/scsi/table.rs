//! The LUNs of an adapter on one core.
//!
//! A table never changes. A LUN that is added, removed or changed makes a new table, which sessions get between two
//! turns. It has the parts of all other targets in common with the one before.

use super::drain::Drain;
use super::lun::LunAddress;
use luge_scsi::{Gate, UnitView};
use luge_volume::{Stats, VolumeId};
use std::collections::BTreeMap;
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

/// The LUNs of a target.
struct Target {
    /// Index of each LUN in `entries`; past their end for one that is not there.
    indices: [u16; NUMBERS],
    entries: Vec<LunEntry>,
}

impl Target {
    const NONE: u16 = u16::MAX;

    fn new(luns: Vec<(u8, LunEntry)>) -> Self {
        let mut indices = [Self::NONE; NUMBERS];
        for (&(lun, _), index) in luns.iter().zip(0..) {
            indices.get_mut(usize::from(lun)).into_iter().for_each(|place| *place = index);
        }
        Self { indices, entries: luns.into_iter().map(|(_, entry)| entry).collect() }
    }
}

/// The LUNs of an adapter on one core.
#[derive(Clone)]
pub struct LunTable {
    /// Targets by their numbers; none for one without LUNs.
    targets: Box<[Option<Arc<Target>>]>,
    /// Number of LUNs.
    len: usize,
}

impl Default for LunTable {
    fn default() -> Self {
        Self { targets: vec![None; NUMBERS].into(), len: 0 }
    }
}

impl LunTable {
    /// A table of LUNs, of which the last one counts where several have one address.
    #[must_use]
    pub fn new(luns: impl IntoIterator<Item = (LunAddress, LunEntry)>) -> Self {
        let mut targets = BTreeMap::<u8, Vec<(u8, LunEntry)>>::new();
        for (LunAddress { target, lun }, entry) in luns {
            targets.entry(target).or_default().push((lun, entry));
        }
        Self::default().with_targets(targets)
    }

    /// The table with other LUNs at some targets: those of each target by their numbers.
    #[must_use]
    pub fn with_targets(&self, targets: impl IntoIterator<Item = (u8, Vec<(u8, LunEntry)>)>) -> Self {
        let mut table = self.clone();
        for (number, luns) in targets {
            let target = (!luns.is_empty()).then(|| Arc::new(Target::new(luns)));
            table.targets.get_mut(usize::from(number)).into_iter().for_each(|place| *place = target.clone());
        }
        table.len = table.targets.iter().flatten().map(|target| target.entries.len()).sum();
        table
    }

    /// The LUN at an address.
    #[inline]
    #[must_use]
    pub fn get(&self, address: LunAddress) -> Option<&LunEntry> {
        let target = self.target(address.target)?;
        let index = *target.indices.get(usize::from(address.lun))?;
        target.entries.get(usize::from(index))
    }

    /// A LUN of a target; none where there is no such target.
    #[must_use]
    pub fn first_of(&self, target: u8) -> Option<&LunEntry> {
        self.target(target)?.entries.first()
    }

    /// A LUN of any target; none where there is none.
    #[must_use]
    pub fn first(&self) -> Option<&LunEntry> {
        self.targets.iter().flatten().next()?.entries.first()
    }

    /// Number of LUNs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no LUN.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a target has LUNs.
    #[must_use]
    pub fn has_target(&self, target: u8) -> bool {
        self.target(target).is_some()
    }

    #[inline]
    fn target(&self, target: u8) -> Option<&Target> {
        self.targets.get(usize::from(target))?.as_deref()
    }
}
