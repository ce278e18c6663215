//! State of a VM.

use serde::Serialize;
use std::fmt;

/// State of a VM.
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
/// 1. the VM is created;
/// 2. its QEMU is started;
/// 3. QEMU answers, and the CPUs run;
/// 4. a stop is requested;
/// 5. QEMU has ended after the request;
/// 6. the guest has powered off by itself;
/// 7. QEMU has ended otherwise, or did not come up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VmState {
    /// Never started.
    Created,
    /// QEMU is starting.
    Starting,
    /// The CPUs run.
    Running,
    /// A stop is under way.
    Stopping,
    /// QEMU has ended after a stop, or the guest has powered off.
    Stopped,
    /// QEMU has ended otherwise.
    Crashed,
}

impl VmState {
    /// Whether the VM has a process and uses its disks.
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
