//! The event queue of an adapter, on one core.
//!
//! ```text
//!  (1) nothing pending --an event is added-->                    (2)
//!  (2) pending         --the guest has supplied a buffer-->      (2) or (1), one event less
//!  (2) pending         --an event is added, and there is no room--> (2), events are missed
//! ```
//!
//! Invariant: a buffer is taken only when there is an event for it.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_spec::virtio::scsi::Event;
use luge_volume::Graph;

/// Most events that wait for buffers of the guest.
pub const EVENTS_MAX: usize = 64;

/// Events that wait for buffers of the guest.
#[derive(Clone, Debug, Default)]
pub struct PendingEvents {
    events: heapless::Deque<Event, EVENTS_MAX>,
    /// Whether events were lost.
    missed: bool,
}

impl PendingEvents {
    /// Adds an event. Where there is no room for it, the guest is told that it has missed some.
    pub fn add(&mut self, event: Event) {
        self.missed |= self.events.push_back(event).is_err();
    }

    /// Adds later events.
    pub(super) fn append(&mut self, later: &Self) {
        later.events.iter().for_each(|&event| self.add(event));
        self.missed |= later.missed;
    }

    /// Forgets single events before a ring that begins: its driver looks for LUNs itself, and may have found one that
    /// an old event would take away. It is told that it has missed events.
    pub(super) fn begin_ring(&mut self) {
        self.missed |= !self.events.is_empty();
        self.events.clear();
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.missed
    }
}

/// The event queue of an adapter, on one core.
pub struct EventSession {
    queue: DeviceQueue,
    pending: PendingEvents,
}

impl EventSession {
    /// Makes the event queue of an adapter, with events that are pending from before; without notifiers, until
    /// [`DeviceQueue::connect`].
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(pending: PendingEvents, setup: QueueSetup) -> Result<Self, QueueError> {
        // SAFETY: the spans of a chain are used before it is given back, at once. If
        // the session is dropped before, the queue leaves the memory mapped.
        let queue = unsafe { DeviceQueue::new(setup) }?;
        Ok(Self { queue, pending })
    }

    /// Adds an event.
    pub fn add(&mut self, event: Event) {
        self.pending.add(event);
    }

    /// Adds events.
    pub(super) fn append(&mut self, later: &PendingEvents) {
        self.pending.append(later);
    }

    /// Takes the events that are pending, for the next session of the queue.
    pub fn take_pending(&mut self) -> PendingEvents {
        std::mem::take(&mut self.pending)
    }
}

impl Session for EventSession {
    fn adopt(&mut self, _id: SessionId) {}

    fn take(&mut self, _graph: &mut Graph, _allowance: Work) -> Took {
        Took::Nothing
    }

    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        self.queue.publish(self.in_flight())
    }

    fn arm(&mut self) -> Armed {
        Armed::Quiet
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

impl QueueSession for EventSession {
    fn queue(&mut self) -> &mut DeviceQueue {
        &mut self.queue
    }
}
