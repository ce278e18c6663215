//! Controllers, from the side of a client: registers by calls, queues and data in memory that both have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attacks;
mod cache;
mod costly;
mod drivers;
mod events;
mod features;
mod identify;
mod interrupts;
mod life;
mod log_pages;
mod options;
mod queues;
mod reservations;
mod rig;
