//! Compares, verifies, compare-and-writes, copies and write-sames of volumes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alone;
mod locks;
mod model;
mod rig;
mod stepped;
