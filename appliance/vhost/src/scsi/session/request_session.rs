//! The parts of a session for requests, and how it is made.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use super::cancellations::Cancellations;
use super::extras::{EXTRAS, Extras};
use super::groups::Groups;
use super::parked::Parked;
use super::pending::{Identity, Long, Pending};
use super::slots::Slots;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use crate::scsi::relay::{Relay, SessionNumber};
use crate::scsi::request::Batch;
use crate::scsi::table::LunTable;
use luge_block::Completion;
use luge_core::SessionId;
use std::sync::Arc;

/// Most comparisons that have failed and wait for a look at the place where.
const COMPARED: usize = 64;

/// One request queue of an adapter, on one core.
pub struct RequestSession {
    pub(super) session: SessionId,
    pub(super) number: SessionNumber,
    /// Number of the queue.
    pub(super) index: u16,
    pub(super) queue: DeviceQueue,
    pub(super) batch: Batch,
    /// Chains of the batch that were not read yet, a bit each.
    pub(super) left: u64,
    pub(super) groups: Groups,
    pub(super) parked: Parked,
    pub(super) pending: Option<Pending>,
    pub(super) long: Option<Long>,
    /// The long chain at the end of the batch, if that was parked.
    pub(super) unparked: Option<Identity>,
    pub(super) slots: Slots,
    pub(super) extras: Extras,
    /// Requests that the adapter's thread has left to the core: the indices of their memory.
    pub(super) resumed: heapless::Deque<u8, EXTRAS>,
    /// Comparisons that have failed: the place where is asked for in the next turn.
    pub(super) compared: heapless::Vec<Completion, COMPARED>,
    pub(super) cancellations: Cancellations,
    pub(super) table: Option<Arc<LunTable>>,
    pub(super) relay: Arc<Relay>,
}

impl RequestSession {
    /// Makes queue `index` of an adapter; without notifiers, until [`DeviceQueue::connect`]. It takes nothing before it
    /// has a table.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(index: u16, relay: Arc<Relay>, setup: QueueSetup) -> Result<Self, QueueError> {
        let layout = setup.layout;
        Ok(Self {
            session: SessionId(0),
            number: SessionNumber::new(),
            index,
            // SAFETY: a request uses the spans of its chain until it ends, and the chain is given back then. If
            // the session is dropped before, the queue leaves the memory mapped.
            queue: unsafe { DeviceQueue::new(setup) }?,
            batch: Batch::new(&layout),
            left: 0,
            groups: Groups::new(),
            parked: Parked::new(layout.size),
            pending: None,
            long: None,
            unparked: None,
            slots: Slots::new(layout.size),
            extras: Extras::new(),
            resumed: heapless::Deque::new(),
            compared: heapless::Vec::new(),
            cancellations: Cancellations::default(),
            table: None,
            relay,
        })
    }

    /// Number of the session.
    #[must_use]
    pub fn number(&self) -> SessionNumber {
        self.number
    }
}
