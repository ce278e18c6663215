//! The reactor: one pinned thread per core, its mailbox, its loop, its sleep.
//!
//! Path: none of its own; it calls, in turn, **sessions take -> channels commit and poll ->
//! sessions finish and publish**.
//!
//! Invariants
//! - A core never waits for a guest, a peer, an SSD, a file or a lock.
//! - A turn does a bounded amount of work for each session, so none starves another.
//! - A session leaves its core only when none of its requests is in flight.
//!
//! Not here: what a session speaks (`vhost`), what a channel drives (`block`, `nvme`).

mod session;

pub use session::{Armed, Session, SessionId};
