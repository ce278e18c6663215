//! Queues of a controller: created and deleted on cores.

use super::device::{Controller, Deletion};
use super::placement::Placement;
use super::running::{MemoryUse, RunningQueue};
use super::state::{CompletionQueueState, SubmissionQueueState};
use crate::commands::CommandStatus;
use crate::ids::{CommandId, QueueId};
use crate::queues::{Coalescing, DoorbellName, QueueMemoryError};
use crate::relay::Relayed;
use crate::session::{
    CompletionQueueSetup, QueueSession, Removal, Service, SessionError, SessionSetup, SubmissionQueueSetup,
};
use luge_core::{Assignment, Kick, Locality, ServingCore};
use luge_spec::nvme::StatusCode;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;

/// File descriptors of a completion queue: its kick and a copy of it, an eventfd and an io_uring for its interrupt.
const DESCRIPTORS: u64 = 4;

/// Outcome of a deletion of a submission queue.
pub(crate) enum Deleted {
    /// The queue is gone.
    Done,
    /// Commands of it are in flight: the command is completed later.
    Later,
}

impl Controller {
    /// Creates a completion queue, with a session on a core.
    ///
    /// # Errors
    /// The status of the command that asked for it; nothing is kept then.
    pub(crate) fn create_completion_queue(
        &mut self,
        id: QueueId,
        queue: CompletionQueueState,
    ) -> Result<(), CommandStatus> {
        let descriptors = self.parts.descriptors.promise(DESCRIPTORS).map_err(|error| self.failed(&error))?;
        let assignment = self.choose_core().ok_or(CommandStatus::failed(StatusCode::INTERNAL_ERROR))?;
        let core = assignment.core().clone();
        self.parts.doorbells.store(self.parts.doorbells.head_offset(id), 0);
        let (session, kick) = self.session(id, &queue, &assignment)?;
        let added = core.add_session(Box::new(session), &self.parts.tenant);
        let session = added.map_err(|(error, session)| {
            drop(session);
            self.failed(&error)
        })?;
        let memory = self.memory.clone();
        let running = RunningQueue {
            core,
            session,
            _assignment: assignment,
            kick,
            _descriptors: descriptors,
            memory,
            memory_use: MemoryUse::Settled,
            has_notes: false,
        };
        if !self.may_use_memory() {
            running.hold();
        }
        self.running.insert(id, running);
        self.state.completion_queues.insert(id.0, queue);
        self.report();
        Ok(())
    }

    /// A session of a completion queue, and the eventfd that wakes its core.
    fn session(
        &mut self,
        id: QueueId,
        queue: &CompletionQueueState,
        assignment: &Assignment,
    ) -> Result<(QueueSession, OwnedFd), CommandStatus> {
        let ids_max = self.parts.subsystem.namespaces_max();
        let namespaces = self.mounts.table(assignment.core(), &self.namespaces, ids_max);
        let is_admin = id == QueueId::ADMIN;
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let kick = kick.map_err(|error| self.failed(&error))?;
        let theirs = kick.try_clone().map_err(|error| self.failed(&error))?;
        let theirs = Kick::new(theirs).map_err(|error| self.failed(&error))?;
        let setup = SessionSetup {
            completion_queue: CompletionQueueSetup {
                layout: queue.layout(id),
                interrupt: self.interrupt(queue.vector),
                coalescing: self.coalescing(queue.vector),
            },
            service: if is_admin { Service::Admin } else { Service::Io },
            rules: self.state.rules(&self.parts.config),
            memory: self.memory.clone(),
            doorbells: self.parts.doorbells.clone(),
            shadow: self.shadow.clone().filter(|_| !is_admin),
            namespaces,
            bit_bucket: self.parts.subsystem.bit_bucket().clone(),
            relay: self.parts.relay.clone(),
            kick: Some(theirs),
        };
        let mut session = QueueSession::new(setup).map_err(|error| match error {
            SessionError::Memory(error) => memory_status(error),
            SessionError::Doorbell => CommandStatus::refused(StatusCode::INVALID_QUEUE_ID),
        })?;
        if !self.parts.config.adaptive_interrupts {
            session.interrupt_at_once();
        }
        Ok((session, kick))
    }

