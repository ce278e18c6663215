//! A scripted SSD: registers and queues in ordinary memory, for tests and benchmarks.
//!
//! Path: in the place of the SSD. The driver reaches it through the same traits as a PCI function behind VFIO.
//!
//! - [`Script`]: the answers of the SSD about itself, and its misbehaviour.
//! - [`ScriptedSsd`]: the SSD. A register write takes effect before it returns; I/O queues are served
//!   when a test calls [`ScriptedSsd::step`].
//! - [`NullPartner`]: the device side of one queue, which moves no data, for benchmarks.
//! - [`Rig`]: an SSD, its controller, and buffers.
//!
//! Invariants
//! - The SSD reaches memory only through its IOMMU, so that a wrong or unmapped address is a DMA fault that a test
//!   sees.
//! - It reads queue entries and PRPs with code of its own, not with the driver's.

#![expect(clippy::arithmetic_side_effects, reason = "a test double: an overflow fails the test")]
#![expect(clippy::indexing_slicing, reason = "a test double: a panic fails the test")]

mod admin;
mod disk;
mod function;
pub(crate) mod memory;
mod partner;
pub(crate) mod queues;
mod rig;
mod script;
mod ssd;
mod weakness;

pub use partner::NullPartner;
pub use rig::Rig;
pub use script::{Enabling, Listing, Mischief, Script, ScriptedNamespace, Weakness};
pub use ssd::{Account, ScriptedSsd};
