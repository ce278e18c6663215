//! Virtio 1.3: feature bits, the split ring, the block device; all little-endian.
//!
//! Not here: the packed ring; other devices.

pub mod blk;
mod features;
pub mod split;

pub use features::Features;
