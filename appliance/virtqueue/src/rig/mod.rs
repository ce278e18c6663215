//! The driver's side of a ring, over real shared memory: for tests, benchmarks, fuzzing.
//!
//! - [`RigMemory`]: a guest's memory in memfds, read and written as the guest would.
//! - [`inflight_file`], [`inflight_region`]: an in-flight region as a front end gets it.
//! - [`Driver`]: makes chains available and takes used elements; also writes any nonsense.

mod driver;
mod memory;

pub use driver::{Driver, Form, Piece};
pub use memory::{RigMemory, inflight_file, inflight_region};
