//! LUNs on cores: how they come, and how they leave.

use super::LunError;
use super::life::{Lun, Removal};
use super::shared::Shared;
use crate::scsi::lun::LunAddress;
use luge_block::CoreId;
use luge_core::{AttachError, Attachment, CoreHandle, drain};
use luge_scsi::{LogicalUnit, Nexus};
use luge_volume::Source;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

impl Shared {
    /// Adds a LUN: (1) to (2), or (1) to (4). Blocks while devices open queues, and until all cores serve it.
    pub(super) fn add(&self, address: LunAddress, unit: &Arc<LogicalUnit>) -> Result<(), LunError> {
        let change = self.attach(address, unit)?;
        self.relay.ring();
        drop(self.changed.wait_while(self.luns(), |luns| !luns.is_in_tables(change)));
        Ok(())
    }

    /// (1) to (2), or (1) to (4). Returns the number of that change.
    fn attach(&self, address: LunAddress, unit: &Arc<LogicalUnit>) -> Result<u64, LunError> {
        self.luns().begin_attach(address, unit)?;
        let cores = self.cores();
        let nexus = unit.connect(&self.initiator, address.target);
        let opened = open(&cores, unit, &nexus);
        let on_cores = opened.map_err(|source| {
            self.luns().gone(address);
            LunError::Attach { address, source }
        })?;
        let lun = Lun { unit: unit.clone(), nexus, on_cores, hold: Arc::default() };
        // What comes back is dropped when the lock is open again.
        let attached = self.luns().attached(address, lun);
        attached.map_err(|(error, _lun)| error)
    }

    /// Removes a LUN: (2) to (3) to (4). Blocks until nothing refers to it.
    pub(super) fn remove(&self, address: LunAddress) -> Result<(), LunError> {
        self.luns().begin_removal(address)?;
        self.relay.ring();
        self.finish_removal(address);
        Ok(())
    }

    /// (3) to (4). Blocks until nothing refers to the LUN.
    pub(super) fn finish_removal(&self, address: LunAddress) {
        while self.wait_until_unused(address) {
            self.close(address);
        }
    }

    /// Waits until nothing refers to a LUN; returns whether its volume is to be taken off the cores, and not by somebody
    /// else.
    fn wait_until_unused(&self, address: LunAddress) -> bool {
        let luns = self.changed.wait_while(self.luns(), |luns| luns.removal(address) == Removal::UnderWay);
        let luns = luns.unwrap_or_else(PoisonError::into_inner);
        luns.removal(address) == Removal::Unused
    }

    /// Takes the volume of a LUN that nothing refers to off its cores. Whoever comes first does it.
    fn close(&self, address: LunAddress) {
        // Before the LUN is taken out: a core that leaves takes the volumes of all that are not.
        let _cores = self.cores();
        let Some(lun) = self.luns().take_unused(address) else { return };
        // Requests that volumes have made themselves for the last ones of the guest.
        drain(lun.on_cores.values());
        drop(lun);
        self.luns().gone(address);
        self.changed.notify_all();
    }
}

/// A device that has gone.
impl Shared {
    /// Removes the LUN of a unit whose device has gone. Returns at once.
    pub(super) fn unit_gone(self: &Arc<Self>, unit: &Arc<LogicalUnit>) {
        let removed = self.luns().begin_removal_of(unit);
        self.relay.ring();
        let Some(address) = removed else { return };
        let shared = self.clone();
        let finish = move || shared.finish_removal(address);
        let spawned = std::thread::Builder::new().name("scsi removal".into()).spawn(finish);
        // Without a thread, whoever removes them again, or deletes the adapter, takes their volumes off the cores.
        drop(spawned.inspect_err(|error| tracing::warn!("{}: no thread for a removal: {error}", self.name)));
    }
}

/// Opens the volume of a unit on cores.
fn open(
    cores: &[CoreHandle],
    unit: &LogicalUnit,
    nexus: &Nexus,
) -> Result<BTreeMap<CoreId, Attachment>, AttachError> {
    let open = |core: &CoreHandle| Ok((core.id(), core.attach_as(unit.volume(), nexus.reservations())?));
    cores.iter().map(open).collect()
}

/// A core of a front end whose memory keeps cores waiting.
impl Shared {
    /// Opens the volumes of all LUNs on another core.
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    pub(super) fn add_core(&self, core: &CoreHandle) -> Result<(), AttachError> {
        let mut cores = self.cores_mut();
        let live: Vec<_> = self.luns().live().map(|(address, lun)| (address, lun.nexus.clone())).collect();
        let open = |(address, nexus): &(LunAddress, Arc<Nexus>)| {
            Ok((*address, core.attach_as(nexus.unit().volume(), nexus.reservations())?))
        };
        let opened =
            live.iter().map(open).collect::<Result<BTreeMap<LunAddress, Attachment>, AttachError>>()?;
        cores.push(core.clone());
        // What is left is of LUNs that were removed meanwhile; it is dropped when the lock is open again.
        let _left = self.luns().put_on(core, opened);
        // They may have been resized before the core was known.
        live.iter().for_each(|(_, nexus)| resize_soon(core, nexus.unit()));
        Ok(())
    }

    /// Closes the volumes of all LUNs on a core, whose sessions are gone.
    pub(super) fn remove_core(&self, core: CoreId) {
        let mut cores = self.cores_mut();
        cores.retain(|other| other.id() != core);
        let closed = self.luns().take_off(core);
        drop(closed);
    }

    /// Lets cores that the process does not know serve the present size of a unit, and tells the guest of it.
    pub(super) fn resized(&self, unit: &Arc<LogicalUnit>) {
        let background = self.luns().background.clone();
        background.iter().for_each(|core| resize_soon(core, unit));
        self.luns().resized(unit);
        self.relay.ring();
    }
}

fn resize_soon(core: &CoreHandle, unit: &LogicalUnit) {
    if let Source::Device(device) = unit.volume().source() {
        core.resize_soon(device);
    }
}
