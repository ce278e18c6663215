//! Test doubles, and the check that every device must pass. For tests only (feature `doubles`).
//!
//! - [`check_device`], [`Check`]: random requests against a model of what they mean.
//! - [`Scripted`]: a device that writes down requests and completes them as it is told.
//! - [`Delayed`]: holds completions of another device, and hands them out in another order.
//! - [`Faulty`]: lets requests to another device fail.
//! - [`Lasting`]: requests of another device last until they are polled for.
//! - [`Narrow`]: a device with other limits than the one beneath.
//!
//! All of them are functions of a seed: what went wrong once goes wrong again.

mod arena;
mod check;
mod delayed;
mod edges;
mod faulty;
mod lasting;
mod model;
mod narrow;
mod rig;
mod scripted;

pub use check::check_device;
pub use delayed::Delayed;
pub use faulty::{Fault, Faulty};
pub use lasting::Lasting;
pub use narrow::Narrow;
pub use rig::{Check, Failures};
pub use scripted::{Recorded, Scripted};

use arena::{Arena, Layout};
