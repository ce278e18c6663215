//! The control queue of an adapter, on one core.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use super::relay::{Relay, RelayedId, SessionNumber};
use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_spec::virtio::scsi::Response;
use luge_volume::Graph;
use std::sync::Arc;

/// Reply to a relayed control request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlReply {
    /// Outcome.
    pub response: Response,
    /// Events, of a notification; zero for task management.
    pub events: u32,
}

/// The control queue of an adapter, on one core.
pub struct ControlSession {
    number: SessionNumber,
    queue: DeviceQueue,
    relay: Arc<Relay>,
}

impl ControlSession {
    /// Makes the control queue of an adapter; without notifiers, until [`DeviceQueue::connect`].
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(relay: Arc<Relay>, setup: QueueSetup) -> Result<Self, QueueError> {
        // SAFETY: a request uses the spans of its chain until it ends, and the chain is given back then. If
        // the session is dropped before, the queue leaves the memory mapped.
        let queue = unsafe { DeviceQueue::new(setup) }?;
        Ok(Self { number: SessionNumber::new(), queue, relay })
    }

    /// Number of the session.
    #[must_use]
    pub fn number(&self) -> SessionNumber {
        self.number
    }

    /// Completes a request that was relayed; returns whether it waited for that.
    pub fn complete(&mut self, _id: RelayedId, _reply: ControlReply) -> bool {
        let _ = &self.relay;
        false
    }
}

impl Session for ControlSession {
    fn adopt(&mut self, _id: SessionId) {}

    fn take(&mut self, _graph: &mut Graph, _allowance: Work) -> Took {
        Took::Nothing
    }

    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        self.queue.publish(self.in_flight())
    }

    fn arm(&mut self) -> Armed {
        self.queue.arm()
    }

    fn disarm(&mut self) {
        self.queue.disarm();
    }

    fn kick(&self) -> Option<&Kick> {
        self.queue.kick()
    }

    fn needs_polling(&self) -> bool {
        self.queue.needs_polling()
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn quiesce(&mut self) {
        self.queue.quiesce();
    }
}

impl QueueSession for ControlSession {
    fn queue(&mut self) -> &mut DeviceQueue {
        &mut self.queue
    }
}
