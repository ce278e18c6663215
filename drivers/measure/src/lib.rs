//! What the benchmarks of other crates measure with.
//!
//! Path: none.
//!
//! - [`instructions`] counts those of a [`Trace`], by callgrind.
//! - [`time`] takes the time, by criterion.
//!
//! Not here: what is measured.

mod callgrind;
mod timing;

pub use callgrind::{Trace, counted, instructions};
pub use timing::time;
