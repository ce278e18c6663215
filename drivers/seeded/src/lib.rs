//! Random numbers that a seed determines, and the harness that runs tests for many seeds.
//!
//! Tests, benchmarks and the load generator take their numbers from here: equal seeds give equal
//! numbers on every machine, so a failure is replayed by its seed.
//!
//! Not here: numbers that nobody may guess (keys, identifiers).

mod fuzz;
mod random;

pub use fuzz::fuzz;
pub use random::{Random, Unsigned};
