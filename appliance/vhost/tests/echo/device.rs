//! An echo device: queue 0 returns what a chain says, queue 1 holds buffers for events.

#![expect(unsafe_code, reason = "its sessions use guest memory")]

use luge_block::{Completion, CoreId};
use luge_core::{Armed, CoreHandle, Kick, Published, Session, SessionId, Took, Work};
use luge_spec::virtio::Features;
use luge_vhost::{
    DeviceQueue, NewSession, QueueError, QueueKind, QueueSession, QueueSetup, SessionAddress, VirtioDevice,
};
use luge_virtqueue::{Batch, Chain, ResponseLast};
use luge_volume::Graph;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Queue of the messages.
pub const MESSAGES: u16 = 0;

/// Queue of the events.
pub const EVENTS: u16 = 1;

/// A feature of this type of device alone.
pub const FEATURE: Features = Features(1 << 3);

/// Configuration space of the device.
pub const CONFIG: &[u8] = b"echo";

/// Events that a session keeps while the guest has no buffer for them.
const PENDING_MAX: usize = 4;

/// A device that echoes.
pub struct Echo {
    cores: Vec<CoreHandle>,
    /// Session of the event queue, while that runs.
    events: Mutex<Option<SessionAddress>>,
}

impl Echo {
    pub fn new(cores: Vec<CoreHandle>) -> Self {
        Self { cores, events: Mutex::default() }
    }

    /// Tells the guest of an event; returns whether its event queue took it.
    pub fn tell(&self, event: &[u8]) -> bool {
        let (events, event) = (self.events.lock().unwrap(), event.to_vec());
        let address = events.as_ref();
        address.and_then(|at| at.call(|session: &mut EventSession| session.push(event))).unwrap_or(false)
    }
}

impl VirtioDevice for Echo {
    fn features(&self) -> Features {
        FEATURE
    }

    fn queues(&self) -> u16 {
        2
    }

    fn kind(&self, queue: u16) -> QueueKind {
        if queue == EVENTS { QueueKind::Events } else { QueueKind::Requests }
    }

    fn config(&self, offset: u32, len: u32) -> Vec<u8> {
        let bytes = CONFIG.iter().copied().chain(std::iter::repeat(0));
        bytes.skip(offset as usize).take(len as usize).collect()
    }

    fn cores(&self) -> Vec<CoreHandle> {
        self.cores.clone()
    }

    fn session(&self, queue: u16, _: CoreId, setup: QueueSetup) -> Result<NewSession, QueueError> {
        let batch = Box::new(Batch::new(&setup.layout));
        // SAFETY: a session uses the spans of a chain only before it gives the chain back.
        let queue_of = unsafe { DeviceQueue::new(setup) }?;
        Ok(match self.kind(queue) {
            QueueKind::Events => NewSession::new(EventSession::new(queue_of, batch)),
            QueueKind::Requests | QueueKind::Control => {
                NewSession::new(EchoSession { queue: queue_of, batch })
            }
        })
    }

    fn started(&self, queue: u16, session: SessionAddress) {
        if queue == EVENTS {
            *self.events.lock().unwrap() = Some(session);
        }
    }

    fn stopped(&self, queue: u16) {
        if queue == EVENTS {
            *self.events.lock().unwrap() = None;
        }
    }
}

/// Chains of a queue. None of them is a header, data and a status.
type Chains = Batch<ResponseLast<1, 1>>;

/// Outcome of a take.
fn took(batch: &Chains) -> Took {
    if batch.is_empty() { Took::Nothing } else { Took::Work(Work::REQUEST.times(batch.len())) }
}

/// Session of the message queue.
struct EchoSession {
    queue: DeviceQueue,
    batch: Box<Chains>,
}

impl Session for EchoSession {
    fn adopt(&mut self, _: SessionId) {}

    fn take(&mut self, _: &mut Graph, _: Work) -> Took {
        let Self { queue, batch } = self;
        let waiting = queue.waiting();
        queue.take(batch, waiting);
        for index in 0..batch.len() {
            let Some(Chain { head, readable, writable, .. }) = batch.chain(index) else { continue };
            let copied = match (readable, writable) {
                ([from, ..], [to, ..]) => from.copy_to(to),
                _ => 0,
            };
            queue.complete(head, u32::try_from(copied).unwrap());
        }
        took(batch)
    }

    fn finish(&mut self, _: &[Completion]) {}

    fn publish(&mut self) -> Published {
        self.queue.publish(0)
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

impl QueueSession for EchoSession {
    fn queue(&mut self) -> &mut DeviceQueue {
        &mut self.queue
    }
}

/// Session of the event queue. The guest's buffers stay in the available ring until there is an event.
struct EventSession {
    queue: DeviceQueue,
    batch: Box<Chains>,
    pending: VecDeque<Vec<u8>>,
}

impl EventSession {
    fn new(queue: DeviceQueue, batch: Box<Chains>) -> Self {
        Self { queue, batch, pending: VecDeque::with_capacity(PENDING_MAX) }
    }

    fn push(&mut self, event: Vec<u8>) -> bool {
        let fits = self.pending.len() < PENDING_MAX;
        if fits {
            self.pending.push_back(event);
        }
        fits
    }
}

impl Session for EventSession {
    fn adopt(&mut self, _: SessionId) {}

    fn take(&mut self, _: &mut Graph, _: Work) -> Took {
        if self.pending.is_empty() {
            return Took::Nothing;
        }
        let Self { queue, batch, pending } = self;
        let waiting = queue.waiting();
        queue.take(batch, waiting.min(pending.len()));
        for index in 0..batch.len() {
            let Some(Chain { head, writable, .. }) = batch.chain(index) else { continue };
            let event = pending.pop_front().unwrap_or_default();
            let written = writable.first().map_or(0, |span| span.write(&event));
            queue.complete(head, u32::try_from(written).unwrap());
        }
        took(batch)
    }

    fn finish(&mut self, _: &[Completion]) {}

    fn publish(&mut self) -> Published {
        self.queue.publish(0)
    }

    /// Wants kicks only while an event waits for a buffer.
    fn arm(&mut self) -> Armed {
        if self.pending.is_empty() { Armed::Quiet } else { self.queue.arm() }
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
