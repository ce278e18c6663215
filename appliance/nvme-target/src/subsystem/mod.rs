//! Subsystems: namespaces, the hosts that may use them, and the controllers that serve them.
//!
//! ```text
//!   control plane --namespaces come, go, change--> Subsystem --changes, bell--> controllers
//!   control plane <--namespaces, controllers------ Subsystem <--their status--- controllers
//! ```
//!
//! Invariants
//! - A volume leaves a core only when no controller has its namespace any more and nothing is in flight on it.
//! - A controller is told of each change of its namespaces, however many fall together.
//!
//! Not here: what a controller is (`controller`), how clients reach it (`function`).

mod config;
mod error;
mod identity;
mod link;
mod namespace;
mod registry;
mod shared;
mod status;

pub use config::{NamespaceConfig, SubsystemConfig};
pub use error::SubsystemError;
pub use identity::{NamespaceIdentity, Nqn, NqnError};
pub(crate) use link::ControllerLink;
pub(crate) use namespace::ServedNamespace;
pub(crate) use shared::Formatting;
pub use shared::Subsystem;
pub use status::{ControllerPhase, ControllerStatus, NamespaceStatus, QueueStatus};
