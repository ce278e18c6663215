//! One request queue of an adapter, on one core.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use super::cancel::{Cancelled, CancelledAs, Scope};
use super::drain::Drain;
use super::lun::LunAddress;
use super::relay::{CommandReply, Relay, RelayedId, SessionNumber};
use super::table::LunTable;
use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_volume::Graph;
use std::sync::Arc;

/// One request queue of an adapter, on one core.
pub struct RequestSession {
    session: SessionId,
    number: SessionNumber,
    /// Number of the queue.
    index: u16,
    queue: DeviceQueue,
    table: Option<Arc<LunTable>>,
    relay: Arc<Relay>,
}

impl RequestSession {
    /// Makes queue `index` of an adapter; without notifiers, until [`DeviceQueue::connect`]. It takes nothing before it
    /// has a table.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(index: u16, relay: Arc<Relay>, setup: QueueSetup) -> Result<Self, QueueError> {
        // SAFETY: a request uses the spans of its chain until it ends, and the chain is given back then. If
        // the session is dropped before, the queue leaves the memory mapped.
        let queue = unsafe { DeviceQueue::new(setup) }?;
        let (session, number) = (SessionId(0), SessionNumber::new());
        Ok(Self { session, number, index, queue, table: None, relay })
    }

    /// Number of the session.
    #[must_use]
    pub fn number(&self) -> SessionNumber {
        self.number
    }

    /// Uses another table of LUNs, for all requests that no volume has yet; returns the one before.
    pub fn replace_table(&mut self, table: Arc<LunTable>) -> Option<Arc<LunTable>> {
        self.table.replace(table)
    }

    /// Completes a command that was relayed; returns whether it waited for that.
    pub fn complete_relayed(&mut self, _id: RelayedId, _reply: &CommandReply) -> bool {
        let _ = (self.index, &self.relay, self.session);
        false
    }

    /// Ends the requests of a scope that were made available until now, as soon as nothing uses their memory; those that
    /// no volume has and that were not relayed do not begin. For [`CancelledAs::Nothing`], only those count that began.
    pub fn cancel(&mut self, _scope: Scope, _end: CancelledAs, drain: Arc<Drain>) -> Cancelled {
        Cancelled::Over(drain)
    }

    /// Whether a request with that tag, to that LUN, was taken and has not ended.
    #[must_use]
    pub fn is_in_flight(&self, _lun: LunAddress, _tag: u64) -> bool {
        false
    }

    /// Whether a request to that LUN was taken and has not ended.
    #[must_use]
    pub fn has_any(&self, _lun: LunAddress) -> bool {
        false
    }
}

impl Session for RequestSession {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

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

impl QueueSession for RequestSession {
    fn queue(&mut self) -> &mut DeviceQueue {
        &mut self.queue
    }
}
