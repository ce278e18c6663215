//! All that exists on a sled, taken out of its tables to be ended.
//!
//! Invariants
//! - Users end before what they use: VMs, vhost controllers, SSDs.
//! - An SSD waits for its own users only, so that one that hangs keeps no other from its shutdown.
//! - Names stay reserved until what had them is gone.

use super::{Bdev, Endpoint, Platform, Source, Ssd};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use uuid::Uuid;

/// Objects of a sled, with their names.
pub struct Contents {
    pub(super) platform: Arc<Platform>,
    pub(super) endpoints: Vec<(String, Endpoint)>,
    pub(super) bdevs: Vec<(String, Bdev)>,
    pub(super) ssds: Vec<(String, Ssd)>,
}

/// Names of objects that have ended.
pub struct EndedNames {
    pub(super) endpoints: Vec<String>,
    pub(super) bdevs: Vec<(String, Uuid)>,
    pub(super) ssds: Vec<String>,
}

impl Contents {
    /// Ends all objects. Waits for guests to power off, and for every request that was taken.
    pub fn end(self) -> EndedNames {
        let Self { platform, endpoints, bdevs, ssds } = self;
        if let Err(error) = platform.vms.stop_all(None) {
            tracing::error!("{error}");
        }
        platform.vms.list().iter().for_each(|vm| drop(platform.vms.delete(&vm.name)));
        let names = EndedNames {
            endpoints: endpoints.iter().map(|(name, _)| name.clone()).collect(),
            bdevs: bdevs.iter().map(|(name, bdev)| (name.clone(), bdev.uuid)).collect(),
            ssds: ssds.iter().map(|(name, _)| name.clone()).collect(),
        };
        let groups = groups(endpoints, &bdevs, ssds);
        // Endpoints hold what they need of their devices.
        drop(bdevs);
        at_once(groups, Group::end);
        names
    }
}

/// An SSD with the vhost controllers on it; or those that are on none.
#[derive(Default)]
struct Group {
    endpoints: Vec<Endpoint>,
    ssd: Option<Ssd>,
}

impl Group {
    fn end(self) {
        at_once(self.endpoints, Endpoint::end);
        self.ssd.into_iter().for_each(Ssd::end);
    }
}

fn groups(
    endpoints: Vec<(String, Endpoint)>,
    bdevs: &[(String, Bdev)],
    ssds: Vec<(String, Ssd)>,
) -> Vec<Group> {
    let sources: BTreeMap<&str, &Source> =
        bdevs.iter().map(|(name, bdev)| (name.as_str(), &bdev.source)).collect();
    let mut groups = BTreeMap::<Option<String>, Group>::new();
    for (_, endpoint) in endpoints {
        groups.entry(ssd_of(&endpoint.bdev, &sources)).or_default().endpoints.push(endpoint);
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
