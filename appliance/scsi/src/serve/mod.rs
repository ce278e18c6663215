//! The device server: from a command to its answer.

mod absent;
mod dispatch;
mod exchange;
mod permission;
mod sense;
mod small;

pub use absent::{AbsentLun, absent};
pub use exchange::{Answer, Incoming, Reply};
