//! The contract of virtio devices: all that a vhost-user connection has to know of a device.
//!
//! Path: guest ring -> virtqueue -> **session of a device** -> volume -> channel -> SSD.
//!
//! ```text
//!   connection --features, configuration, queues--> VirtioDevice
//!   connection --a ring that starts---------------> VirtioDevice --> session, on a core
//!   connection --notifiers, memory----------------> DeviceQueue of that session
//! ```
//!
//! Not here: the parts that all devices have in common: rings (`queue.rs`), messages (`connection`).

use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::CoreId;
use luge_core::{AttachError, CoreHandle, Session, SessionId};
use luge_memory::NodeAmounts;
use luge_spec::virtio::Features;
use luge_volume::Graph;
use std::any::Any;

/// The most queues of a device.
pub const QUEUES_MAX: u16 = 256;

/// Purpose of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueKind {
    /// Requests of the guest.
    Requests,
    /// Commands about the device, rare and without data.
    Control,
    /// Buffers for events. The device takes one only when it has an event to tell.
    Events,
}

/// A virtio device on a vhost-user socket. Called by connections, which may block; never by a core.
pub trait VirtioDevice: Send + Sync {
    /// Features of the device's type. Those of rings and of vhost-user are the connection's.
    fn features(&self) -> Features;

    /// Number of queues: 1 to [`QUEUES_MAX`].
    fn queues(&self) -> u16;

    /// Purpose of a queue.
    fn kind(&self, queue: u16) -> QueueKind;

    /// `len` bytes of the configuration space from `offset`, both in bytes; zeroes after its end.
    fn config(&self, offset: u32, len: u32) -> Vec<u8>;

    /// Cores that can serve its queues, one of which is chosen when a queue starts. They do not change.
    fn cores(&self) -> Vec<CoreHandle>;

    /// Lets another core serve its queues. It is none of [`Self::cores`].
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed then.
    fn attach(&self, _core: &CoreHandle) -> Result<(), AttachError> {
        Ok(())
    }

    /// Undoes [`Self::attach`]. Sessions on that core are gone.
    fn detach(&self, _core: CoreId) {}

    /// NUMA nodes of the devices beneath it, for that choice.
    fn nodes(&self) -> NodeAmounts {
        NodeAmounts::default()
    }

    /// Whether a device beneath it transfers data itself, so that guest memory must be mapped for the SSDs.
    fn uses_dma(&self) -> bool {
        true
    }

    /// Makes a session for a ring of queue `queue` that starts on core `core`, one of [`Self::cores`] or
    /// one that was attached.
    ///
    /// # Errors
    /// [`QueueError`].
    fn session(&self, queue: u16, core: CoreId, setup: QueueSetup) -> Result<NewSession, QueueError>;

    /// Notes the address of the session of a queue that has started: for events.
    fn started(&self, _queue: u16, _session: SessionAddress) {}

    /// Forgets the address of a session that is about to leave its core. It is valid until this returns.
    fn stopped(&self, _queue: u16) {}

    /// Notes that a session has left its core and was dropped, some time after [`Self::stopped`]: its last requests have
    /// ended.
    fn left(&self, _queue: u16) {}
}

/// Address of a session that a core serves.
#[derive(Clone)]
pub struct SessionAddress {
    /// The core.
    pub core: CoreHandle,
    /// The session's number on it.
    pub session: SessionId,
}

impl SessionAddress {
    /// Calls `task` with the session, between two turns of its core, and waits for the result; none where
    /// that session is gone.
    pub fn call<S: Session, R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Option<R> {
        self.call_with_graph(|session, _| task(session))
    }

    /// Calls `task` with the session, as [`Self::call`], and with the graph of its core.
    pub fn call_with_graph<S: Session, R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut S, &mut Graph) -> R + Send + 'static,
    ) -> Option<R> {
        let session = self.session;
        self.core
            .call(move |core| core.session_and_graph(session).map(|(session, graph)| task(session, graph)))
    }
}

/// A session of one virtio queue.
pub trait QueueSession: Session {
    /// The queue.
    fn queue(&mut self) -> &mut DeviceQueue;
}

/// Access to the queue of a session whose type only its device knows.
#[derive(Clone, Copy)]
pub(crate) struct QueueAccess(fn(&mut dyn Any) -> Option<&mut DeviceQueue>);

impl QueueAccess {
    /// The queue of the session; none for a session of another type.
    pub(crate) fn of(self, session: &mut dyn Any) -> Option<&mut DeviceQueue> {
        (self.0)(session)
    }
}

/// A session that no core serves yet.
pub struct NewSession {
    pub(crate) session: Box<dyn Session>,
    pub(crate) access: QueueAccess,
}

impl NewSession {
    /// Wraps a session.
    #[must_use]
    pub fn new<S: QueueSession>(session: S) -> Self {
        fn queue<S: QueueSession>(session: &mut dyn Any) -> Option<&mut DeviceQueue> {
            session.downcast_mut::<S>().map(QueueSession::queue)
        }
        Self { session: Box::new(session), access: QueueAccess(queue::<S>) }
    }
}
