//! INQUIRY. SPC-4, clause 6.6.
//!
//! Invariants
//! - A page says its true length, whatever part of it the initiator has room for.
//! - The device identification page has less than 256 bytes: there are drivers that calculate with 8 bits.
//! - Limits are those of the view by which cores serve the unit.

mod abilities;
mod identification;
mod limits;
mod pages;
mod standard;

pub(crate) use pages::{absent, inquiry, well_known};
