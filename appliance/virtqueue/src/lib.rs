//! Virtqueues, device side: takes descriptor chains, returns used elements.
//!
//! Path: guest ring -> **virtqueue** -> session -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! - [`SplitQueue`] is a ring; [`Batch`] holds the [`Chain`]s of one take, most of which are [`RequestChain`]s.
//! - [`RingState`] is a ring as plain data, for a process that goes on with it.
//! - [`InflightRegion`] is where a queue notes what is in flight, for the process after this one.
//! - [`RingLayout`] says where a ring is; mapping it checks all that can be checked once.
//!
//! Invariants
//! - Each word of guest memory that counts is loaded once per take; check and use see the same copy.
//! - A chain is walked a bounded number of steps, so a loop in guest memory ends.
//! - Whatever a guest writes, the worst that happens is a [`Fault`] of a chain or a queue
//!   that is [`Broken`]: both are that guest's own.
//! - Nothing here allocates after set-up, blocks, or makes a system call.
//!
//! Not here: packed rings, which will be a sibling of `split`; interrupts, and the meaning of chains (`vhost`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod batch;
mod chain;
mod chain_layout;
mod descriptor;
mod ending;
mod fast_walk;
mod general_walk;
mod indirect;
mod inflight;
mod layout;
mod long;
mod notifications;
mod slow_path;
mod split;
mod state;

#[cfg(feature = "rig")]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a rig reads no foreign bytes, and a test that misuses it is to fail"
)]
pub mod rig;

pub use batch::{BATCH, BATCH_SPANS, Batch};
pub use chain::{Chain, ChainBytes, Direction, Fault, Head, RequestChain};
pub use chain_layout::{ChainLayout, FixedPiece, ResponseFirst, ResponseLast, ResponsePlace};
pub use inflight::{InflightError, InflightRegion};
pub use layout::{QueueSize, RingError, RingLayout};
pub use long::{CHAIN_MAX, LongChain};
pub use notifications::Notifications;
pub use split::{Broken, SplitQueue};
pub use state::RingState;
