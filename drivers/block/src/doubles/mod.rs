//! Test doubles, and the check that every device must pass. For tests only (feature `doubles`).
//!
//! - [`check_device`], [`Check`]: random requests against a model of what they mean.
//! - [`Scripted`]: a device that writes down requests and completes them as it is told.
//! - [`Delayed`]: holds completions of another device, and hands them out in another order.
//! - [`Faulty`]: lets requests to another device fail.
//!
//! All of them are functions of a seed: what went wrong once goes wrong again.

mod arena;
mod check;
mod delayed;
mod edges;
mod faulty;
mod model;
mod rig;
mod scripted;

pub use check::{Check, Failures, check_device};
pub use delayed::{Delayed, Gate};
pub use faulty::{Fault, Faulty};
pub use scripted::{Recorded, Scripted};

use arena::{Arena, Layout};
