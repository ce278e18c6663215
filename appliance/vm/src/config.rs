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
    /// Time limits of a VM's start and stop.
    pub timeouts: Timeouts,
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
