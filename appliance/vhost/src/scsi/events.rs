//! The event queue of an adapter, on one core.
//!
//! ```text
//!  (1) nothing pending --an event is added-->                    (2)
//!  (2) pending         --the guest has supplied a buffer-->      (2) or (1), one event less
//!  (2) pending         --a buffer is too small for an event-->   (2), the buffer is given back
//!  (2) pending         --an event is added, and there is no room--> (2), the guest is told that it has missed some
//! ```
//!
//! Invariant: a buffer is taken only when there is an event for it.

#![expect(unsafe_code, reason = "a queue's memory is kept for its spans")]

use crate::device::QueueSession;
use crate::queue::{DeviceQueue, QueueError, QueueSetup};
use luge_block::Completion;
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_memory::Span;
use luge_spec::virtio::scsi::Event;
use luge_virtqueue::ResponseFirst;
use luge_volume::Graph;
use zerocopy::IntoBytes;

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
    /// Adds an event. Where there is no room for it, all are forgotten, and the guest is told that it has missed some:
    /// it looks then what there is, and an older event after that could take away what has come since.
    pub fn add(&mut self, event: Event) {
        if self.events.push_back(event).is_err() {
            self.forget();
        }
    }

    /// Forgets single events; the guest is told that it has missed some.
    pub(super) fn forget(&mut self) {
        self.missed |= !self.events.is_empty();
        self.events.clear();
    }

    /// Adds later events.
    pub(super) fn append(&mut self, later: &Self) {
        if later.missed {
            self.forget();
            self.missed = true;
        }
        later.events.iter().for_each(|&event| self.add(event));
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.missed
    }

    /// The next event, which tells whether others were lost.
    fn next(&self) -> Option<Event> {
        let event = self.events.front().copied().or(self.missed.then(Event::default))?;
        Some(if self.missed { Event { kind: event.kind.with_missed(), ..event } } else { event })
    }

    /// Removes the next event, which the guest has got.
    fn remove(&mut self) {
        let _ = self.events.pop_front();
        self.missed = false;
    }
}

/// Bytes of an event.
const EVENT_BYTES: usize = size_of::<Event>();

/// Layout of a chain. Chains of events are all read one by one.
type Batch = luge_virtqueue::Batch<ResponseFirst<1, EVENT_BYTES>>;

/// The event queue of an adapter, on one core.
pub struct EventSession {
    queue: DeviceQueue,
    batch: Batch,
    /// Whether the batch has a buffer that was not given back.
    is_taken: bool,
    pending: PendingEvents,
}

impl EventSession {
    /// Makes the event queue of an adapter, with events that are pending from before; without notifiers, until
    /// [`DeviceQueue::connect`].
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(pending: PendingEvents, setup: QueueSetup) -> Result<Self, QueueError> {
        let layout = setup.layout;
        // SAFETY: the spans of a chain are used in the take that has taken it, before it is given back.
        let queue = unsafe { DeviceQueue::new(setup) }?;
        Ok(Self { queue, batch: Batch::new(&layout), is_taken: false, pending })
    }

    /// Adds an event.
    pub fn add(&mut self, event: Event) {
        self.pending.add(event);
    }

    /// Takes a buffer, if there is an event for it; returns whether there is one.
    fn take_buffer(&mut self, allowance: Work) -> bool {
        self.batch.allow(allowance.number_of(Work::DESCRIPTOR));
        if !self.is_taken && !self.pending.is_empty() && self.queue.waiting() > 0 {
            self.queue.take(&mut self.batch, 1);
            self.is_taken = !self.batch.is_empty();
        }
        self.is_taken
    }

    /// Gives the buffer of the batch back, with the next event if that has room. Returns whether it was read to its end.
    fn fill(&mut self) -> bool {
        let (head, written) = if self.batch.is_long(0) {
            let mut list = [Span::EMPTY; EVENT_BYTES];
            self.queue.refuse_long(&mut self.batch);
            let Some(long) = self.queue.walk_long(&mut self.batch, &mut list) else { return false };
            (long.head, write(self.pending.next(), list.get(long.readable..long.end).unwrap_or_default()))
        } else {
            let Some(chain) = self.batch.chain(0) else { return false };
            let room = if chain.fault.is_none() { &*chain.writable } else { &[] };
            (chain.head, write(self.pending.next(), room))
        };
        if written == 0 {
            self.queue.count_fault();
        } else {
            self.pending.remove();
        }
        self.queue.complete(head, written);
        true
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

    fn take(&mut self, _graph: &mut Graph, allowance: Work) -> Took {
        let (mut given_back, mut walked) = (0_usize, 0_usize);
        let most = allowance.number_of(Work::REQUEST);
        while given_back < most && self.take_buffer(allowance) {
            let is_over = self.fill();
            walked = walked.saturating_add(self.batch.steps());
            if !is_over {
                break;
            }
            self.is_taken = false;
            given_back = given_back.wrapping_add(1);
        }
        let work = Work::REQUEST.times(given_back).plus(Work::DESCRIPTOR.times(walked));
        if work == Work::default() { Took::Nothing } else { Took::Work(work) }
    }

    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        self.queue.publish(self.in_flight())
    }

    fn arm(&mut self) -> Armed {
        match (self.is_taken, self.pending.is_empty()) {
            (true, _) => Armed::Waiting,
            // Buffers may wait: they are not looked at.
            (false, true) => Armed::Quiet,
            (false, false) => self.queue.arm(),
        }
    }

    fn disarm(&mut self) {
        self.queue.disarm();
    }

    fn kick(&self) -> Option<&Kick> {
        self.queue.kick()
    }

    fn needs_polling(&self) -> bool {
        !self.pending.is_empty() && self.queue.needs_polling()
    }

    fn in_flight(&self) -> usize {
        // Buffers that an earlier process has taken are left to the next event, which may come to another session.
        self.is_taken.into()
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

/// Writes an event into a buffer; returns its length, or zero if there is no event or no room for one.
fn write(event: Option<Event>, buffer: &[Span]) -> u32 {
    let Some(event) = event.filter(|_| Span::total(buffer) >= EVENT_BYTES as u64) else { return 0 };
    let mut left = event.as_bytes();
    for span in buffer {
        left = left.get(span.write(left)..).unwrap_or_default();
    }
    u32::try_from(EVENT_BYTES).unwrap_or(0)
}
