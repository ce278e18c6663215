//! Changes of a session by the controller's thread, as tasks between two turns. Whatever is replaced comes back, so that
//! a core drops nothing.

use super::long::Long;
use super::queue_session::QueueSession;
use super::setup::SubmissionQueueSetup;
use crate::commands::CommandStatus;
use crate::ids::{CommandId, QueueId};
use crate::namespaces::Namespaces;
use crate::queues::{Coalescing, SubmissionQueue};
use crate::relay::RelayedId;
use luge_block::Durability;
use luge_core::{Call, Session};
use luge_spec::nvme::StatusCode;
use luge_volume::VolumeId;
use std::sync::Arc;

/// Progress of the removal of a submission queue.
pub enum Removal {
    /// Commands of it are in flight: ask again when the relay says that something has drained.
    Draining,
    /// The queue, to be dropped.
    Gone(RemovedQueue),
    /// The session has no such queue.
    Unknown,
}

/// A submission queue that a session has no more.
pub struct RemovedQueue {
    _queue: SubmissionQueue,
}

impl QueueSession {
    /// Adds a submission queue, empty.
    ///
    /// # Errors
    /// The queue, if there is no room for it or it has no doorbell.
    pub fn add_submission_queue(&mut self, setup: SubmissionQueueSetup) -> Result<(), SubmissionQueueSetup> {
        let Some(doorbell) = self.doorbells.tail(setup.layout.id) else { return Err(setup) };
        let vacancy = self.queues.iter().position(Option::is_none).unwrap_or(self.queues.len());
        if vacancy == self.queues.len() {
            if vacancy == self.queues.capacity() {
                return Err(setup);
            }
            self.queues.push(None);
        }
        if let Some(place) = self.queues.get_mut(vacancy) {
            *place = Some(SubmissionQueue::new(setup.layout, setup.memory, doorbell));
        }
        Ok(())
    }

    /// Takes no more commands of a submission queue, and takes it out when all that were taken are completed.
    pub fn remove_submission_queue(&mut self, id: QueueId) -> Removal {
        let is_it = |queue: &Option<SubmissionQueue>| queue.as_ref().is_some_and(|queue| queue.id() == id);
        let Some(index) = self.queues.iter().position(is_it) else { return Removal::Unknown };
        if let Some(long) = self.long.as_mut().filter(|long| usize::from(long.index) == index) {
            long.abandon();
        }
        let Some(place) = self.queues.get_mut(index) else { return Removal::Unknown };
        place.iter_mut().for_each(SubmissionQueue::leave);
        match place.take_if(|queue| queue.has_drained()) {
            Some(queue) => Removal::Gone(RemovedQueue { _queue: queue }),
            None => {
                self.is_awaited = true;
                Removal::Draining
            }
        }
    }

    /// Takes no more commands, until [`Self::resume`]. Returns whether none is in flight; otherwise the relay tells
    /// when that is so.
    pub fn hold(&mut self) -> bool {
        self.is_held = true;
        let is_drained = self.is_drained();
        self.is_awaited |= !is_drained;
        is_drained
    }

    /// Takes commands again.
    pub fn resume(&mut self) {
        self.is_held = false;
    }

    /// Whether no commands are taken, and none is in flight. Those that the controller's thread has do not count.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_held && self.in_flight() == 0
    }

    /// Tells the controller's thread if something has drained that it waits for.
    pub(super) fn report_drained(&mut self) {
        let leaving = || self.queues.iter().flatten().filter(|queue| queue.is_leaving());
        let some = self.is_drained() || leaving().any(SubmissionQueue::has_drained);
        let all = self.is_drained() == self.is_held && leaving().all(SubmissionQueue::has_drained);
        let Self { leaving_memory, slots, .. } = self;
        let memory_left = leaving_memory.as_mut().map(|leaving| leaving.has_left(slots));
        let (some, all) = (some || memory_left == Some(true), all && memory_left != Some(false));
        self.is_awaited = !all;
        if some {
            self.relay.report_drained();
        }
    }

    /// Completes a command that was relayed, with `result` in DW0 and DW1; returns whether it waited for that.
    pub fn complete_relayed(&mut self, id: RelayedId, status: CommandStatus, result: u64) -> bool {
        let Some(slot) = self.slots.take_back(id) else { return false };
        let command = self.slots.free(slot);
        self.post(command, status, result);
        if self.is_awaited {
            self.report_drained();
        }
        true
    }

    /// Aborts a command; returns whether it was completed as aborted. None that a volume has can be.
    pub fn abort(&mut self, queue: QueueId, command: CommandId) -> bool {
        let named = |long: &&Long| long.is_at(long.index) && long.entry().command_id == command.0;
        let long = self.long.as_ref().filter(named).map(|long| (long.index, *long.entry()));
        let Some((index, entry)) = long else { return false };
        let of_queue = self.queue(index).is_some_and(|found| found.id() == queue);
        if !of_queue || self.completion.free() as usize <= self.slots.busy() {
            return false;
        }
        self.long.iter_mut().for_each(Long::abandon);
        self.answer_entry(index, &entry, CommandStatus::failed(StatusCode::ABORT_REQUESTED));
        true
    }

    /// Uses another table of namespaces; returns the one before.
    pub fn replace_namespaces(&mut self, namespaces: Arc<Namespaces>) -> Arc<Namespaces> {
        std::mem::replace(&mut self.namespaces, namespaces)
    }

    /// Begins nothing more on a volume that no namespace has any more; returns whether no command will use it again but
    /// for what is in flight there.
    pub fn leave_volume(&mut self, volume: VolumeId) -> bool {
        let long = self.long.as_mut().filter(|long| long.volume() == volume);
        let is_read = long.map(Long::abandon).is_some();
        !is_read && !self.specials.use_volume(volume)
    }

    /// Uses another interrupt; returns the one before. Interrupts the host once if it has completions to look at.
    pub fn replace_interrupt(&mut self, interrupt: Option<Call>) -> Option<Call> {
        self.look_at_head();
        self.interrupts.replace(interrupt, &self.completion)
    }

    /// Interrupts the host from now on also while it has still to look at an interrupt.
    pub fn interrupt_at_once(&mut self) {
        self.interrupts.adapt_no_more();
    }

    /// Sets the number and time for which interrupts may wait.
    pub fn set_coalescing(&mut self, coalescing: Coalescing) {
        self.interrupts.set_coalescing(coalescing);
    }

    /// Sets the durability of writes that do not ask for one: on the media, where the host has turned the volatile write
    /// cache off.
    pub fn set_durability(&mut self, durability: Durability) {
        self.rules.durability = durability;
    }

    /// Sets the number of commands that are taken of a submission queue before the next one has its turn.
    pub fn set_burst(&mut self, commands: u32) {
        self.rules.burst = commands.max(1);
    }
}
