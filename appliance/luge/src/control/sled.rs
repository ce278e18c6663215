//! All that exists on a sled: SSDs, block devices, vhost controllers, VMs.

use crate::control::{Bdevs, Budget, Call, Endpoint, Names, Platform, Record, Ssd, Subsystem, Table};
use luge_core::CoreHandle;
use luge_vm::{VmName, VmState};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

/// Owner of all that exists, on the control thread.
pub struct Sled {
    /// The parts that never change.
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

    /// The calls that make a subsystem as it is now. A VM that its guest has powered off is not
    /// started again; one that crashed is.
    #[must_use]
    pub fn calls(&self, subsystem: Subsystem) -> Vec<Call> {
        let is_off = |call: &Call| call.method == "vm_start" && self.is_stopped(&call.params["name"]);
        self.record.calls(subsystem).filter(|call| !is_off(call)).cloned().collect()
    }

    fn is_stopped(&self, vm: &Value) -> bool {
        let name = vm.as_str().and_then(|name| VmName::new(name).ok());
        let vm = name.and_then(|name| self.platform.vms.get(&name).ok());
        vm.is_some_and(|vm| vm.state == VmState::Stopped)
    }

    /// Deletes all that exists, users before what they use: VMs, vhost controllers, block devices,
    /// SSDs. Waits for every request that was taken.
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

    /// Whether no other thread is making or deleting an object.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.ssds.is_settled() && self.bdevs.is_settled() && self.endpoints.is_settled()
    }

    /// Deletes all that exists, and ends the cores.
    pub fn stop(mut self) {
        self.clear();
        self.platform.cores.iter().for_each(CoreHandle::stop);
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
