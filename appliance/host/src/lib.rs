//! Set-up of a Linux host for a Luge that is to run on it: SSDs, hugepages, the IOMMU.
//!
//! Path: none; this is done before `luge serve`, by a process of its own.
//!
//! - [`Report`]: the state of the host, and what is missing.
//! - [`Change`]: an SSD that changes its driver, or hugepages that are reserved.
//! - [`Host`]: shows, changes, and undoes its changes.
//!
//! Invariants
//! - An SSD that the host uses keeps its driver.
//! - The state before the first change of a thing is in the journal before that change, so that it can be undone even
//!   if this process is killed.
//!
//! Not here: the rules by which SSDs change drivers (`vfio`); the set-up of the appliance, which is its own host
//! (`init`).

mod change;
mod cpu_list;
mod error;
mod host;
mod iommu;
mod journal;
mod latency;
mod needs;
mod pages;
mod pool;
mod report;
mod ssd;

pub use change::Change;
pub use cpu_list::CpuList;
pub use error::HostError;
pub use host::{Host, Undone};
pub use needs::SsdMemory;
pub use pool::{PagePool, Pool};
pub use report::Report;
pub use ssd::{Ssd, SsdState};
