//! Measurement for the benchmarks and tests of other crates.
//!
//! - [`instructions`] counts the instructions of a [`Trace`] by callgrind.
//! - [`time`] measures time by criterion.
//! - [`allocations`] counts what a thread asks of its allocator.
//!
//! Not here: the measured code.

mod allocator;
mod callgrind;
mod timing;

pub use allocator::{CountingAllocator, allocations};
pub use callgrind::{Trace, counted, instructions};
pub use timing::time;
