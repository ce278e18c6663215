//! All that exists on a sled: SSDs, block devices, vhost controllers, VMs.

use crate::control::{
    Bdevs, Budget, Call, Contents, EndedNames, Endpoint, Names, Nvmf, Platform, Record, Source, Ssd,
    Subsystem, Table,
};
use luge_core::{CoreHandle, Promise};
use luge_vm::{VmName, VmState};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// NVMe subsystems.
    pub nvmf: Nvmf,
    /// The VMs whose consoles go to the log.
    pub logged_vms: BTreeSet<String>,
    /// Promises of the file descriptors of VMs, by name.
    pub vm_descriptors: BTreeMap<String, Promise>,
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
            nvmf: Nvmf::default(),
            logged_vms: BTreeSet::new(),
            vm_descriptors: BTreeMap::new(),
            record: Record::default(),
        }
    }

    /// SSD that a block device is on, if it is on one.
    #[must_use]
    pub fn ssd_of(&self, bdev: &str) -> Option<String> {
        match &self.bdevs.get(bdev).ok()?.source {
            Source::Namespace { ssd, .. } => Some(ssd.clone()),
            Source::Part { base, .. } => self.ssd_of(base),
            Source::Malloc { .. } | Source::Null | Source::Aio { .. } => None,
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

    /// Takes all that exists out of the tables, to be ended on a thread that may wait. The names stay
    /// reserved until [`Self::release`].
    pub fn take_all(&mut self) -> Contents {
        self.logged_vms.clear();
        self.record = Record::default();
        Contents {
            platform: self.platform.clone(),
            endpoints: self.endpoints.take_all(),
            subsystems: self.nvmf.subsystems.take_all(),
            bdevs: self.bdevs.take_all(),
            ssds: self.ssds.take_all(),
        }
    }

    /// Frees the names and the memory of objects that have ended.
    pub fn release(&mut self, names: &EndedNames) {
        names.endpoints.iter().for_each(|name| self.endpoints.release(name));
        names.subsystems.iter().for_each(|name| self.nvmf.subsystems.release(name));
        self.nvmf.clear();
        names.bdevs.iter().for_each(|(name, uuid)| self.bdevs.release(name, *uuid));
        names.ssds.iter().for_each(|name| self.ssds.release(name));
        self.vm_descriptors.clear();
        self.budget.clear();
    }

    /// Whether no other thread is making or deleting an object.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let endpoints = self.endpoints.is_settled() && self.endpoints.iter().all(|(_, it)| it.is_settled());
        let served = endpoints && self.nvmf.is_settled();
        self.ssds.is_settled() && self.bdevs.is_settled() && served
    }

    /// Ends all that exists, then the cores.
    pub fn stop(mut self) {
        self.take_all().end();
        self.platform.cores.iter().for_each(CoreHandle::stop);
    }
}
