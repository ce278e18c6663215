//! Configuration of the VM runner.

use std::path::PathBuf;
use std::time::Duration;

/// Configuration of a runner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmConfig {
    /// Folder for sockets, with a folder in it for each running VM.
    pub folder: PathBuf,
    /// Path of QEMU; searched for if none.
    pub qemu: Option<PathBuf>,
    /// Folder of QEMU's firmware; QEMU's built-in one if none.
    pub firmware_folder: Option<PathBuf>,
    /// Linux kernel for the trial of KVM; the kernel of the VM if none.
    pub trial_kernel: Option<PathBuf>,
    /// Sandboxes of VMs.
    pub sandbox: SandboxConfig,
    /// Time limits of a VM's start and stop.
    pub timeouts: Timeouts,
}

/// First user of VMs by default: in a range that is unused by convention.
pub const FIRST_USER: u32 = 1_900_000_000;
/// Number of users of VMs. The first is that of programs that are tried out.
pub const USERS: u32 = 1 << 16;

/// Configuration of the sandboxes of VMs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SandboxConfig {
    /// First of the [`USERS`] users and groups that VMs run as if this process is root's.
    pub first_user: u32,
    /// Folder of a cgroup, without processes, in which cgroups of VMs are made. If none, one is made at
    /// the root of the hierarchy where that is possible.
    pub cgroup: Option<PathBuf>,
    /// Folders of the host that QEMU needs, besides those of the system and its own.
    pub files: Vec<PathBuf>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { first_user: FIRST_USER, cgroup: None, files: Vec::new() }
    }
}

/// Time limits of a VM's start and stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the start of QEMU until its CPUs run. Memory is allocated in this time.
    pub start: Duration,
    /// From the power button until the guest has powered off, by default.
    pub powerdown: Duration,
    /// From the QMP command `quit` until QEMU is killed.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(120),
            powerdown: Duration::from_secs(60),
            quit: Duration::from_secs(10),
        }
    }
}
