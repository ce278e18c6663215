//! Composites for tests (feature `doubles`).
//!
//! - [`Mirror`]: two legs with the same content, which survives the loss of one.
//! - [`Delaying`]: completions come late by a time, or when a test lets them pass.
//! - [`Failing`]: requests fail on demand.
//!
//! [`mount()`] puts them on a graph without a core.

mod delaying;
mod failing;
mod mirror;
mod mount;
mod pass;

pub use delaying::{Delay, Delaying};
pub use failing::{Failing, FailureCount};
pub use mirror::Mirror;
pub use mount::mount;
