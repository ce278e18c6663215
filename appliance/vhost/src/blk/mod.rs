//! The block device (virtio 1.3, clause 5.2).
//!
//! ```text
//! chain -> command -> request, checked -> volume
//! ```
//!
//! Invariants
//! - Every request is answered once.
//! - A request that is wrong anywhere changes nothing: all of it is checked before any of it begins, its
//!   form here and its blocks by the volume.
//!
//! Not here: requests longer than a device takes at once; the volume cuts them.

mod command;
mod device;
mod disk;
mod request;
mod session;
mod slots;

pub use device::{BlkConfig, BlkDevice, BlkError};
pub use disk::BlkDisk;
pub use session::{BlkSession, OpenVolume};
