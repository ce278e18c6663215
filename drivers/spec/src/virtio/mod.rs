//! Virtio 1.3: feature bits, the split ring, the block device. Little-endian throughout.
//!
//! Not here: the packed ring, other kinds of device.

pub mod blk;
mod features;
pub mod split;

pub use features::Features;
