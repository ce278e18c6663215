//! Volumes: named extents of devices, and the graph of channels each core runs them on.
//!
//! Path: guest ring -> session -> **volume** -> channel -> NVMe queue pair -> SSD.
//!
//! - [`Volume`] is the control plane's side: an extent of a device or of a [`Composite`], its counters.
//! - [`Graph`] is a core's side: the channels it has open, the nodes of composites, and the extents on
//!   top of both, named by index. Volumes of one device share its channel.
//! - [`Node`] is a composite on a core: it takes requests like a channel, and makes others of them for
//!   the volumes that are its parts.
//!
//! Invariants
//! - A request outside of its volume never reaches a channel.
//! - A completion comes back through every volume and node that its request went down through.
//! - One request in, one request out, the same tag: an extent keeps no state of a request.
//! - Nobody reads or writes blocks between the two halves of a compare-and-write of the same source.
//!
//! Not here: composites of the product, of which there is none yet; those of tests are in `doubles`.

mod buffer;
mod channels;
mod clock;
mod cutter;
#[cfg(feature = "doubles")]
pub mod doubles;
mod ended_run;
mod extent;
mod graph;
mod handle;
mod hold;
mod ids;
mod latency;
mod layers;
mod limits;
mod locks;
mod mismatch;
mod node;
mod places;
mod shelf;
mod sorts;
mod stats;
mod steps;
mod volume;
mod work;

pub use clock::{Ticks, tick_rate, ticks};
pub use cutter::{ListId, ListRequest, SPANS_MAX};
pub use graph::{Graph, VolumeUser};
pub use handle::VolumeHandle;
pub use handle::run::{Adder, Run};
pub use hold::{FenceId, TooManyFences};
pub use ids::{Base, ChannelId, NodeId, VolumeId};
pub use latency::{Histogram, Latencies, LatencyClass, SlotTimes, TimedOperation};
pub use limits::RANGES_MAX;
pub use locks::{Member, Membership, Signal, Wake};
pub use node::{Node, Parts};
pub use stats::{Counters, Stats};
pub use steps::CopyRequest;
pub use volume::{Composite, ExtentError, Source, Volume};
pub use work::Work;
