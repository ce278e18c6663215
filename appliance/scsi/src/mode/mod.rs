//! MODE SENSE and MODE SELECT. SPC-4, clauses 6.11 to 6.14.
//!
//! All nexuses of a unit share one set of values. Nothing can be saved.

mod descriptor;
mod pages;
mod select;
mod sense;

pub(crate) use select::select;
pub(crate) use sense::sense;
