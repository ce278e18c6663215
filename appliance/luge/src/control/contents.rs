//! All that exists on a sled, taken out of its tables to be ended.
//!
//! Invariants
//! - Users end before what they use: VMs, listeners, vhost controllers and namespaces, SSDs.
//! - An SSD waits for its own users only, so that one that hangs keeps no other from its shutdown.
//! - Names stay reserved until what had them is gone.

use super::{Bdev, Endpoint, Listener, NvmfSubsystem, Platform, ServedNamespace, Source, Ssd, VhostDevice};
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
        let groups = groups(Served { endpoints, namespaces }, &bdevs, ssds);
        // Endpoints and namespaces hold what they need of their devices.
        drop(bdevs);
        at_once(groups, Group::end);
        names
    }
}

/// Users of block devices.
struct Served {
    endpoints: Vec<(String, Endpoint)>,
    namespaces: Vec<ServedNamespace>,
}

/// An SSD with the vhost controllers and namespaces on it; or those that are on none.
#[derive(Default)]
struct Group {
    endpoints: Vec<Endpoint>,
    namespaces: Vec<ServedNamespace>,
    ssd: Option<Ssd>,
}

impl Group {
    fn end(self) {
        at_once(self.endpoints, Endpoint::end);
        at_once(self.namespaces, ServedNamespace::end);
        self.ssd.into_iter().for_each(Ssd::end);
    }
}

fn groups(served: Served, bdevs: &[(String, Bdev)], ssds: Vec<(String, Ssd)>) -> Vec<Group> {
    let sources: BTreeMap<&str, &Source> =
        bdevs.iter().map(|(name, bdev)| (name.as_str(), &bdev.source)).collect();
    let mut groups = BTreeMap::<Option<String>, Group>::new();
    for (_, endpoint) in served.endpoints {
        let VhostDevice::Disk(disk) = &endpoint.device;
        groups.entry(ssd_of(&disk.bdev, &sources)).or_default().endpoints.push(endpoint);
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
