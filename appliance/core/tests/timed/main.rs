//! Cores whose sessions and nodes ask for turns at times, and crowds of such sessions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;
mod storms;
mod times;
