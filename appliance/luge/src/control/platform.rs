//! The parts that a process has from its start to its end: cores, memory, folders.

use crate::control::{PrScope, SocketFolder};
use crate::cpus::Cpus;
use luge_core::{CoreHandle, Descriptors};
use luge_memory::{DmaSpace, PageSize};
use luge_rpc::RpcError;
use luge_scsi::PortGroups;
use luge_vfio::{SysfsRoot, Vfio};
use luge_vm::VmRunner;
use std::path::PathBuf;
use std::sync::Arc;

/// The parts that never change.
pub struct Platform {
    /// The cores, in the order of their numbers.
    pub cores: Vec<CoreHandle>,
    /// Address space of the SSDs.
    pub space: Arc<DmaSpace>,
    /// Budget of file descriptors.
    pub descriptors: Arc<Descriptors>,
    /// Pages of Luge's own memory.
    pub pages: PageSize,
    /// Users that share reservations, where a SCSI controller does not say otherwise.
    pub pr_scope: PrScope,
    /// Path groups of SCSI controllers.
    pub port_groups: PortGroups,
    /// Folder of the vhost-user sockets.
    pub sockets: SocketFolder,
    /// The way to SSDs.
    pub vfio: Vfio,
    /// The kernel's view of SSDs.
    pub sysfs: SysfsRoot,
    /// Folder of what crashes have left; none of a daemon.
    pub last_words: Option<PathBuf>,
    /// The VMs; has a lock of its own.
    pub vms: VmRunner,
}

impl Platform {
    /// The CPUs of the cores.
    #[must_use]
    pub fn cpus(&self) -> Cpus {
        self.cores.iter().map(CoreHandle::id).collect()
    }

    /// The cores of a mask, or all where there is none.
    ///
    /// # Errors
    /// -32602 if it is no mask or has CPUs that are no cores of this process.
    pub fn cores_of(&self, mask: Option<&str>) -> Result<Vec<CoreHandle>, RpcError> {
        let Some(mask) = mask else { return Ok(self.cores.clone()) };
        let wrong = |why: &dyn std::fmt::Display| {
            RpcError::invalid_params(format_args!("parameter `cpumask`: {why}"))
        };
        let chosen: Cpus = mask.parse().map_err(|error| wrong(&error))?;
        chosen.check(&self.cpus()).map_err(|error| wrong(&error))?;
        let is_chosen = |core: &&CoreHandle| chosen.iter().any(|cpu| cpu == core.id());
        Ok(self.cores.iter().filter(is_chosen).cloned().collect())
    }
}
