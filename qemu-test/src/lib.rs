//! Boots images and guests in QEMU, runs `luge serve`, and checks both from outside.
//!
//! Invariants
//! - All processes of a test end with it: a child is killed and reaped when its handle is dropped, and
//!   killed by the kernel when the test process dies first.
//! - Every wait has a deadline. A deadline that passes is an error with the end of the log.
//! - No code is shared with Luge's protocols and data path, so that checks are independent of it.
//!
//! Not here: building QEMU, the guest and the image (`luge-image`).

mod accelerator;
mod block_client;
mod container;
mod daemon;
mod deadline;
mod error;
mod lab;
mod machine;
pub mod neighbours;
mod process;
mod program;
mod qmp;
mod rpc;
mod running;
pub mod selftest;
pub mod sled;
mod start;
mod transcript;

pub use accelerator::Accelerator;
pub use block_client::BlockClient;
pub use container::{Container, SHARED};
pub use daemon::{Daemon, Serve};
pub use deadline::Deadline;
pub use error::TestError;
pub use lab::{Bench, Lab};
pub use machine::{Boot, Disk, Hba, Iommu, Machine, Nvdimm, Reset, Ssd, SsdLocation};
pub use process::Process;
pub use program::run;
pub use qmp::Qmp;
pub use rpc::Rpc;
pub use running::Running;
pub use selftest::SelfTestResult;
pub use sled::SledMachine;
pub use start::accelerator;
pub use transcript::Transcript;
