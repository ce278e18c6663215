//! Doubles for tests of the driver over any transport: a function that injects faults, and a load that verifies data.
//!
//! - [`FaultyFunction`]: wraps a PCI function. It stands between driver and controller: at the registers (`function`),
//!   at the doorbells, and at the completion queues, which it moves to memory of its own (`queues`).
//! - [`Faults`]: kinds of faults, and how often each comes (`faults`).
//! - [`VerifiedLoad`]: writes and reads on a channel, which knows what each read has to return (`load`).
//!
//! Invariants
//! - Each kind of fault is drawn from a sequence of its own, so that a seed gives the same decisions for the same events.
//! - Nothing is written to the driver's memory after the controller was stopped, whatever waits: a controller that does
//!   that is none that a driver can survive.

#![expect(clippy::arithmetic_side_effects, reason = "a test double: an overflow fails the test")]
#![expect(clippy::indexing_slicing, reason = "a test double: a panic fails the test")]

mod admin_queue;
mod faults;
mod function;
mod load;
mod queues;

pub use faults::{Fault, Faults};
pub use function::{FaultControl, FaultyFunction};
pub use load::{Place, Tally, VerifiedLoad};
