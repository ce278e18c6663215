//! Boots images and guests in QEMU, runs `luge serve`, and judges both from outside.
//!
//! Invariants
//! - Whatever a test starts ends with it: children are killed and reaped when their handle is
//!   dropped, and by the kernel when we die first.
//! - Nothing waits without a deadline, and a deadline that passes is an error that carries
//!   the end of the log.
//! - Nothing here shares code with Luge: its speech and its bytes are judged independently.
//!
//! Not here: how QEMU, the guest and the image are made (`luge-image`).

mod accelerator;
mod block_client;
mod daemon;
mod deadline;
mod error;
mod lab;
mod machine;
mod process;
mod qmp;
mod rpc;
pub mod selftest;
pub mod sled;
mod transcript;

pub use accelerator::Accelerator;
pub use block_client::BlockClient;
pub use daemon::{Daemon, Serve};
pub use deadline::Deadline;
pub use error::TestError;
pub use lab::{Bench, Lab};
pub use machine::{Boot, Disk, Iommu, Machine, Nvdimm, Place, Reset, Running, Ssd};
pub use process::Process;
pub use qmp::Qmp;
pub use rpc::Rpc;
pub use selftest::GuestWitness;
pub use sled::Sled;
pub use transcript::Transcript;
