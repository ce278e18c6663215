//! A virtio queue, device side: its ring, its notifiers and its counters. Every session has one.
//!
//! Path: guest ring -> virtqueue -> **session** -> volume -> channel -> SSD.

#![expect(unsafe_code, reason = "guest memory is kept for spans, and replaced under a ring")]

use crate::coalescing::{Coalescing, Pace};
use crate::counters::QueueCounters;
use crate::state::RunningState;
use luge_core::{Armed, Call, Kick, Published};
use luge_memory::{GuestMemory, Span};
use luge_spec::virtio::Features;
use luge_virtqueue::{
    Batch, ChainLayout, Head, InflightError, InflightRegion, LongChain, Notifications, RingError, RingLayout,
    SplitQueue,
};
use luge_volume::Ticks;
use std::sync::Arc;
use thiserror::Error;

/// Features of rings and of vhost-user, which every device offers.
pub const RING_FEATURES: Features = Features(
    Features::VERSION_1.0
        | Features::RING_EVENT_IDX.0
        | Features::RING_INDIRECT.0
        | Features::VHOST_PROTOCOL_FEATURES.0,
);

/// Eventfds between a queue and its guest.
#[derive(Default)]
pub struct Notifiers {
    /// Kick of the guest; without it the ring is polled.
    pub kick: Option<Kick>,
    /// Call to the guest; without it the guest polls.
    pub call: Option<Call>,
    /// Signal to the front end that the ring is broken.
    pub error: Option<Call>,
}

impl Notifiers {
    /// Whether a signal has not reached its eventfd.
    fn owe(&self) -> bool {
        [&self.call, &self.error].into_iter().flatten().any(Call::is_owed)
    }
}

/// Properties of a new queue.
pub struct QueueSetup {
    /// Place of the ring in guest memory.
    pub layout: RingLayout,
    /// Available index of the next chain, unless the ring is resumed.
    pub base: u16,
    /// State of a ring that another process has served.
    pub resumed: Option<RunningState>,
    /// Features that the driver has negotiated.
    pub features: Features,
    /// Memory of the guest.
    pub memory: Arc<GuestMemory>,
    /// Memory in which requests in flight are noted, for the process after this one.
    pub inflight: Option<InflightRegion>,
    /// Counters of the queue.
    pub counters: Arc<QueueCounters>,
}

/// Reason why a queue cannot be made.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The ring is not in guest memory as it must be.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The memory for requests in flight cannot be one of this ring.
    #[error(transparent)]
    Inflight(#[from] InflightError),
    /// The state of a ring that is resumed is not that of the ring that the front end has set up.
    #[error("the state of the ring does not fit its set-up")]
    State,
    /// The device has no such queue on that core.
    #[error("queue {0} cannot be served on that core")]
    Unserved(u16),
}

/// A virtio queue, device side.
pub struct DeviceQueue {
    ring: SplitQueue,
    is_taking: bool,
    notifiers: Notifiers,
    pace: Pace,
    counters: Arc<QueueCounters>,
}

impl DeviceQueue {
    /// Makes a queue without notifiers, until [`Self::connect`]. Chains that an earlier process had in flight are
    /// taken first.
    ///
    /// # Errors
    /// [`QueueError`].
    ///
    /// # Safety
    /// The caller uses the spans of a chain only until it gives the chain back or abandons it.
    pub unsafe fn new(setup: QueueSetup) -> Result<Self, QueueError> {
        let QueueSetup { layout, base, resumed, features, memory, inflight, counters } = setup;
        let notifications = if features.contains(Features::RING_EVENT_IDX) {
            Notifications::EventIndex
        } else {
            Notifications::Flags
        };
        let mut ring = match &resumed {
            // SAFETY: the caller's promise.
            None => unsafe { SplitQueue::new(&layout, notifications, base, memory) }?,
            Some(RunningState { ring, .. }) => {
                let fits = ring.layout()? == layout && ring.notifications == notifications;
                if !fits || (ring.is_tracked && inflight.is_none()) {
                    return Err(QueueError::State);
                }
                // SAFETY: as above.
                unsafe { SplitQueue::resume(ring, memory) }?
            }
        };
        if let Some(region) = inflight {
            ring.track(region)?;
        }
        let is_broken = resumed.is_some_and(|running| running.is_broken);
        if is_broken {
            counters.set_broken();
        }
        let (notifiers, pace) = Default::default();
        Ok(Self { ring, is_taking: !is_broken, notifiers, pace, counters })
    }

    /// Installs the notifiers; returns the previous ones. Interrupts the guest once: what was used while
    /// there was no call may still be unseen.
    pub fn connect(&mut self, mut notifiers: Notifiers) -> Notifiers {
        notifiers.call.iter_mut().for_each(Call::signal);
        let mut before = std::mem::replace(&mut self.notifiers, notifiers);
        if self.pace.release() {
            before.call.iter_mut().for_each(Call::signal);
        }
        before
    }

    /// Delays interrupts as an endpoint has it.
    pub fn coalesce(&mut self, setting: Coalescing) {
        self.pace = Pace::new(setting);
    }

    /// Installs another call; returns the previous one. Interrupts the guest once, as [`Self::connect`].
    pub fn replace_call(&mut self, mut call: Option<Call>) -> Option<Call> {
        call.iter_mut().for_each(Call::signal);
        std::mem::replace(&mut self.notifiers.call, call)
    }

