//! A completion queue with the submission queues that feed it, on one core.
//!
//! Path: guest queue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.

mod changes;
mod setup;
mod slots;

pub use changes::{Removal, RemovedQueue};
pub use setup::{CompletionQueueSetup, Rules, Service, SessionMemory, SessionSetup, SubmissionQueueSetup};

use crate::data::BitBucket;
use crate::namespaces::Namespaces;
use crate::queues::{Coalescing, CompletionQueue, Doorbells, QueueMemoryError, SubmissionQueue};
use crate::relay::Relay;
use luge_block::Completion;
use luge_core::{Armed, Call, Kick, Published, Session, SessionId, Took, Work};
use luge_memory::GuestMemory;
use luge_volume::Graph;
use slots::Slots;
use std::sync::Arc;
use thiserror::Error;

/// Reason why there is no session for a completion queue.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The memory of the queue.
    #[error(transparent)]
    Memory(#[from] QueueMemoryError),
    /// The identifier of the queue has no doorbell.
    #[error("a completion queue has an identifier beyond those of the doorbells")]
    Doorbell,
}

/// A completion queue with the submission queues that feed it, on one core.
pub struct QueueSession {
    session: SessionId,
    service: Service,
    rules: Rules,
    completion: CompletionQueue,
    /// Submission queues, by the indices that slots have. Does not grow.
    queues: Vec<Option<SubmissionQueue>>,
    slots: Slots,
    memory: Arc<GuestMemory>,
    doorbells: Doorbells,
    namespaces: Arc<Namespaces>,
    bit_bucket: BitBucket,
    relay: Arc<Relay>,
    interrupt: Option<Call>,
    coalescing: Coalescing,
    kick: Option<Kick>,
    /// Whether no commands are taken.
    is_held: bool,
}

impl QueueSession {
    /// Makes a session without submission queues.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn new(setup: SessionSetup) -> Result<Self, SessionError> {
        let SessionSetup { completion_queue, service, rules, memory, doorbells, shadow, .. } = setup;
        let CompletionQueueSetup { layout, interrupt, coalescing } = completion_queue;
        let found = CompletionQueue::find(&layout, rules.page_bytes, &memory)?;
        let doorbells = Doorbells::new(doorbells, shadow);
        let head = doorbells.head(layout.id).ok_or(SessionError::Doorbell)?;
        // One entry less: a queue with completions in all of them would look empty.
        let slots = u16::try_from(layout.entries.saturating_sub(1)).unwrap_or(u16::MAX);
        Ok(Self {
            session: SessionId(0),
            service,
            rules,
            completion: CompletionQueue::new(layout, found, head),
            queues: Vec::with_capacity(rules.submission_queues_max.into()),
            slots: Slots::new(slots),
            memory,
            doorbells,
            namespaces: setup.namespaces,
            bit_bucket: setup.bit_bucket,
            relay: setup.relay,
            interrupt,
            coalescing,
            kick: setup.kick,
            is_held: false,
        })
    }
}

impl Session for QueueSession {
    fn adopt(&mut self, id: SessionId) {
        self.session = id;
    }

    fn take(&mut self, _graph: &mut Graph, _allowance: Work) -> Took {
        Took::Nothing
    }

    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        Armed::Quiet
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        self.kick.as_ref()
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn in_flight(&self) -> usize {
        self.slots.in_flight() as usize
    }

    fn quiesce(&mut self) {
        self.is_held = true;
    }
}
