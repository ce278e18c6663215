//! What a VM is at the moment.

use crate::{Boot, VmName, VmSpec};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// A VM's life.
///
/// ```text
///          1            2             3            4             5
///  (none) ---> created ---> starting ---> running ---> stopping ---> stopped
///                              |   ^          |  \                   ^ |
///                              |   |          |   \________6________/  |
///                              |   +----------|------------2-----------+
///                              |   |          |
///                              7   2          7
///                              |   |          |
///                              +-> crashed <--+
/// ```
/// 1. it is defined;
/// 2. it is started: its QEMU has been asked for;
/// 3. its QEMU answers and its CPUs run;
/// 4. it is asked to stop;
/// 5. its QEMU has ended, as asked;
/// 6. its guest has powered off by itself;
/// 7. its QEMU has ended otherwise, or never came up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VmState {
    /// Defined, never started.
    Created,
    /// On its way up.
    Starting,
    /// Its CPUs run.
    Running,
    /// On its way down.
    Stopping,
    /// It ended as it should.
    Stopped,
    /// It ended otherwise.
    Crashed,
}

impl VmState {
    /// Whether there is a process, and with it a hold on the VM's disks.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
        })
    }
}

/// How a VM's process ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Ending {
    /// In a sentence, such as `signal: 9 (SIGKILL)`.
    pub reason: String,
    /// The last lines that QEMU printed.
    pub messages: Vec<String>,
}

/// A VM as `vm_get_vms` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VmStatus {
    /// Its name.
    pub name: VmName,
    /// Its state.
    pub state: VmState,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The vhost controllers of its disks.
    pub disks: Vec<String>,
    /// The kernel or firmware it boots; `default` for QEMU's own firmware.
    pub boot: String,
    /// What executes it (`kvm` or `tcg`) and why, once it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// The process id of its QEMU, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The unix socket of its serial console, while it is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<PathBuf>,
    /// How it ended the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

impl VmStatus {
    /// The status of a VM that was never started.
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
            console: None,
            ending: None,
        }
    }
}
