//! Status of a VM, as `vm_get_vms` shows it.

use crate::spec::{Boot, VmName, VmSpec};
use crate::state::VmState;
use serde::Serialize;
use std::path::PathBuf;

/// Report on the end of a VM's process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VmExit {
    /// Reason, such as `QEMU ended with signal: 9 (SIGKILL)`.
    pub reason: String,
    /// Last lines of QEMU's output.
    pub messages: Vec<String>,
}

/// Status of a VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VmStatus {
    /// Name.
    pub name: VmName,
    /// State.
    pub state: VmState,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory_mib: u64,
    /// Names of the vhost controllers of the disks.
    pub disks: Vec<String>,
    /// Path of the kernel or firmware; `default` for QEMU's own firmware.
    pub boot: String,
    /// `kvm` or `tcg`, with the reason, if the VM was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Process id of QEMU, if the VM has a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// User as whom QEMU runs, if the VM has a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Path of the cgroup that bounds CPU time and memory, if the VM has a process and a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// Path of the serial console's socket, if the VM has a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<PathBuf>,
    /// Report on the last end of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<VmExit>,
}

impl VmStatus {
    /// Status of a VM that was never started.
    pub(crate) fn of(spec: &VmSpec) -> Self {
        let boot = match &spec.boot {
            Boot::Kernel { kernel, .. } => kernel.display().to_string(),
            Boot::Firmware(Some(firmware)) => firmware.display().to_string(),
            Boot::Firmware(None) => "default".into(),
        };
        Self {
            name: spec.name.clone(),
            state: VmState::Created,
            cpus: spec.cpus,
            memory_mib: spec.memory_mib,
            disks: spec.disks.iter().map(|disk| disk.controller.clone()).collect(),
            boot,
            accelerator: None,
            pid: None,
            user: None,
            cgroup: None,
            console: None,
            ending: None,
        }
    }
}
