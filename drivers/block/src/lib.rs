//! The block contract: a queue pair, written in Rust.
//!
//! Path: guest ring -> session -> volume -> **channel** -> NVMe queue pair -> SSD.
//!
//! A [`Device`] belongs to the control plane. A [`Channel`] is its data plane on one core:
//! tagged [`Request`]s in, tagged [`Completion`]s out, in any order. No callbacks, futures
//! or reference counts.
//!
//! Invariants
//! - Nothing in a channel blocks, locks, allocates or reads a clock.
//! - Every request that `submit` took is completed exactly once, whatever happens to the device.
//! - A request's memory is not touched after its completion has been handed out.
//!
//! Not here: volumes and the graph of channels (`volume`), who polls (`core`).

mod channel;
mod geometry;
mod request;

pub use channel::{Channel, Completion, Completions, CoreId, Device, OpenError, Refusal};
pub use geometry::{Blocks, Geometry, Lba};
pub use request::{Durability, Operation, Request, Status, Tag};
