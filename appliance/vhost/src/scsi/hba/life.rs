//! Life of a LUN.
//!
//! ```text
//!  (1) attaching --its volume is open on every core--> (2) live: new tables on the cores, then event RESCAN
//!  (1) attaching --a core refuses; its device goes; the adapter stops--> (4) gone: nothing is kept
//!  (2) live      --removed by the operator; its device goes; the adapter stops-->
//!                  (3) removing: tables without it on the cores, then event REMOVED
//!  (3) removing  --no table and no request refers to it any more--> its volume leaves the cores --> (4) gone
//! ```
//!
//! Invariants
//! - A LUN keeps its address in all states but (4), so that no other one takes its place before its last request has
//!   ended.
//! - Whoever removes a LUN waits for it, as long as the slowest SSD takes. The adapter's thread waits for nothing.
//! - A volume leaves its cores after the last table that names it, also that of a session that is leaving.

use super::{LunError, LunPhase, LunStatus};
use crate::scsi::cancel::Scope;
use crate::scsi::drain::Drain;
use crate::scsi::lun::LunAddress;
use luge_block::CoreId;
use luge_core::{Attachment, CoreHandle};
use luge_memory::NodeAmounts;
use luge_scsi::{Gate, LogicalUnit, Nexus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most LUNs that are asked for the NUMA nodes of their devices.
const NODES_ASKED: usize = 64;

/// A LUN with its volume on the cores of the adapter.
pub(super) struct Lun {
    pub(super) unit: Arc<LogicalUnit>,
    /// Way of the adapter's initiator to the unit.
    pub(super) nexus: Arc<Nexus>,
    pub(super) on_cores: BTreeMap<CoreId, Attachment>,
    /// Token of all tables that name it, and of its last requests.
    pub(super) hold: Arc<Drain>,
}

/// State of a LUN that is not gone.
enum Life {
    /// (1)
    Attaching(Attaching),
    /// (2)
    Live(Lun),
    /// (3)
    Removing(Removing),
}

/// A LUN that is being attached.
struct Attaching {
    unit: Arc<LogicalUnit>,
    /// Whether its device has gone meanwhile.
    is_doomed: bool,
}

/// A LUN that is being removed.
struct Removing {
    unit: Arc<LogicalUnit>,
    /// None when whoever removes it takes its volume off the cores.
    lun: Option<Lun>,
    progress: Progress,
}

/// Progress of a removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// Sessions have tables with the LUN.
    Begun,
    /// Sessions have none, and are being asked for its last requests.
    Asking,
    /// All sessions keep a token for its last requests.
    Told,
    /// Nothing refers to it.
    Unused,
}

/// Identity of a unit among those that are there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct UnitKey(usize);

impl UnitKey {
    fn of(unit: &Arc<LogicalUnit>) -> Self {
        Self(Arc::as_ptr(unit).addr())
    }
}

/// Something that the guest is to be told about a LUN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LunChange {
    /// The LUN is there.
    Added,
    /// The LUN is gone.
    Removed,
    /// The LUN's volume has another size.
    Resized,
}

/// LUNs of an adapter, behind its lock.
#[derive(Default)]
pub(super) struct Luns {
    lives: BTreeMap<LunAddress, Life>,
    /// Address of the LUN of each unit that is not gone.
    addresses: BTreeMap<UnitKey, LunAddress>,
    is_stopping: bool,
    /// Cores of front ends whose memory keeps cores waiting.
    pub(super) background: Vec<CoreHandle>,
    /// LUNs of (3).
    removing: BTreeSet<LunAddress>,
    /// Targets for which the tables on the cores are older than the LUNs.
    changed_targets: BTreeSet<u8>,
    /// Changes that the guest is to be told when the cores have the tables.
    untold: Vec<(LunAddress, LunChange)>,
    /// Number of changes so far, and how many of them are in all tables.
    changes: u64,
    changes_in_tables: u64,
}

