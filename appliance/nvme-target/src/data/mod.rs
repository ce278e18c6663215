//! Memory of a command: from its PRPs or SGL to spans of guest memory.
//!
//! Path: guest queue -> session -> **here** -> volume -> channel -> SSD.
//!
//! Invariants
//! - All of a command's data is found before any of it moves.
//! - A walk makes no more steps than it was allowed, and is continued later.

mod bit_bucket;
mod collector;
mod host_buffer;
mod pointer;
mod prp;
mod sgl;

pub use bit_bucket::BitBucket;
pub(crate) use collector::{Collected, Collector, Stop};
pub use host_buffer::HostBuffer;
pub(crate) use pointer::DataWalk;
