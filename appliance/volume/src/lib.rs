//! Volumes: named extents of devices, and the graph of channels each core runs them on.
//!
//! Path: guest ring -> session -> **volume** -> channel -> NVMe queue pair -> SSD.
//!
//! - [`Volume`] is the control plane's side: a device, an extent of it, its counters.
//! - [`Graph`] is a core's side: the channels it has open and the extents on top of them,
//!   named by index. Volumes of one device share its channel.
//!
//! Invariants
//! - A request outside of its volume never reaches a channel.
//! - One request in, one request out, the same tag: a linear volume keeps no state.
//!
//! Not here: volumes of several steps (mirrors, copy-on-write) will be further kinds of node.

mod clock;
mod graph;
mod stats;
mod volume;

pub use clock::ticks;
pub use graph::{ChannelId, Graph, Lane, Run, VolumeId};
pub use stats::{Counters, Stats};
pub use volume::{ExtentError, Volume};