impl Luns {
    /// To (1).
    pub(super) fn begin_attach(
        &mut self,
        address: LunAddress,
        unit: &Arc<LogicalUnit>,
    ) -> Result<(), LunError> {
        match self.lives.get(&address) {
            _ if self.is_stopping => return Err(LunError::Stopping(address)),
            Some(Life::Attaching(_)) => return Err(LunError::Attaching(address)),
            Some(Life::Live(_)) => return Err(LunError::Exists(address)),
            Some(Life::Removing(_)) => return Err(LunError::Removing(address)),
            None => {}
        }
        if let Some(&other) = self.addresses.get(&UnitKey::of(unit)) {
            return Err(LunError::Twice { address, other });
        }
        self.addresses.insert(UnitKey::of(unit), address);
        self.lives.insert(address, Life::Attaching(Attaching { unit: unit.clone(), is_doomed: false }));
        Ok(())
    }

    /// (1) to (2); returns the number of that change. Gives the LUN back where it is to go, (1) to (4).
    pub(super) fn attached(&mut self, address: LunAddress, lun: Lun) -> Result<u64, (LunError, Lun)> {
        let is_doomed =
            matches!(self.lives.get(&address), Some(Life::Attaching(Attaching { is_doomed: true, .. })));
        if is_doomed || self.is_stopping {
            self.gone(address);
            return Err((LunError::Gone(address), lun));
        }
        self.lives.insert(address, Life::Live(lun));
        self.change(address, LunChange::Added);
        Ok(self.changes)
    }

    /// (1) to (4), or (3) to (4).
    pub(super) fn gone(&mut self, address: LunAddress) {
        let life = self.lives.remove(&address);
        life.into_iter().for_each(|life| _ = self.addresses.remove(&UnitKey::of(life.unit())));
        self.removing.remove(&address);
    }

    /// (2) to (3).
    ///
    /// # Errors
    /// [`LunError::Absent`], [`LunError::Attaching`].
    pub(super) fn begin_removal(&mut self, address: LunAddress) -> Result<(), LunError> {
        match self.lives.remove(&address) {
            None => Err(LunError::Absent(address)),
            Some(life @ Life::Attaching(_)) => {
                self.lives.insert(address, life);
                Err(LunError::Attaching(address))
            }
            Some(life @ Life::Removing(_)) => {
                self.lives.insert(address, life);
                Ok(())
            }
            Some(Life::Live(lun)) => {
                let unit = lun.unit.clone();
                let removing = Removing { unit, lun: Some(lun), progress: Progress::Begun };
                self.lives.insert(address, Life::Removing(removing));
                self.removing.insert(address);
                self.change(address, LunChange::Removed);
                Ok(())
            }
        }
    }

    /// (2) to (3), or (1) to (4) as soon as possible: for the LUN of a unit whose device has gone. Returns one of (3).
    pub(super) fn begin_removal_of(&mut self, unit: &Arc<LogicalUnit>) -> Option<LunAddress> {
        let &address = self.addresses.get(&UnitKey::of(unit))?;
        if let Some(Life::Attaching(attaching)) = self.lives.get_mut(&address) {
            attaching.is_doomed = true;
        }
        self.begin_removal(address).is_ok().then_some(address)
    }

    /// (2) to (3) for all LUNs. None can be added from now on.
    pub(super) fn stop(&mut self) -> Vec<LunAddress> {
        self.is_stopping = true;
        let addresses: Vec<LunAddress> = self.lives.keys().copied().collect();
        addresses.into_iter().filter(|&address| self.begin_removal(address).is_ok()).collect()
    }

    /// Tells the guest that the volume of a unit has another size.
    pub(super) fn resized(&mut self, unit: &Arc<LogicalUnit>) {
        let address = self.addresses.get(&UnitKey::of(unit)).copied();
        let live = address.filter(|&address| self.get(address).is_some());
        live.into_iter().for_each(|address| self.change(address, LunChange::Resized));
    }

    fn change(&mut self, address: LunAddress, change: LunChange) {
        self.changes = self.changes.wrapping_add(1);
        self.changed_targets.insert(address.target);
        self.untold.push((address, change));
    }

    /// Number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Notes that this many changes are in all tables.
    pub(super) fn are_in_tables(&mut self, changes: u64) {
        self.changes_in_tables = changes;
    }

    /// Whether all tables have this many changes.
    pub(super) fn is_in_tables(&self, changes: u64) -> bool {
        self.changes_in_tables >= changes
    }

