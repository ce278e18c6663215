//! The poll-mode NVMe driver.
//!
//! Path: guest ring -> session -> volume -> channel -> **NVMe queue pair** -> SSD.
//!
//! - [`Controller`]: one SSD, as the control plane holds it: bring-up, identity, health, shutdown.
//! - [`Namespace`]: a disk on it, a [`luge_block::Device`].
//! - `queue_pair`: the channel that a core holds, over `slots`, `prp`, `bounce` and `ring`.
//! - `recovery`: one thread per controller that notices what goes wrong, and resets.
//!
//! Invariants
//! - The SSD is foreign: whatever it writes into queues, registers or pages is checked, and a
//!   lie is a fault of that controller, never a panic and never a second completion.
//! - A request ends only when the SSD has completed it, or can no longer write to its memory.
//! - Nothing on the path of a request allocates, locks, blocks or reads a clock.
//! - The SSD is told before its power goes: every stop ends with a shutdown notification.
//!
//! Not here: PCI, VFIO and IOMMUs (behind [`luge_memory::PciFunction`]), sharing a queue pair
//! between volumes (`volume`), metadata and protection information, SGLs, fused commands.

#![deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects)]

mod admin;
mod atomicity;
mod bounce;
mod bring_up;
mod command;
mod commands;
mod control;
mod controller;
mod doorbells;
mod error;
mod event_requests;
mod examination;
mod exclusion;
mod format;
mod health;
mod identity;
mod link;
mod namespace;
mod namespaces;
mod options;
mod parts;
mod prp;
mod queue_memory;
mod queue_pair;
mod quirks;
mod recovery;
mod registers;
mod ring;
#[cfg(any(test, feature = "scripted"))]
pub mod scripted;
mod slots;
mod status;

pub use controller::Controller;
pub use error::{ControllerError, Fault, ErrorKind};
pub use format::{FormatError, NamespaceId, RefusedNamespace};
pub use health::ControllerState;
pub use identity::Identity;
pub use luge_spec::nvme::{AsyncEvent, SmartLog};
pub use namespace::Namespace;
pub use options::Options;