    /// Uses another table of guest memory from now on; returns the one before.
    ///
    /// # Safety
    /// `memory` has all regions of the one before.
    #[must_use]
    pub unsafe fn replace_memory(&mut self, memory: Arc<GuestMemory>) -> Arc<GuestMemory> {
        // SAFETY: the caller's promise.
        unsafe { self.ring.replace_memory(memory) }
    }

    /// Available index of the next chain, from which the ring can continue after a stop.
    #[must_use]
    pub fn base(&self) -> u16 {
        self.ring.next_available()
    }

    /// State of the ring, for another process that serves it on; none while chains are taken and not shown as
    /// used.
    #[must_use]
    pub fn state(&self) -> Option<RunningState> {
        Some(RunningState { ring: self.ring.state()?, is_broken: self.counters.broken() })
    }

    /// Number of chains that wait to be taken. None where the queue has been quiesced or the ring is broken,
    /// except chains that an earlier process had in flight.
    #[inline]
    pub fn waiting(&mut self) -> usize {
        if !self.is_taking && self.ring.resubmits() == 0 {
            return 0;
        }
        self.ring.waiting().unwrap_or_else(|_| {
            self.break_off();
            0
        })
    }

    /// Takes `count` chains of those that [`Self::waiting`] has counted, or [`luge_virtqueue::BATCH`] if that is less.
    #[inline]
    pub fn take<L: ChainLayout>(&mut self, batch: &mut Batch<L>, count: usize) {
        if self.ring.take_waiting(batch, count).is_err() {
            self.break_off();
        }
    }

    /// Walks chains again that were taken and not given back, in place of what was in `batch`.
    pub fn take_again<L: ChainLayout>(&mut self, batch: &mut Batch<L>, heads: impl Iterator<Item = Head>) {
        self.ring.take_again(batch, heads);
    }

    /// Refuses the long chain at the end of a batch (see [`SplitQueue::refuse_long`]).
    pub fn refuse_long<L: ChainLayout>(&self, batch: &mut Batch<L>) {
        self.ring.refuse_long(batch);
    }

    /// Continues the walk of the long chain at the end of a batch (see [`SplitQueue::walk_long`]).
    pub fn walk_long<L: ChainLayout>(
        &mut self,
        batch: &mut Batch<L>,
        spans: &mut [Span],
    ) -> Option<LongChain> {
        self.ring.walk_long(batch, spans)
    }

    /// Chains that an earlier process had in flight and that are still to be taken.
    #[inline]
    #[must_use]
    pub fn resubmits(&self) -> usize {
        self.ring.resubmits()
    }

    /// Abandons a chain that was taken, of a ring that is broken: it is never given back.
    pub fn abandon(&mut self) {
        self.ring.abandon();
    }

    /// Adds a used element: a chain, and the number of bytes written to it.
    pub fn complete(&mut self, head: Head, written: u32) {
        self.ring.complete(head, written);
    }

    /// Adds used elements.
    #[inline]
    pub fn complete_all(&mut self, ended: impl Iterator<Item = (Head, u32)>) {
        self.ring.complete_all(ended);
    }

    /// Counts a chain at fault.
    pub fn count_fault(&self) {
        self.counters.count_fault();
    }

    /// Stops taking from a ring that its driver has broken, and signals the error to the front end.
    #[cold]
    pub fn break_off(&mut self) {
        self.is_taking = false;
        self.counters.set_broken();
        if let Some(error) = &mut self.notifiers.error {
            error.signal();
        }
    }

    /// Shows the guest the used elements, and interrupts it where it asked for that. `in_flight` is the
    /// number of requests that are not answered yet.
    ///
    /// Always inlined: sessions of every kind call it in each turn that did something.
    #[inline(always)]
    pub fn publish(&mut self, in_flight: usize) -> Published {
        let mut interrupt = self.ring.publish();
        if self.pace.is_on() {
            interrupt = self.pace.is_due(interrupt, self.ring.next_available(), Ticks::now());
        }
        if let Some(call) = &mut self.notifiers.call {
            if interrupt { call.signal() } else { call.retry() }
        }
        self.notifiers.error.iter_mut().for_each(Call::retry);
        self.counters.set_in_flight(in_flight);
        if self.notifiers.owe() || self.pace.is_held() { Published::Owing } else { Published::All }
    }

    /// Asks the guest to kick for the chains that it adds from now on.
    pub fn arm(&mut self) -> Armed {
        if self.notifiers.owe() || self.pace.is_held() || (self.is_taking && self.ring.arm()) {
            Armed::Waiting
        } else {
            Armed::Quiet
        }
    }

    /// Tells the guest that kicks are not needed.
    pub fn disarm(&mut self) {
        self.ring.disarm();
    }

    /// Kick of the guest; none for one whose ring must be polled.
    #[must_use]
    pub fn kick(&self) -> Option<&Kick> {
        self.notifiers.kick.as_ref()
    }

    /// Whether the ring must be polled: it runs, and the guest will not kick.
    #[must_use]
    pub fn needs_polling(&self) -> bool {
        self.is_taking && self.notifiers.kick.is_none()
    }

    /// Stops taking from the ring.
    pub fn quiesce(&mut self) {
        self.is_taking = false;
    }
}
