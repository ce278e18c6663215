//! An NVMe host over vfio-user that polls its queues.
//!
//! The driver brings the controller up and creates the queue pairs; what is measured is written and read here, as it
//! stands in the queues.
//!
//! - `disk`: a controller and one of its namespaces. `queue`: a queue pair. `pages`: the data of a slot as PRP entries.
//!   `swap`: compare-and-write.

mod disk;
mod pages;
mod queue;
mod swap;

pub(crate) use disk::NvmeDisk;