    /// Takes the targets for which sessions are to get new tables.
    pub(super) fn take_changed_targets(&mut self) -> BTreeSet<u8> {
        std::mem::take(&mut self.changed_targets)
    }

    /// Changes that the guest is to be told.
    pub(super) fn take_untold(&mut self) -> Vec<(LunAddress, LunChange)> {
        std::mem::take(&mut self.untold)
    }

    /// Adds a core on which the volumes of LUNs were opened; returns those that are not of (2) any more.
    pub(super) fn put_on(
        &mut self,
        core: &CoreHandle,
        mut opened: BTreeMap<LunAddress, Attachment>,
    ) -> BTreeMap<LunAddress, Attachment> {
        self.background.push(core.clone());
        for (&address, life) in &mut self.lives {
            if let Life::Live(lun) = life {
                lun.on_cores.extend(opened.remove(&address).map(|attachment| (core.id(), attachment)));
            }
        }
        opened
    }

    /// Takes the volumes of all LUNs off a core.
    pub(super) fn take_off(&mut self, core: CoreId) -> Vec<Attachment> {
        self.background.retain(|other| other.id() != core);
        let luns = self.lives.values_mut().filter_map(|life| match life {
            Life::Live(lun) | Life::Removing(Removing { lun: Some(lun), .. }) => Some(lun),
            Life::Attaching(_) | Life::Removing(Removing { lun: None, .. }) => None,
        });
        luns.filter_map(|lun| lun.on_cores.remove(&core)).collect()
    }

    /// LUNs of (2).
    pub(super) fn live(&self) -> impl Iterator<Item = (LunAddress, &Lun)> {
        self.lives.iter().filter_map(|(&address, life)| match life {
            Life::Live(lun) => Some((address, lun)),
            Life::Attaching(_) | Life::Removing(_) => None,
        })
    }

    /// Whether requests to a LUN may be in flight: (2) and (3).
    pub(super) fn may_have_requests(&self, address: LunAddress) -> bool {
        self.lives.get(&address).is_some_and(|life| !matches!(life, Life::Attaching(_)))
    }

    /// Whether a target has LUNs of (2) or (3).
    pub(super) fn has_target(&self, target: u8) -> bool {
        let mut luns = self.lives.range(LunAddress::all_of(target));
        luns.any(|(_, life)| !matches!(life, Life::Attaching(_)))
    }

    /// LUNs of (2) of a target.
    pub(super) fn of_target(&self, target: u8) -> impl Iterator<Item = (LunAddress, &Lun)> {
        let luns = self.lives.range(LunAddress::all_of(target));
        luns.filter_map(|(&address, life)| match life {
            Life::Live(lun) => Some((address, lun)),
            Life::Attaching(_) | Life::Removing(_) => None,
        })
    }

    /// Ways to the units of LUNs of (2), for calls that must not be made while this is locked.
    pub(super) fn nexuses(&self, scope: Scope) -> Vec<Arc<Nexus>> {
        let nexus = |(_, lun): (LunAddress, &Lun)| lun.nexus.clone();
        match scope {
            Scope::Task { lun, .. } | Scope::Lun(lun) => {
                self.get(lun).into_iter().map(|lun| lun.nexus.clone()).collect()
            }
            Scope::Target(target) => self.of_target(target).map(nexus).collect(),
            Scope::All => self.live().map(nexus).collect(),
        }
    }

    /// LUN of (2) or (3) of a target whose nexus has a gate.
    pub(super) fn with_gate(&self, target: u8, gate: &Arc<Gate>) -> Option<LunAddress> {
        let mut luns = self.lives.range(LunAddress::all_of(target));
        let is_it = |life: &Life| life.nexus().is_some_and(|nexus| Arc::ptr_eq(nexus.gate(), gate));
        luns.find_map(|(&address, life)| is_it(life).then_some(address))
    }

    /// A LUN of (2).
    pub(super) fn get(&self, address: LunAddress) -> Option<&Lun> {
        match self.lives.get(&address)? {
            Life::Live(lun) => Some(lun),
            Life::Attaching(_) | Life::Removing(_) => None,
        }
    }
}

