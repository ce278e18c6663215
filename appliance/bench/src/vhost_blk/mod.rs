//! A vhost-user-blk front end that polls its rings.
//!
//! - `disk`: connects, also again. `talk`: the conversation. `ring`: the driver's side of a ring.

mod disk;
mod ring;
mod talk;
mod time_limit;

pub(crate) use disk::BlkDisk;
