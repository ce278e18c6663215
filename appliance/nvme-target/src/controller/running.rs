//! A completion queue that runs: its session, on a core.

use crate::session::QueueSession;
use luge_core::{Assignment, CoreHandle, Promise, Session, SessionId};
use luge_memory::GuestMemory;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A completion queue that runs: its session, on a core.
pub(super) struct RunningQueue {
    pub(super) core: CoreHandle,
    pub(super) session: SessionId,
    /// Counts the queue on its core.
    pub(super) _assignment: Assignment,
    /// Eventfd that wakes the core for a doorbell.
    pub(super) kick: OwnedFd,
    /// File descriptors of the queue.
    pub(super) _descriptors: Promise,
    /// Guest memory that the session uses.
    pub(super) memory: Arc<GuestMemory>,
    pub(super) memory_use: MemoryUse,
    /// Whether the session notes the memory of its commands.
    pub(super) has_notes: bool,
}

/// Use of guest memory by a session. `memory` has the diagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MemoryUse {
    /// The session uses one table.
    Settled,
    /// Commands in flight use the table before.
    Leaving,
    /// The session is held until it can use another table.
    Held,
}

impl RunningQueue {
    /// Calls `task` with the session, between two turns of its core.
    pub(super) fn call<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut QueueSession) -> R + Send + 'static,
    ) -> Option<R> {
        let session = self.session;
        self.core.call(move |core| core.session_as::<QueueSession>(session).map(task))
    }

    /// Takes no more commands; returns whether none is in flight.
    pub(super) fn hold(&self) -> bool {
        self.call(QueueSession::hold).unwrap_or(true)
    }

    /// Wakes the core for a doorbell.
    pub(super) fn kick(&self) {
        // It fails only if the counter is full, and then the core is awake.
        let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
    }

    /// Takes the session off its core, and waits until nothing of it is in flight.
    pub(super) fn remove(self) -> Box<dyn Session> {
        self.core.remove_session(self.session)
    }
}
