//! The block device (virtio 1.3, clause 5.2).
//!
//! ```text
//! chain -> command (what the guest wants) -> request (checked) -> cut (parts the device takes)
//! ```
//!
//! Invariants
//! - Every request is answered once: after all its parts, with the first failure's status.
//! - A request that is wrong anywhere changes nothing: all of it is checked first.

mod command;
mod cut;
mod disk;
mod request;
mod session;
mod slots;

pub use disk::{Access, BlkDisk};
pub use session::{BlkSession, Ring, Wires};
