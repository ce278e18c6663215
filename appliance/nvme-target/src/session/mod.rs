//! A completion queue with the submission queues that feed it, on one core.
//!
//! Path: guest queue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! ```text
//!  (1) a command in its queue --the volume, or the controller's thread, takes it--> (2) a slot
//!  (1) a command in its queue --answered at once-->                                 (4)
//!  (1) a command in its queue --no room-->                                          (1), read again in the next turn
//!  (2) a slot                 --its request has ended, or it was answered-->        (3) free
//!  (3) free                                                                         (4) a completion is posted
//! ```
//!
//! Invariants
//! - A command is read from a copy of its entry, or from words that are loaded once. Nothing of a command is kept
//!   before (2).
//! - There are at least as many free completion entries as busy slots.
//! - A command reaches (4) once.

mod admin_doorbells;
mod at_once;
mod attempt;
mod candidates;
mod changes;
mod command_memory;
mod complete;
mod fused;
mod groups;
mod interrupts;
mod leaving;
mod leaving_memory;
mod long;
mod long_walk;
mod looks;
mod memory_change;
mod offered_doorbells;
mod queue_session;
mod ranges;
mod run;
mod setup;
mod single;
mod slots;
mod special;
mod specials;
mod take;
mod transfer;
mod turn;

pub use changes::{Removal, RemovedQueue};
pub use memory_change::MemoryChange;
pub use queue_session::{QueueSession, SessionError};
pub use setup::{
    CompletionQueueSetup, GoneMemory, Rules, Service, SessionMemory, SessionSetup, SubmissionQueueSetup,
};
