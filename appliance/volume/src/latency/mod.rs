//! Latencies of the requests of a volume: histograms by operation and size, one set per core, always on.
//!
//! Path: guest ring -> session -> **volume** -> channel, and back.
//!
//! - `bucket` divides time: eight buckets for each doubling.
//! - `class` tells requests apart: by operation and size.
//! - [`Latencies`] are the counts of a core, which it alone writes; [`Histogram`] is a reading of one class.
//! - [`SlotTimes`] keep the time at which the request of a slot began; [`Stopwatch`] knows when it needs them.
//!
//! Invariant: every request of a session that a volume has taken, and that has ended, is counted once.
//!
//! Not here: requests to the parts of composites, whose tags are no session's.

pub(crate) mod bucket;
mod class;
mod counts;
mod histogram;
mod slot_times;
mod stopwatch;

pub use class::{LatencyClass, TimedOperation};
pub use counts::Latencies;
pub use histogram::Histogram;
pub(crate) use slot_times::SessionTimes;
pub use slot_times::SlotTimes;
pub(crate) use stopwatch::Stopwatch;
