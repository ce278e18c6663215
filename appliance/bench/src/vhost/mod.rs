//! A vhost-user front end that polls its rings, for disks of two kinds.
//!
//! - `disk`: connects, also again. `talk`: the conversation. `ring`: the driver's side of a ring.
//! - `kind`: what differs between the kinds; `blk` and `scsi` are the two. `lines`: memory of headers and
//!   answers. `open`: the size of a disk. `swap`: compare-and-write.

mod blk;
mod disk;
mod kind;
mod lines;
mod open;
mod ring;
mod scsi;
mod swap;
mod talk;
mod time_limit;

pub(crate) use blk::Blk;
pub(crate) use disk::VhostDisk;
pub(crate) use scsi::Scsi;
