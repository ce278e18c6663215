//! A completion queue with the submission queues that feed it, on one core.
//!
//! Path: guest queue -> **session** -> volume -> channel -> NVMe queue pair -> SSD.
//!
//! ```text
//!  (1) a command in its queue --the volume, or the controller's thread, takes it--> (2) a slot
//!  (1) a command in its queue --answered at once-->                                 (4)
//!  (1) a command in its queue --no room-->                                          (1), read again in the next turn
//!  (2) a slot                 --its request has ended, or it was answered-->        (3) free
//!  (3) free                                                                         (4) a completion is posted
//! ```
//!
//! Invariants
//! - A command is read from a copy of its entry, or from words that are loaded once. Nothing of a command is kept
//!   before (2).
//! - There are at least as many free completion entries as busy slots.
//! - A command reaches (4) once.

mod attempt;
mod changes;
mod complete;
mod fused;
mod interrupts;
mod leaving;
mod long;
mod ranges;
mod run;
mod setup;
mod single;
mod slots;
mod special;
mod take;
mod turn;

pub use changes::{Removal, RemovedQueue};
pub use setup::{CompletionQueueSetup, Rules, Service, SessionMemory, SessionSetup, SubmissionQueueSetup};

use crate::commands::ShortTransfer;
use crate::data::BitBucket;
use crate::namespaces::Namespaces;
use crate::queues::{CompletionQueue, Doorbells, QueueMemoryError, SubmissionQueue};
use crate::relay::Relay;
use interrupts::Interrupts;
use long::Long;
use luge_core::{Kick, SessionId, Ticks};
use luge_memory::{GuestMemory, Span};
use slots::Slots;
use special::Specials;
use std::sync::Arc;
use thiserror::Error;
use turn::BATCH;

/// Spans of a command that is not long: those of 2 MiB in memory pages of which no two lie side by side, and some more
/// for pages that lie across regions.
const SPANS: usize = 576;

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
    interrupts: Interrupts,
    /// Submission queues, by the indices that slots have. Does not grow.
    queues: Vec<Option<SubmissionQueue>>,
    /// Index of the queue whose turn is next.
    next: u16,
    slots: Slots,
    specials: Specials,
    long: Option<Long>,
    /// Spans of the command that is being read.
    spans: Box<[Span]>,
    /// Short transfers that are being read.
    transfers: Box<[ShortTransfer]>,
    memory: Arc<GuestMemory>,
    doorbells: Doorbells,
    namespaces: Arc<Namespaces>,
    bit_bucket: BitBucket,
    relay: Arc<Relay>,
    kick: Option<Kick>,
    /// Whether no commands are taken.
    is_held: bool,
    /// Whether the controller's thread waits for commands to end.
    is_awaited: bool,
    /// Time of the last turn.
    now: Ticks,
    /// Time of the last turn in which a command was taken.
    active: Ticks,
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
            interrupts: Interrupts::new(interrupt, coalescing),
            queues: Vec::with_capacity(rules.submission_queues_max.into()),
            next: 0,
            slots: Slots::new(slots),
            specials: Specials::default(),
            long: None,
            spans: vec![Span::EMPTY; SPANS].into_boxed_slice(),
            transfers: vec![ShortTransfer::NONE; BATCH].into_boxed_slice(),
            memory,
            doorbells,
            namespaces: setup.namespaces,
            bit_bucket: setup.bit_bucket,
            relay: setup.relay,
            kick: setup.kick,
            is_held: false,
            is_awaited: false,
            now: Ticks::PAST,
            active: Ticks::now(),
        })
    }

    /// The submission queue with an index.
    #[inline]
    fn queue(&mut self, index: u16) -> Option<&mut SubmissionQueue> {
        self.queues.get_mut(usize::from(index))?.as_mut()
    }
}

impl Drop for QueueSession {
    /// Leaves the memory mapped if a volume still has requests: their spans are in use.
    fn drop(&mut self) {
        if self.slots.in_flight() > 0 {
            std::mem::forget(self.memory.clone());
            std::mem::forget(self.bit_bucket.clone());
        }
    }
}
