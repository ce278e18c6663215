//! Create and Delete I/O Queue. Base 2.0, clauses 5.4 to 5.7.

use super::outcome::{INVALID_FIELD, Outcome, Reply, refuse};
use crate::commands::CommandStatus;
use crate::controller::{CompletionQueueState, Controller, Deleted, SubmissionQueueState};
use crate::ids::QueueId;
use crate::relay::Relayed;
use luge_spec::nvme::{StatusCode, SubmissionEntry};

/// Bytes of a submission entry, as a power of two.
const SUBMISSION_ENTRY_SIZE: u8 = 6;

/// Bytes of a completion entry, as a power of two.
const COMPLETION_ENTRY_SIZE: u8 = 4;

/// PC: the queue is contiguous.
const CONTIGUOUS: u32 = 1 << 0;

/// IEN: interrupts are enabled.
const INTERRUPTS: u32 = 1 << 1;

/// Kind of I/O queue.
#[derive(Clone, Copy)]
enum Kind {
    Submission,
    Completion,
}

/// CDW10 of the commands that create queues, checked.
struct NewQueue {
    id: QueueId,
    entries: u32,
}

impl Controller {
    /// Create I/O Completion Queue.
    pub(super) fn create_io_completion_queue(&mut self, entry: &SubmissionEntry) -> Reply {
        let NewQueue { id, entries } = self.new_queue(entry, Kind::Completion)?;
        let [_, cdw11, ..] = entry.cdw10;
        let vector = super::dispatch::high(cdw11);
        let interrupts = cdw11 & INTERRUPTS != 0;
        if interrupts && vector >= self.vectors() {
            return refuse(StatusCode::INVALID_INTERRUPT_VECTOR);
        }
        let is_contiguous = cdw11 & CONTIGUOUS != 0;
        let vector = interrupts.then_some(vector);
        let queue = CompletionQueueState { base: self.base(entry)?, entries, is_contiguous, vector };
        self.create_completion_queue(id, queue)?;
        Ok(Outcome::DONE)
    }

    /// Create I/O Submission Queue.
    pub(super) fn create_io_submission_queue(&mut self, entry: &SubmissionEntry) -> Reply {
        let NewQueue { id, entries } = self.new_queue(entry, Kind::Submission)?;
        let [_, cdw11, ..] = entry.cdw10;
        let completion_queue = super::dispatch::high(cdw11);
        if !self.is_io_queue_id(completion_queue, Kind::Completion) {
            return refuse(StatusCode::INVALID_QUEUE_ID);
        }
        if !self.state.completion_queues.contains_key(&completion_queue) {
            return refuse(StatusCode::INVALID_COMPLETION_QUEUE);
        }
        let is_contiguous = cdw11 & CONTIGUOUS != 0;
        let queue =
            SubmissionQueueState { base: self.base(entry)?, entries, is_contiguous, completion_queue };
        self.create_submission_queue(id, queue)?;
        Ok(Outcome::DONE)
    }

    /// Delete I/O Submission Queue: completed when all commands of the queue are.
    pub(super) fn delete_io_submission_queue(&mut self, command: &Relayed) -> Reply {
        let [cdw10, ..] = command.entry.cdw10;
        let id = QueueId(super::dispatch::low(cdw10));
        Ok(match self.delete_submission_queue(id, command)? {
            Deleted::Done => Outcome::DONE,
            Deleted::Later => Outcome::Later,
        })
    }

    /// Delete I/O Completion Queue.
    pub(super) fn delete_io_completion_queue(&mut self, entry: &SubmissionEntry) -> Reply {
        let [cdw10, ..] = entry.cdw10;
        self.delete_completion_queue(QueueId(super::dispatch::low(cdw10)))?;
        Ok(Outcome::DONE)
    }

    /// Checks identifier and size of a new queue.
    fn new_queue(&self, entry: &SubmissionEntry, kind: Kind) -> Result<NewQueue, CommandStatus> {
        let [cdw10, ..] = entry.cdw10;
        let (id, entries_z) = (super::dispatch::low(cdw10), super::dispatch::high(cdw10));
        let configuration = self.state.configuration();
        let (is_in_use, has_size) = match kind {
            Kind::Submission => (
                self.state.submission_queues.contains_key(&id),
                configuration.submission_entry_size() == SUBMISSION_ENTRY_SIZE,
            ),
            Kind::Completion => (
                self.state.completion_queues.contains_key(&id),
                configuration.completion_entry_size() == COMPLETION_ENTRY_SIZE,
            ),
        };
        if !self.is_io_queue_id(id, kind) || is_in_use {
            return refuse(StatusCode::INVALID_QUEUE_ID);
        }
        let entries = u32::from(entries_z).saturating_add(1);
        if !(2..=self.parts.config.queue_entries).contains(&entries) || !has_size {
            return refuse(StatusCode::INVALID_QUEUE_SIZE);
        }
        Ok(NewQueue { id: QueueId(id), entries })
    }

    /// Whether an I/O queue may have an identifier: one of as many as the host has asked for.
    fn is_io_queue_id(&self, id: u16, kind: Kind) -> bool {
        let most = match (self.state.features.queues_z, kind) {
            (Some([submission_z, _]), Kind::Submission) => submission_z.saturating_add(1),
            (Some([_, completion_z]), Kind::Completion) => completion_z.saturating_add(1),
            (None, _) => self.parts.config.io_queues,
        };
        (1..=most).contains(&id)
    }

    /// PRP1: the queue, or the list of its pages. Both start with a memory page.
    fn base(&self, entry: &SubmissionEntry) -> Result<u64, CommandStatus> {
        let page_bytes = self.state.configuration().page_bytes();
        if entry.prp1 == 0 {
            return Err(INVALID_FIELD);
        }
        if !entry.prp1.is_multiple_of(page_bytes.into()) {
            return refuse(StatusCode::PRP_OFFSET_INVALID);
        }
        Ok(entry.prp1)
    }
}
