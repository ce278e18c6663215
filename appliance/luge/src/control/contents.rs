//! All that exists on a sled, taken out of its tables to be ended.
//!
//! Invariants
//! - Users end before what they use: VMs, listeners, vhost controllers and namespaces, SSDs.
//! - An SSD waits for its own users only, which may be some of the LUNs of a SCSI controller, so that one that hangs keeps no other from its shutdown.
//! - Names stay reserved until what had them is gone.

use super::{Bdev, Endpoint, Listener, NvmfSubsystem, Platform, ServedNamespace, Source, Ssd, VhostDevice};
use luge_vhost::{LunAddress, ScsiHba};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use uuid::Uuid;

/// Objects of a sled, with their names.
pub struct Contents {
    pub(super) platform: Arc<Platform>,
    pub(super) endpoints: Vec<(String, Endpoint)>,
    pub(super) subsystems: Vec<(String, NvmfSubsystem)>,
    pub(super) bdevs: Vec<(String, Bdev)>,
    pub(super) ssds: Vec<(String, Ssd)>,
}

/// Names of objects that have ended.
pub struct EndedNames {
    pub(super) endpoints: Vec<String>,
    pub(super) subsystems: Vec<String>,
    pub(super) bdevs: Vec<(String, Uuid)>,
    pub(super) ssds: Vec<String>,
}

impl Contents {
    /// Ends all objects. Waits for guests to power off, and for every request that was taken.
    pub fn end(self) -> EndedNames {
        let Self { platform, endpoints, subsystems, bdevs, ssds } = self;
        if let Err(error) = platform.vms.stop_all(None) {
            tracing::error!("{error}");
        }
        platform.vms.list().iter().for_each(|vm| drop(platform.vms.delete(&vm.name)));
        let names = EndedNames {
            endpoints: endpoints.iter().map(|(name, _)| name.clone()).collect(),
            subsystems: subsystems.iter().map(|(name, _)| name.clone()).collect(),
            bdevs: bdevs.iter().map(|(name, bdev)| (name.clone(), bdev.uuid)).collect(),
            ssds: ssds.iter().map(|(name, _)| name.clone()).collect(),
        };
        let (listeners, namespaces): (Vec<_>, Vec<_>) =
            subsystems.into_iter().map(|(_, subsystem)| subsystem.into_parts()).unzip();
        at_once(listeners.into_iter().flatten().collect(), Listener::end);
        let namespaces = namespaces.into_iter().flatten().collect();
        let (hbas, disks): (Vec<_>, Vec<_>) = endpoints
            .into_iter()
            .map(|(_, endpoint)| endpoint)
            .partition(|endpoint| endpoint.hba().is_some());
        let groups = groups(Served { disks, hbas: &hbas, namespaces }, &bdevs, ssds);
        // Endpoints and namespaces hold what they need of their devices.
        drop(bdevs);
        thread::scope(|scope| {
            scope.spawn(|| at_once(hbas, Endpoint::end));
            at_once(groups, Group::end);
        });
        names
    }
}

/// Users of block devices.
struct Served<'h> {
    disks: Vec<Endpoint>,
    /// SCSI controllers, which end by themselves.
    hbas: &'h [Endpoint],
    namespaces: Vec<ServedNamespace>,
}

/// A LUN that is to end.
struct ServedLun {
    hba: Arc<ScsiHba>,
    address: LunAddress,
}

impl ServedLun {
    /// Removes the LUN. Waits until nothing is in flight on it: as long as the slowest SSD takes.
    fn end(self) {
        // It fails if the LUN is gone already.
        let _ = self.hba.remove_lun(self.address);
    }
}

/// An SSD with the disks, LUNs and namespaces on it; or those that are on none.
#[derive(Default)]
struct Group {
    disks: Vec<Endpoint>,
    luns: Vec<ServedLun>,
    namespaces: Vec<ServedNamespace>,
    ssd: Option<Ssd>,
}

impl Group {
    fn end(self) {
        at_once(self.disks, Endpoint::end);
        at_once(self.luns, ServedLun::end);
        at_once(self.namespaces, ServedNamespace::end);
        self.ssd.into_iter().for_each(Ssd::end);
    }
}

fn groups(served: Served<'_>, bdevs: &[(String, Bdev)], ssds: Vec<(String, Ssd)>) -> Vec<Group> {
    let sources: BTreeMap<&str, &Source> =
        bdevs.iter().map(|(name, bdev)| (name.as_str(), &bdev.source)).collect();
    let mut groups = BTreeMap::<Option<String>, Group>::new();
    for endpoint in served.disks {
        let VhostDevice::Disk(disk) = &endpoint.device else { continue };
        groups.entry(ssd_of(&disk.bdev, &sources)).or_default().disks.push(endpoint);
    }
    for hba in served.hbas.iter().filter_map(Endpoint::hba) {
        for (address, lun) in hba.luns() {
            let served = ServedLun { hba: hba.device.clone(), address };
            groups.entry(ssd_of(&lun.bdev, &sources)).or_default().luns.push(served);
        }
    }
    for namespace in served.namespaces {
        groups.entry(ssd_of(&namespace.bdev, &sources)).or_default().namespaces.push(namespace);
    }
    for (name, ssd) in ssds {
        groups.entry(Some(name)).or_default().ssd = Some(ssd);
    }
    groups.into_values().collect()
}

/// SSD that a block device is on, if it is on one.
fn ssd_of(bdev: &str, sources: &BTreeMap<&str, &Source>) -> Option<String> {
    match sources.get(bdev)? {
        Source::Namespace { ssd, .. } => Some(ssd.clone()),
        Source::Part { base, .. } => ssd_of(base, sources),
        Source::Malloc { .. } | Source::Null | Source::Aio { .. } => None,
    }
}

/// Ends objects at the same time: one that is slow does not add to the others' time.
fn at_once<T: Send>(objects: Vec<T>, end: impl Fn(T) + Sync) {
    let end = &end;
    thread::scope(|scope| {
        for object in objects {
            scope.spawn(move || end(object));
        }
    });
}
