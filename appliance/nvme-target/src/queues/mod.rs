//! Queues and doorbells of a controller, in memory that its host can write.
//!
//! Invariants
//! - A doorbell value is loaded once and checked before it is used. One out of range changes nothing and is reported.
//! - A completion is stored with its phase tag last. There is never one more than the host has room for: a command is
//!   taken only with a free completion entry.

mod coalescing;
mod completion;
mod doorbell;
mod doorbells;
mod memory;
mod places;
mod shadow;
mod submission;

pub use coalescing::Coalescing;
pub(crate) use completion::CompletionQueue;
pub(crate) use doorbell::Doorbell;
pub(crate) use doorbells::Doorbells;
pub use doorbells::{DoorbellName, DoorbellPages};
pub(crate) use memory::{Piece, QueueMemory};
pub use memory::{QueueLayout, QueueMemoryError, QueuePages};
pub(crate) use places::Places;
pub use shadow::{ShadowDoorbells, ShadowLayout};
pub(crate) use submission::SubmissionQueue;
