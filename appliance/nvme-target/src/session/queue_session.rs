//! The parts of a session, and how it is made.

use super::command_memory::CommandMemory;
use super::interrupts::Interrupts;
use super::leaving_memory::LeavingMemory;
use super::long::Long;
use super::looks::Looks;
use super::offered_doorbells::OfferedDoorbells;
use super::setup::{CompletionQueueSetup, Rules, Service, SessionSetup};
use super::slots::Slots;
use super::specials::Specials;
use crate::data::BitBucket;
use crate::namespaces::Namespaces;
use crate::queues::{CompletionQueue, Doorbells, QueueMemoryError, SubmissionQueue};
use crate::relay::Relay;
use luge_core::{Kick, SessionId, Ticks};
use luge_memory::{GuestMemory, Span};
use std::sync::Arc;
use thiserror::Error;

/// Spans of a command that is not long: those of 2 MiB in memory pages of which no two lie side by side, and some more
/// for pages that lie across regions. Enough for a batch of short commands, too.
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
    pub(super) session: SessionId,
    pub(super) service: Service,
    pub(super) rules: Rules,
    pub(super) completion: CompletionQueue,
    pub(super) interrupts: Interrupts,
    /// Submission queues, by the indices that slots have. Does not grow.
    pub(super) queues: Vec<Option<SubmissionQueue>>,
    /// Index of the queue whose turn is next.
    pub(super) next: u16,
    pub(super) slots: Slots,
    pub(super) specials: Specials,
    pub(super) long: Option<Long>,
    /// Spans of the commands that are being read.
    pub(super) spans: Box<[Span]>,
    pub(super) memory: Arc<GuestMemory>,
    /// Memory of each command in flight, once guest memory has changed.
    pub(super) command_memory: Option<Box<CommandMemory>>,
    /// Memory before, which commands in flight use.
    pub(super) leaving_memory: Option<LeavingMemory>,
    pub(super) doorbells: Doorbells,
    pub(super) offered_doorbells: Option<OfferedDoorbells>,
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) bit_bucket: BitBucket,
    pub(super) relay: Arc<Relay>,
    pub(super) kick: Option<Kick>,
    /// Whether no commands are taken.
    pub(super) is_held: bool,
    /// Whether the controller's thread waits for commands to end.
    pub(super) is_awaited: bool,
    /// Time of the last turn.
    pub(super) now: Ticks,
    pub(super) looks: Looks,
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
            memory,
            command_memory: None,
            leaving_memory: None,
            doorbells,
            offered_doorbells: None,
            namespaces: setup.namespaces,
            bit_bucket: setup.bit_bucket,
            relay: setup.relay,
            kick: setup.kick,
            is_held: false,
            is_awaited: false,
            now: Ticks::PAST,
            looks: Looks::new(),
        })
    }

    /// The submission queue with an index.
    #[inline]
    pub(super) fn queue(&mut self, index: u16) -> Option<&mut SubmissionQueue> {
        self.queues.get_mut(usize::from(index))?.as_mut()
    }
}

impl Drop for QueueSession {
    /// Leaves the memory mapped if a volume still has requests: their spans are in use.
    fn drop(&mut self) {
        if self.slots.in_flight() > 0 {
            std::mem::forget(self.memory.clone());
            std::mem::forget(self.leaving_memory.take());
            std::mem::forget(self.bit_bucket.clone());
        }
    }
}
