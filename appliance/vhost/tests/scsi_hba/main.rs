//! The host bus adapter: LUNs that come and go, task management, events.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod departures;
mod events;
mod functions;
mod hostile;
mod life;
mod paths;
mod power;
mod public_reports;
mod resets;
#[path = "../rig/mod.rs"]
mod rig;
mod scale;
mod scene;
mod sharing;
mod storm;
