//! Errors of the VM runner.

use crate::state::VmState;
use std::path::PathBuf;
use thiserror::Error;

/// Error of an operation on a VM, which has no effect then.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[expect(missing_docs, reason = "the messages are the description")]
pub enum VmError {
    #[error("'{0}' is not a name for a VM: use 1 to 64 of A-Z a-z 0-9 _ . - and do not start with a dot")]
    Name(String),
    #[error("{0} CPUs: a VM has 1 to 255")]
    Cpus(u32),
    #[error("{0} MiB of memory: a VM has an even number of MiB, 16 at least and 16 TiB at most")]
    Memory(u64),
    #[error("{0} disks: a VM has 24 at most")]
    TooManyDisks(usize),
    #[error("disk '{0}' is named twice, or has no queue: name each disk once")]
    Disk(String),
    #[error("{} is not a file: give the absolute path of one that Luge can read", .0.display())]
    File(PathBuf),
    #[error(
        "the kernel command line is longer than 2047 bytes, or has control characters in it: shorten or clean it"
    )]
    CommandLine,
    #[error(
        "its console {} would have a path of more than 107 bytes: take a shorter name, or a folder for \
         sockets with a shorter path (-S)", .0.display()
    )]
    Path(PathBuf),
    #[error("VM '{0}' already exists: delete it first, or take another name")]
    Exists(String),
    #[error("there is no VM '{0}': vm_get_vms lists those there are")]
    Unknown(String),
    #[error("VM '{name}' is {state}: {remedy}")]
    State { name: String, state: VmState, remedy: &'static str },
    #[error("disk '{disk}' is in use by VM '{user}': stop that one first")]
    DiskInUse { disk: String, user: String },
    #[error("QEMU was not found in {searched}: install qemu-system-x86, or put the VM pack into the image")]
    NoQemu { searched: String },
    #[error("VM '{name}' has an NVMe disk, and {} is older than QEMU 10.1: use a newer one", .path.display())]
    OldQemu { name: String, path: PathBuf },
    #[error("{} does not work as QEMU: {reason}", .path.display())]
    BadQemu { path: PathBuf, reason: String },
    #[error(
        "VM '{name}' needs {needed_mib} MiB of hugepages and {free_mib} MiB are free: \
         reserve more (luge.hugepages=), stop another VM, or configure base pages"
    )]
    Hugepages { name: String, needed_mib: u64, free_mib: u64 },
    #[error(
        "VM '{name}' needs {needed_mib} MiB of memory and {free_mib} MiB are available: \
         stop another VM, or give it less"
    )]
    MemoryShort { name: String, needed_mib: u64, free_mib: u64 },
    #[error("{} is readable by its owner only, and VMs have users of their own: chmod a+r", .0.display())]
    Unreadable(PathBuf),
    #[error("{0} VMs are defined, and there are no users for more: delete some")]
    TooManyVms(usize),
    #[error("VM '{name}' did not start: {reason}")]
    Start { name: String, reason: String },
    #[error("VM '{name}' is still there {waited_s} s after it was killed")]
    Stop { name: String, waited_s: u64 },
    #[error("{what}: {reason}")]
    System { what: String, reason: String },
}

impl VmError {
    /// Error of the operating system.
    pub(crate) fn system(what: impl Into<String>, reason: &impl ToString) -> Self {
        Self::System { what: what.into(), reason: reason.to_string() }
    }
}