    /// Notes that the process cannot do something for its guest.
    fn failed(&self, error: &dyn std::fmt::Display) -> CommandStatus {
        tracing::warn!("{}: a queue: {error}", self.parts.name);
        CommandStatus::failed(StatusCode::INTERNAL_ERROR)
    }

    /// Chooses a core for a queue; none if no core can serve all namespaces.
    fn choose_core(&mut self) -> Option<Assignment> {
        if let Placement::Background(serving) = &self.placement {
            return Assignment::choose(std::slice::from_ref(serving), Locality::default);
        }
        let serving = self.parts.subsystem.serving_cores();
        let known = std::mem::take(&mut self.cores);
        // Those that serve queues already have their numbers.
        let kept = |core: luge_core::CoreHandle| {
            let known = known.iter().find(|known| known.core().id() == core.id());
            known.cloned().unwrap_or_else(|| ServingCore::new(core))
        };
        self.cores = serving.into_iter().map(kept).collect();
        Assignment::choose(&self.cores, || self.locality())
    }

    fn locality(&self) -> Locality {
        let mut devices = luge_memory::NodeAmounts::default();
        self.namespaces.values().for_each(|served| devices.add_all(&served.volume.nodes()));
        Locality { devices, memory: self.memory.nodes() }
    }

    /// Creates a submission queue of a completion queue that runs.
    ///
    /// # Errors
    /// The status of the command that asked for it; nothing is kept then.
    pub(crate) fn create_submission_queue(
        &mut self,
        id: QueueId,
        queue: SubmissionQueueState,
    ) -> Result<(), CommandStatus> {
        let invalid = CommandStatus::refused(StatusCode::INVALID_COMPLETION_QUEUE);
        let running = self.running.get(&QueueId(queue.completion_queue)).ok_or(invalid)?;
        let rules = self.state.rules(&self.parts.config);
        let setup = SubmissionQueueSetup::find(queue.layout(id), &rules, &self.memory);
        let setup = setup.map_err(memory_status)?;
        self.parts.doorbells.store(self.parts.doorbells.tail_offset(id), 0);
        let added = running.call(move |session| session.add_submission_queue(setup));
        if !matches!(added, Some(Ok(()))) {
            return Err(CommandStatus::refused(StatusCode::INVALID_QUEUE_ID));
        }
        self.state.submission_queues.insert(id.0, queue);
        self.report();
        Ok(())
    }

    /// Deletes a submission queue, for a command that may be completed later.
    ///
    /// # Errors
    /// The status of the command.
    pub(crate) fn delete_submission_queue(
        &mut self,
        id: QueueId,
        command: &Relayed,
    ) -> Result<Deleted, CommandStatus> {
        let unknown = CommandStatus::refused(StatusCode::INVALID_QUEUE_ID);
        let is_leaving = self.deletions.iter().any(|deletion| deletion.queue == id);
        let queue = self.state.submission_queues.get(&id.0).filter(|_| id != QueueId::ADMIN && !is_leaving);
        let completion_queue = QueueId(queue.ok_or(unknown)?.completion_queue);
        if self.remove_submission_queue(id, completion_queue) {
            return Ok(Deleted::Done);
        }
        self.deletions.push(Deletion { queue: id, completion_queue, command: *command });
        Ok(Deleted::Later)
    }

    /// Removes a submission queue, if nothing of it is in flight; returns whether it is gone.
    fn remove_submission_queue(&mut self, id: QueueId, completion_queue: QueueId) -> bool {
        let Some(running) = self.running.get(&completion_queue) else { return true };
        let removal = running.call(move |session| session.remove_submission_queue(id));
        if matches!(removal, Some(Removal::Draining)) {
            return false;
        }
        self.state.submission_queues.remove(&id.0);
        self.report();
        true
    }

