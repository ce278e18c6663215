//! A controller: its registers, its queues, and what happens to them.
//!
//! Path: none of its own; what a host says here sets up the sessions that serve its commands.
//!
//! ```text
//!   function --registers, memory, vectors, bell--> Controller --tasks--> sessions on cores
//!   admin    --queues, features, events----------> Controller
//! ```
//!
//! Invariants
//! - All of it runs on the thread of the client's connection, which never waits for an SSD: what has to wait for
//!   commands in flight is a state, and goes on when a session says that it has drained.
//! - [`ControllerState`] is all that a host can see of a controller.
//!
//! Not here: admin commands (`admin`), PCI (`function`), what a core does (`session`).

mod departure;
mod device;
mod error_log;
mod events;
mod features;
mod formats;
mod host;
mod initiator;
mod interrupts;
mod job;
mod late_namespaces;
mod late_volumes;
mod leaving;
mod lifecycle;
mod limits;
mod memory;
mod mounts;
mod namespaces;
mod pending_change;
mod placement;
mod queues;
mod registers;
mod reservation_log;
mod reservations;
mod running;
mod running_format;
mod state;

pub(crate) use device::{Controller, ControllerParts};
pub(crate) use error_log::ErrorRecord;
pub(crate) use features::Features;
pub(crate) use lifecycle::ResetLevel;
pub(crate) use limits::{
    ABORTS_MAX_Z, ERROR_LOG_ENTRIES, EVENT_REQUESTS_MAX_Z, FIRMWARE, KEEP_ALIVE_UNIT_100MS,
    TEMPERATURE_CRITICAL_K, TEMPERATURE_K, TEMPERATURE_WARNING_K,
};
pub use limits::{ControllerConfig, ControllerConfigError, MaskedCommands};
pub(crate) use queues::Deleted;
pub use registers::Registers;
pub use reservation_log::ReservationNotices;
pub use state::{CompletionQueueState, ControllerState, Phase, ShutdownPhase, SubmissionQueueState};
