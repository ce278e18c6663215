//! Composites for tests (feature `doubles`).
//!
//! - [`Mirror`]: two legs with the same content, which survives the loss of one.
//! - [`Delaying`]: completions come late by a time.
//! - [`Failing`]: requests fail on demand.

mod delaying;
mod failing;
mod mirror;
mod pass;

pub use delaying::{Delay, Delaying};
pub use failing::{Failing, FailureCount};
pub use mirror::Mirror;