/// Removal.
impl Luns {
    /// LUNs of which no session has a table from now on, with a token for their last requests.
    pub(super) fn begin_asking(&mut self) -> Vec<(LunAddress, Arc<Drain>)> {
        let mut begun = Vec::new();
        self.advance_removals(Progress::Begun, |address, lun| {
            begun.push((address, lun.hold.clone()));
            Some(Progress::Asking)
        });
        begun
    }

    /// Calls `advance` with each LUN whose removal has made a progress: it returns a further one.
    fn advance_removals(
        &mut self,
        of: Progress,
        mut advance: impl FnMut(LunAddress, &mut Lun) -> Option<Progress>,
    ) {
        for &address in &self.removing {
            if let Some(Life::Removing(Removing { lun: Some(lun), progress, .. })) =
                self.lives.get_mut(&address)
                && *progress == of
                && let Some(further) = advance(address, lun)
            {
                *progress = further;
            }
        }
    }

    /// Notes that all sessions keep a token for the last requests of a LUN.
    pub(super) fn told(&mut self, address: LunAddress) {
        if let Some(Life::Removing(removing)) = self.lives.get_mut(&address) {
            removing.progress = Progress::Told;
        }
    }

    /// Looks which LUNs nothing refers to any more; returns whether there is a new one.
    pub(super) fn find_unused(&mut self) -> bool {
        let mut found = false;
        self.advance_removals(Progress::Told, |_, lun| {
            let is_unused = Drain::is_over(&mut lun.hold);
            found |= is_unused;
            is_unused.then_some(Progress::Unused)
        });
        found
    }

    /// State of a removal, for whoever waits for it.
    pub(super) fn removal(&self, address: LunAddress) -> Removal {
        match self.lives.get(&address) {
            Some(Life::Removing(Removing { lun: Some(_), progress: Progress::Unused, .. })) => {
                Removal::Unused
            }
            Some(Life::Removing(_)) => Removal::UnderWay,
            // It may have been added again.
            Some(Life::Attaching(_) | Life::Live(_)) | None => Removal::Over,
        }
    }

    /// Takes a LUN out that nothing refers to. Its place stays taken.
    pub(super) fn take_unused(&mut self, address: LunAddress) -> Option<Lun> {
        match self.lives.get_mut(&address) {
            Some(Life::Removing(Removing { lun, progress: Progress::Unused, .. })) => lun.take(),
            _ => None,
        }
    }
}

/// State of a removal, for whoever waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Removal {
    /// Something refers to the LUN, or somebody takes its volume off the cores.
    UnderWay,
    /// The volume is to be taken off the cores.
    Unused,
    /// The LUN is gone.
    Over,
}

impl Life {
    fn unit(&self) -> &Arc<LogicalUnit> {
        match self {
            Self::Attaching(Attaching { unit, .. })
            | Self::Live(Lun { unit, .. })
            | Self::Removing(Removing { unit, .. }) => unit,
        }
    }

    /// Way of the adapter's initiator to the unit; none in (1), and where the volume is being closed.
    fn nexus(&self) -> Option<&Nexus> {
        match self {
            Self::Live(lun) | Self::Removing(Removing { lun: Some(lun), .. }) => Some(&lun.nexus),
            Self::Attaching(_) | Self::Removing(Removing { lun: None, .. }) => None,
        }
    }

    const fn phase(&self) -> LunPhase {
        match self {
            Self::Attaching(_) => LunPhase::Attaching,
            Self::Live(_) => LunPhase::Live,
            Self::Removing(_) => LunPhase::Removing,
        }
    }
}

impl Luns {
    /// NUMA nodes of the devices beneath the first LUNs.
    pub(super) fn nodes(&self) -> NodeAmounts {
        let mut nodes = NodeAmounts::default();
        self.live().take(NODES_ASKED).for_each(|(_, lun)| nodes.add_all(&lun.unit.volume().nodes()));
        nodes
    }

    /// Status of all LUNs, in the order of their addresses.
    pub(super) fn status(&self) -> Vec<LunStatus> {
        let status = |(&address, life): (&LunAddress, &Life)| LunStatus {
            address,
            unit: life.unit().clone(),
            phase: life.phase(),
            has_seen_size: life.nexus().is_none_or(|nexus| !nexus.has_unseen_capacity()),
        };
        self.lives.iter().map(status).collect()
    }
}
