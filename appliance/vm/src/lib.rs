//! The VM runner: one supervised QEMU child per VM.
//!
//! A VM's memory is shared with Luge, its disks are vhost-user sockets of this process, its
//! serial console is a unix socket, and its control is QMP over another one.
//!
//! Invariants
//! - A child never outlives the thread that supervises it, and thus never this process.
//! - A VM's process is gone before its disks are free for another one.
//! - Whatever QEMU prints, sends or does, the runner stays within bounds of memory and time.
//!
//! Not here: RPC methods, which controllers exist (`luge`), migration, networks.

mod arguments;
mod child;
mod console;
mod error;
mod events;
mod hugepages;
mod qemu;
mod qmp;
mod runner;
mod spec;
mod status;
mod supervisor;
mod tail;
mod vm;

pub use error::VmError;
pub use runner::{Timeouts, VmConfig, VmRunner};
pub use spec::{
    Accelerator, Boot, CPUS_MAX, DISKS_MAX, MEMORY_MAX_MIB, MEMORY_MIN_MIB, MemoryPages, VmDisk, VmName,
    VmSpec,
};
pub use status::{Ending, VmState, VmStatus};
