//! The emulated NVMe controller: a subsystem of namespaces, and controllers that serve them.
//!
//! Path: guest queue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! - [`QueueSession`]: a completion queue with the submission queues that feed it, on a core.
//! - [`Relay`]: the way of commands that a core does not serve itself to the controller's thread.
//! - [`DoorbellPages`]: the doorbells of a controller, which its client maps.
//! - [`Namespaces`]: the namespaces of a controller on one core.
//! - [`HostBuffer`]: the memory of a command, for the controller's thread.
//!
//! Not here: the protocol that carries registers and memory (`vfio-user`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::panic, clippy::arithmetic_side_effects))]

mod admin;
mod commands;
mod controller;
mod data;
mod function;
mod ids;
mod namespaces;
mod pci_ids;
mod queues;
mod relay;
mod reservation;
mod session;
mod subsystem;

pub use commands::CommandStatus;
pub use controller::{
    CompletionQueueState, ControllerConfig, ControllerConfigError, ControllerState, MaskedCommands, Phase,
    Registers, ReservationNotices, ShutdownPhase, SubmissionQueueState,
};
pub use data::{BitBucket, HostBuffer};
pub use function::{Listener, ListenerConfig, ListenerError};
pub use ids::{CommandId, NamespaceId, QueueId};
pub use namespaces::{Namespace, Namespaces};
pub use queues::{
    Coalescing, DoorbellName, DoorbellPages, QueueLayout, QueueMemoryError, QueuePages, ShadowDoorbells,
    ShadowLayout,
};
pub use relay::{FailedCommand, Relay, Relayed, RelayedId};
pub use session::{
    CompletionQueueSetup, GoneMemory, MemoryChange, QueueSession, Removal, RemovedQueue, Rules, Service,
    SessionError, SessionMemory, SessionSetup, SubmissionQueueSetup,
};
pub use subsystem::{
    ControllerPhase, ControllerStatus, NamespaceConfig, NamespaceIdentity, NamespaceStatus, Nqn, NqnError,
    QueueStatus, Subsystem, SubsystemConfig, SubsystemError,
};
