//! All that exists.

use crate::control::{Bdevs, Budget, Endpoint, Names, Platform, Record, Ssd, Table};
use luge_core::CoreHandle;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

/// All that exists, owned by the control thread.
pub struct Sled {
    /// Cores, memory, folders.
    pub platform: Arc<Platform>,
    /// Memory for disks.
    pub budget: Budget,
    /// SSDs.
    pub ssds: Table<Ssd>,
    /// Block devices.
    pub bdevs: Bdevs,
    /// vhost controllers.
    pub endpoints: Table<Endpoint>,
    /// The VMs whose consoles go to the log.
    pub logged_vms: BTreeSet<String>,
    /// The calls that made what exists.
    pub record: Record,
}

impl Sled {
    /// An empty sled.
    #[must_use]
    pub fn new(platform: Arc<Platform>, budget: Budget) -> Self {
        Self {
            platform,
            budget,
            ssds: Table::new("NVMe controller", "bdev_nvme_get_controllers", Names::OfFile),
            bdevs: Bdevs::default(),
            endpoints: Table::new("vhost controller", "vhost_get_controllers", Names::OfFile),
            logged_vms: BTreeSet::new(),
            record: Record::default(),
        }
    }

    /// Unmakes all that exists, the users of a thing before the thing: VMs, vhost controllers,
    /// block devices, SSDs. Waits for every request that was taken.
    pub fn clear(&mut self) {
        if let Err(error) = self.platform.vms.stop_all(None) {
            tracing::error!("{error}");
        }
        self.platform.vms.list().iter().for_each(|vm| drop(self.platform.vms.delete(&vm.name)));
        self.logged_vms.clear();
        at_once(self.endpoints.drain(), |endpoint| endpoint.server.stop());
        self.bdevs = Bdevs::default();
        at_once(self.ssds.drain(), |ssd| {
            if let Err(error) = ssd.controller.shutdown() {
                tracing::error!("{error}");
            }
        });
        self.record = Record::default();
        self.budget.clear();
    }

    /// Whether nothing is being made or unmade by other threads.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ssds.is_settled() && self.bdevs.is_settled() && self.endpoints.is_settled()
    }

    /// Unmakes all that exists, and ends the cores.
    pub fn stop(mut self) {
        self.clear();
        self.platform.cores.iter().for_each(CoreHandle::stop);
    }
}

/// Ends things at the same time: one that is slow does not add to the others' time.
fn at_once<T: Send>(things: Vec<T>, end: impl Fn(T) + Sync) {
    let end = &end;
    thread::scope(|scope| {
        for thing in things {
            scope.spawn(move || end(thing));
        }
    });
}
