//! A scripted SSD: a register file and queues in ordinary memory, for tests and benchmarks.
//!
//! Path: it stands where the SSD is; the driver reaches it through the same traits as VFIO.
//!
//! - [`Script`]: what it says of itself, and how it misbehaves.
//! - [`ScriptedSsd`]: the SSD. A register write acts before it returns; I/O queues are served
//!   when a test calls [`ScriptedSsd::step`].
//! - [`NullPartner`]: serves one queue from another thread without moving data, for benchmarks.
//! - [`Rig`]: an SSD, its controller, and buffers.
//!
//! Invariants
//! - It reaches memory only through the IOMMU, so an address that the driver made up, or that
//!   was unmapped, is a DMA fault that a test sees.
//! - It reads queue entries and PRPs with code of its own, none of the driver's.

#![expect(clippy::arithmetic_side_effects, reason = "a test double: an overflow fails the test")]
#![expect(clippy::indexing_slicing, reason = "a test double: a panic fails the test")]

mod admin;
mod disk;
mod function;
mod memory;
mod partner;
mod queues;
mod rig;
mod script;
mod ssd;
mod weakness;

pub use partner::NullPartner;
pub use rig::Rig;
pub use script::{Enabling, Listing, Mischief, Script, ScriptedNamespace, Weakness};
pub use ssd::{Account, ScriptedSsd};
