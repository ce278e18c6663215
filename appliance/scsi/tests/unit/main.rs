//! The device server of a logical unit, as initiators see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attentions;
mod conflicts;
mod identity;
mod inquiry;
mod logs;
mod modes;
mod persistent;
mod ports;
mod public_reports;
mod random;
mod reports;
mod resets;
mod rig;
mod small;
