//! LOG SENSE. SPC-4, clauses 6.8 and 7.3.
//!
//! Only pages whose numbers are known: a volume counts its blocks, and has neither a temperature nor self-tests.

mod pages;
mod sense;

pub(crate) use sense::log_sense;
