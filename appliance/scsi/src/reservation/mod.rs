//! Reservations: PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE. SPC-4, clauses 5.13, 6.15 and 6.16.
//!
//! The state is that of the volume, which other protocols share.

mod change;
mod kind;
mod report;

pub(crate) use change::{change, hold, unhold};
pub(crate) use report::report;
