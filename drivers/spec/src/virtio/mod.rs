//! Virtio 1.3: feature bits, the split ring, the block device, the SCSI host device; all little-endian.
//!
//! Not here: the packed ring; other devices.

pub mod blk;
mod features;
pub mod scsi;
pub mod split;

pub use features::Features;