    /// Completes deletions of submission queues that have drained.
    pub(super) fn finish_deletions(&mut self) {
        for deletion in std::mem::take(&mut self.deletions) {
            if self.remove_submission_queue(deletion.queue, deletion.completion_queue) {
                self.complete(&deletion.command, CommandStatus::SUCCESS, 0);
            } else {
                self.deletions.push(deletion);
            }
        }
    }

    /// Deletes a completion queue.
    ///
    /// # Errors
    /// The status of the command.
    pub(crate) fn delete_completion_queue(&mut self, id: QueueId) -> Result<(), CommandStatus> {
        if id == QueueId::ADMIN || !self.state.completion_queues.contains_key(&id.0) {
            return Err(CommandStatus::refused(StatusCode::INVALID_QUEUE_ID));
        }
        if self.state.submission_queues.values().any(|queue| queue.completion_queue == id.0) {
            return Err(CommandStatus::refused(StatusCode::INVALID_QUEUE_DELETION));
        }
        self.state.completion_queues.remove(&id.0);
        // It has no submission queues, and so nothing in flight.
        drop(self.running.remove(&id).map(RunningQueue::remove));
        self.report();
        Ok(())
    }

    /// Aborts a command; returns whether it was completed as aborted.
    pub(crate) fn abort(&mut self, queue: QueueId, command: CommandId) -> bool {
        let waiting = self
            .event_requests
            .iter()
            .position(|request| request.queue == queue && request.entry.command_id == command.0);
        if let Some(request) = waiting.and_then(|at| self.event_requests.remove(at)) {
            self.complete(&request, CommandStatus::failed(StatusCode::ABORT_REQUESTED), 0);
            return true;
        }
        let Some(submission) = self.state.submission_queues.get(&queue.0) else { return false };
        let Some(running) = self.running.get(&QueueId(submission.completion_queue)) else { return false };
        running.call(move |session| session.abort(queue, command)).unwrap_or(false)
    }

    /// Number and time for which interrupts of a vector may wait.
    fn coalescing(&self, vector: Option<u16>) -> Coalescing {
        let features = &self.state.features;
        let is_off = |vector| features.without_coalescing.get(&vector).copied().unwrap_or(false);
        match vector {
            Some(vector) if vector != 0 && !is_off(vector) => Coalescing::from_feature(features.coalescing),
            _ => Coalescing::default(),
        }
    }

    /// Lets interrupts wait as the features say now.
    pub(crate) fn apply_coalescing(&self) {
        for (id, running) in &self.running {
            let vector = self.state.completion_queues.get(&id.0).and_then(|queue| queue.vector);
            let coalescing = self.coalescing(vector);
            running.call(move |session| session.set_coalescing(coalescing));
        }
    }

    /// Arbitrates as the features say now.
    pub(crate) fn apply_arbitration(&self) {
        let burst = self.state.features.burst();
        self.running.values().for_each(|running| {
            running.call(move |session| session.set_burst(burst));
        });
    }

    /// Wakes the core that serves a doorbell which was stored in the client's place; returns whether there is such a
    /// queue.
    pub(super) fn doorbell_rung(&self, doorbell: DoorbellName) -> bool {
        let completion_queue = match doorbell {
            DoorbellName::Tail(QueueId(id)) => {
                self.state.submission_queues.get(&id).map(|queue| queue.completion_queue)
            }
            DoorbellName::Head(QueueId(id)) => self.state.completion_queues.contains_key(&id).then_some(id),
        };
        let running = completion_queue.and_then(|queue| self.running.get(&QueueId(queue)));
        running.inspect(|running| running.kick()).is_some()
    }
}

/// Status of a command that would create a queue in such memory.
fn memory_status(error: QueueMemoryError) -> CommandStatus {
    CommandStatus::refused(match error {
        QueueMemoryError::Entries(_) => StatusCode::INVALID_QUEUE_SIZE,
        QueueMemoryError::Unaligned(_) => StatusCode::PRP_OFFSET_INVALID,
        QueueMemoryError::Missing(_) => StatusCode::DATA_TRANSFER_ERROR,
    })
}
