//! The way of requests that a core does not serve itself: to the adapter's thread, and back.
//!
//! ```text
//! core: push, bell --> adapter's thread: next --> a task on the core: RequestSession::complete_relayed,
//!                                                                     ControlSession::complete
//! ```
//!
//! A core neither waits nor allocates here. A request that finds no room waits in its session.

use super::lun::LunPlace;
use crossbeam_queue::ArrayQueue;
use luge_core::ThreadBell;
use luge_spec::scsi::ScsiStatus;
use luge_spec::virtio::scsi::CDB_BYTES;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Most requests of an adapter on their way to its thread.
const CAPACITY: usize = 256;

/// Most bytes of data-out that go to the thread.
pub const DATA_OUT_MAX: usize = 1024;

/// Number of a session, which no other session of the process has had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionNumber(u64);

impl SessionNumber {
    /// A number that no session has had.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// Name of a relayed request, by which its session finds it again. No other request of the session has the same one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayedId {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

/// A request for the adapter's thread.
#[derive(Debug)]
pub struct Relayed {
    /// Queue that it came by.
    pub queue: u16,
    /// Session to which the answer goes.
    pub session: SessionNumber,
    /// Name of the request in that session.
    pub id: RelayedId,
    /// The request.
    pub request: RelayedRequest,
}

/// Request for the adapter's thread.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "all have the same place in the relay")]
pub enum RelayedRequest {
    /// A command, answered by `RequestSession::complete_relayed`.
    Command(RelayedCommand),
    /// Task management, answered by `ControlSession::complete`.
    TaskManagement(TaskManagement),
    /// Asynchronous notifications, answered by `ControlSession::complete`.
    Notification(Notification),
}

/// A command that the core does not serve.
#[derive(Clone, Debug)]
pub struct RelayedCommand {
    /// Place that it is for.
    pub place: LunPlace,
    /// Tag of the task.
    pub tag: u64,
    /// CDB, padded with zeroes.
    pub cdb: [u8; CDB_BYTES],
    /// First bytes of data-out. Empty for a command that the core would serve.
    pub data_out: heapless::Vec<u8, DATA_OUT_MAX>,
    /// Number of all bytes of data-out.
    pub data_out_bytes: u32,
    /// Bytes that the initiator has room for.
    pub data_in_bytes: u32,
}

/// A task management request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskManagement {
    /// Function.
    pub function: TaskFunction,
    /// Place that it is for; for [`TaskFunction::NexusReset`] only the target counts.
    pub place: LunPlace,
    /// Tag of the task, for functions on one.
    pub tag: u64,
}

/// Task management function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskFunction {
    /// ABORT TASK.
    AbortTask,
    /// ABORT TASK SET.
    AbortTaskSet,
    /// CLEAR ACA.
    ClearAca,
    /// CLEAR TASK SET.
    ClearTaskSet,
    /// I_T NEXUS RESET.
    NexusReset,
    /// LOGICAL UNIT RESET.
    UnitReset,
    /// QUERY TASK.
    QueryTask,
    /// QUERY TASK SET.
    QueryTaskSet,
}

/// A query or subscription of asynchronous notifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Query or subscription.
    pub action: NotificationAction,
    /// Place that it is for.
    pub place: LunPlace,
    /// Events that are asked for, a bit each.
    pub requested: u32,
}

/// Purpose of a [`Notification`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotificationAction {
    /// Asks which events there are.
    Query,
    /// Asks to be told of them.
    Subscribe,
}

/// Reply to a relayed command.
#[derive(Clone, Debug)]
pub enum CommandReply {
    /// The end of the command.
    Done(Ended),
    /// There is no such target (`BAD_TARGET`).
    NoTarget,
    /// The core is to serve the command after all.
    GoOn,
}

/// The end of a relayed command.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// Status.
    pub status: ScsiStatus,
    /// Sense data; more than the initiator takes is cut off.
    pub sense: Vec<u8>,
    /// Data-in. More than the initiator has room for is cut off, and not counted as an overrun: an allocation length
    /// cuts it, too.
    pub data_in: Vec<u8>,
    /// Bytes of data-out that were used.
    pub data_out_bytes: u32,
}

/// Way from the sessions of an adapter to its thread.
pub struct Relay {
    requests: ArrayQueue<Relayed>,
    bell: ThreadBell,
}

impl Relay {
    /// Makes a way for the sessions of one adapter.
    ///
    /// # Errors
    /// That of the kernel, if no eventfd is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { requests: ArrayQueue::new(CAPACITY), bell: ThreadBell::new()? })
    }

    /// Eventfd that is readable when there is something for the adapter's thread.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Makes the bell silent. Whatever comes afterwards rings it again: call it before [`Self::next`].
    pub fn hush(&self) {
        self.bell.hush();
    }

    /// The next request.
    #[must_use]
    pub fn next(&self) -> Option<Relayed> {
        self.requests.pop()
    }

    /// Rings the bell.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Hands a request over.
    ///
    /// # Errors
    /// The request, if there is no room.
    #[expect(clippy::result_large_err, reason = "the request stays where it is")]
    pub(super) fn push(&self, request: Relayed) -> Result<(), Relayed> {
        self.requests.push(request)?;
        self.ring();
        Ok(())
    }
}
