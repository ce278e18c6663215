//! The poll-mode NVMe driver.
//!
//! Path: guest ring -> session -> volume -> channel -> **NVMe queue pair** -> SSD.
//!
//! - [`Controller`]: handle of the control plane to an SSD: bring-up, identity, health, shutdown.
//! - [`Namespace`]: a disk on the SSD, which is a [`luge_block::Device`].
//! - `queue_pair`: the channel of a core, made of `slots`, `prp`, `bounce` and `ring`.
//! - `recovery`: a thread per controller that detects faults and resets the SSD.
//!
//! Invariants
//! - The SSD is not trusted: everything that it writes to queues, registers and pages is checked. What breaks the
//!   rules is a fault of the controller, never a panic and never a second completion.
//! - A request ends only after the SSD has completed it, or can no longer write to its memory.
//! - Nothing on the path of a request allocates, locks, blocks or reads a clock.
//! - Every stop of an SSD ends with a shutdown notification, so that it loses nothing when its power goes.
//!
//! Not here: PCI, VFIO and IOMMUs (behind [`luge_memory::PciFunction`]), sharing a queue pair
//! between volumes (`volume`), metadata and protection information, SGLs, fused commands.

#![deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects)]

mod admin;
mod atomicity;
mod bare_queue;
mod bounce;
mod bring_up;
mod command;
mod commands;
mod control;
mod controller;
mod doorbells;
#[cfg(any(test, feature = "doubles"))]
pub mod doubles;
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
mod recoveries;
mod recovery;
mod registers;
mod ring;
#[cfg(any(test, feature = "scripted"))]
pub mod scripted;
mod slots;
mod status;

pub use bare_queue::BareQueue;
pub use controller::Controller;
pub use error::{ControllerError, ErrorKind, Fault};
pub use format::{FormatError, NamespaceId, RefusedNamespace};
pub use health::ControllerState;
pub use identity::Identity;
pub use luge_spec::nvme::{AsyncEvent, SmartLog};
pub use namespace::Namespace;
pub use options::Options;
