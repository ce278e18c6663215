//! VM runner: a supervised QEMU process for each VM.
//!
//! A VM shares its memory, which Luge makes, with Luge. Its disks are vhost-user sockets of this process,
//! its serial console is a unix socket, and QEMU is controlled by QMP over another socket. QEMU runs in a
//! sandbox (`sandbox`), because its guest may take it over.
//!
//! Invariants
//! - A QEMU process never outlives the thread that supervises it, and so never this process.
//! - A VM's process has ended before its disks are free for another VM.
//! - Memory and time are bounded, whatever QEMU prints, sends or does.
//! - QEMU never runs outside of a sandbox, not even to print its version.
//!
//! Not here: RPC methods and vhost controllers (`luge`); migration; networks.

mod arguments;
mod child;
mod config;
mod console;
mod error;
mod events;
mod free_memory;
mod lent;
mod memory;
mod qemu;
mod qmp;
mod refusal;
mod runner;
mod sandbox;
mod spec;
mod state;
mod status;
mod supervisor;
mod tail;
mod vm;

pub use config::{FIRST_USER, SandboxConfig, Timeouts, USERS, VmConfig};
pub use error::VmError;
pub use refusal::sandbox_refusal;
pub use runner::VmRunner;
pub use spec::{
    Accelerator, Boot, CPUS_MAX, DISKS_MAX, DiskKind, MEMORY_MAX_MIB, MEMORY_MIN_MIB, MemoryPages, VmDisk,
    VmName, VmSpec,
};
pub use state::VmState;
pub use status::{VmExit, VmStatus};
