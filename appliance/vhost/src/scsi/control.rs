//! The control queue of an adapter, on one core (virtio 1.3, clause 5.6.6.2).
//!
//! ```text
//!  (1) a chain --in order--> relayed, (2)
//!  (1) a chain --not in order, or of a function that there is not--> answered
//!  (1) a chain --no room in the relay--> stays; (1) in the next turn
//!  (2) relayed --the adapter's thread has answered--> response, used element; free
//! ```
//!
//! Invariant: every request gets a response that has room for one.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use super::control_request::{Batch, ControlRequest, ResponsePlace, read};
use super::relay::{Relay, Relayed, RelayedId, SessionNumber};
use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_spec::virtio::scsi::{CONTROL_QUEUE, Response};
use luge_virtqueue::Head;
use luge_volume::Graph;
use std::sync::Arc;

/// Most requests that the adapter's thread has at the same time. Others wait in the ring.
const RELAYED_MAX: u16 = 64;

/// Reply to a relayed control request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlReply {
    /// Outcome.
    pub response: Response,
    /// Events, of a notification; zero for task management.
    pub events: u32,
}

/// A request that the adapter's thread has.
struct Slot {
    head: Head,
    response: ResponsePlace,
    generation: u32,
}

/// A request that the relay has had no room for.
struct Waiting {
    head: Head,
    response: ResponsePlace,
    request: ControlRequest,
}

/// The control queue of an adapter, on one core.
pub struct ControlSession {
    number: SessionNumber,
    queue: DeviceQueue,
    batch: Batch,
    /// Index of the first chain of the batch that was not read yet.
    next: usize,
    waiting: Option<Waiting>,
    slots: Box<[Option<Slot>]>,
    /// Number of slots that are in use.
    busy: u16,
    generation: u32,
    relay: Arc<Relay>,
}

impl ControlSession {
    /// Makes the control queue of an adapter; without notifiers, until [`DeviceQueue::connect`].
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(relay: Arc<Relay>, setup: QueueSetup) -> Result<Self, QueueError> {
        let layout = setup.layout;
        Ok(Self {
            number: SessionNumber::new(),
            // SAFETY: a request uses the spans of its chain until it ends, and the chain is given back then. If
            // the session is dropped before, the queue leaves the memory mapped.
            queue: unsafe { DeviceQueue::new(setup) }?,
            batch: Batch::new(&layout),
            next: 0,
            waiting: None,
            slots: (0..RELAYED_MAX).map(|_| None).collect(),
            busy: 0,
            generation: 0,
            relay,
        })
    }

    /// Number of the session.
    #[must_use]
    pub fn number(&self) -> SessionNumber {
        self.number
    }

    /// Completes a request that was relayed; returns whether it waited for that.
    pub fn complete(&mut self, id: RelayedId, reply: ControlReply) -> bool {
        let place = self.slots.get_mut(usize::from(id.slot));
        let slot = place.and_then(|place| place.take_if(|slot| slot.generation == id.generation));
        let Some(Slot { head, response, .. }) = slot else { return false };
        self.busy = self.busy.wrapping_sub(1);
        self.queue.complete(head, response.write(reply.response, reply.events));
        true
    }

    /// Serves the chains of the batch, while the relay has room.
    fn serve(&mut self) -> usize {
        let before = self.next;
        while self.waiting.is_none() && self.busy < RELAYED_MAX && self.next < self.batch.len() {
            if !self.serve_one() {
                break;
            }
        }
        self.next.wrapping_sub(before)
    }

    /// Serves the next chain of the batch; returns whether it was read.
    fn serve_one(&mut self) -> bool {
        if self.batch.is_long(self.next) {
            return self.refuse_long();
        }
        let Some(chain) = self.batch.chain(self.next) else { return false };
        let head = chain.head;
        if chain.fault.is_some() {
            self.queue.count_fault();
        }
        let (response, request) = read(chain);
        self.next = self.next.wrapping_add(1);
        match request {
            Ok(request) => self.relay(Waiting { head, response, request }),
            Err(refusal) => self.queue.complete(head, response.write(refusal, 0)),
        }
        true
    }

    /// Refuses a chain of more descriptors than a request can have any use for.
    fn refuse_long(&mut self) -> bool {
        let mut list = ResponsePlace::LIST;
        self.queue.refuse_long(&mut self.batch);
        let Some(long) = self.queue.walk_long(&mut self.batch, &mut list) else { return false };
        let response = ResponsePlace::of(list.get(long.readable..long.end).unwrap_or_default());
        self.next = self.next.wrapping_add(1);
        self.queue.count_fault();
        self.queue.complete(long.head, response.write(Response::FAILURE, 0));
        true
    }

    /// Hands a request to the adapter's thread, if the relay has room.
    fn relay(&mut self, waiting: Waiting) {
        let Some(slot) = self.slots.iter().position(Option::is_none) else {
            self.waiting = Some(waiting);
            return;
        };
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let id = RelayedId { slot: u16::try_from(slot).unwrap_or(0), generation };
        let request = waiting.request.into();
        let relayed = Relayed { queue: CONTROL_QUEUE, session: self.number, id, request };
        if self.relay.push(relayed).is_err() {
            self.waiting = Some(waiting);
            return;
        }
        let Waiting { head, response, .. } = waiting;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Slot { head, response, generation });
        }
        self.busy = self.busy.wrapping_add(1);
    }

    fn unread(&self) -> usize {
        self.batch.len().wrapping_sub(self.next)
    }
}

impl Session for ControlSession {
    fn adopt(&mut self, _id: SessionId) {}

    fn take(&mut self, _graph: &mut Graph, allowance: Work) -> Took {
        let waiting = if self.unread() == 0 && self.waiting.is_none() { self.queue.waiting() } else { 0 };
        if waiting == 0 && self.unread() == 0 && self.waiting.is_none() {
            return Took::Nothing;
        }
        self.batch.allow(allowance.number_of(Work::DESCRIPTOR));
        let retried = self.waiting.take().map(|request| self.relay(request)).is_some();
        if waiting > 0 {
            self.next = 0;
            self.queue.take(&mut self.batch, waiting.min(allowance.number_of(Work::REQUEST)));
        }
        let served = self.serve().wrapping_add(usize::from(retried && self.waiting.is_none()));
        let walked = Work::DESCRIPTOR.times(self.batch.steps());
        let work = Work::REQUEST.times(served).plus(walked);
        if work == Work::default() { Took::NoRoom } else { Took::Work(work) }
    }

    /// No volume has requests of this queue.
    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        self.queue.publish(self.in_flight())
    }

    fn arm(&mut self) -> Armed {
        // With all slots in use, chains wait for the thread, whose answer wakes the core.
        let waits = self.waiting.is_some() || (self.unread() > 0 && self.busy < RELAYED_MAX);
        if waits { Armed::Waiting } else { self.queue.arm() }
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
        let taken = self.unread().wrapping_add(usize::from(self.waiting.is_some()));
        usize::from(self.busy).wrapping_add(taken).wrapping_add(self.queue.resubmits())
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
