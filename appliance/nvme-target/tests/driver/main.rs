//! Luge's NVMe driver as a host of Luge's target: over a real socket, with shared memory and mapped doorbells.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

mod bench;
mod faults;
mod life;
mod serve;
mod world;
