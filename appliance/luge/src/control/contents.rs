//! All that exists on a sled, taken out of its tables to be ended.
//!
//! Invariants
//! - Users end before what they use: VMs, vhost controllers, block devices, SSDs.
//! - Names stay reserved until what had them is gone.

use super::{Bdev, Endpoint, Platform, Ssd};
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
        at_once(endpoints, |(_, endpoint)| endpoint.end());
        drop(bdevs);
        at_once(ssds, |(_, ssd)| ssd.end());
        names
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
