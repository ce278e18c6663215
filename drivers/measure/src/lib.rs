//! Measurement for the benchmarks of other crates.
//!
//! - [`instructions`] counts the instructions of a [`Trace`] by callgrind.
//! - [`time`] measures time by criterion.
//!
//! Not here: the measured code.

mod callgrind;
mod timing;

pub use callgrind::{Trace, counted, instructions};
pub use timing::time;
