//! Commands that are served one by one: all but runs of reads and writes.
//!
//! A command stays in its queue until it is taken: until a volume or the controller's thread has it, or it is answered.
//! What was found out about it before is forgotten if there was no room, and found again in the next turn.

use super::attempt::{Attempt, Served, Target, Untaken, submit_to};
use super::queue_session::QueueSession;
use super::setup::Service;
use super::slots::InFlight;
use crate::commands::{BlockCommand, Command, CommandStatus};
use crate::data::{Collected, Collector, DataWalk, Stop};
use crate::ids::{CommandId, NamespaceId};
use crate::namespaces::Namespace;
use crate::relay::Relayed;
use luge_block::{Lba, Operation, Refusal, Request, Tag};
use luge_memory::Use;
use luge_spec::nvme::{Fuse, StatusCode};

/// Entries and descriptors of a data pointer that are looked at in one go: those of 2 MiB in memory pages of 4 KiB.
pub(super) const STEPS_AT_ONCE: usize = 520;

/// Steps that a word to the controller's thread costs: it rings a bell, which is a system call.
const REPORT_STEPS: usize = 8;

impl QueueSession {
    /// Serves the command of an attempt, of any kind.
    #[cold]
    #[inline(never)]
    pub(super) fn serve_one(&mut self, attempt: &mut Attempt<'_>) -> Served {
        if self.service == Service::Io && attempt.entry.fuse() != Fuse::NORMAL {
            return self.serve_fused(attempt);
        }
        match self.try_one(attempt) {
            Ok(()) => {}
            Err(Untaken::Full) => return Served::Full(0),
            Err(Untaken::Answered(status)) => {
                self.answer(attempt, status);
                if !status.is_success() {
                    attempt.turn.looked_at(REPORT_STEPS);
                }
            }
        }
        attempt.turn.took(1, 0);
        Served::Some(1)
    }

    fn try_one(&mut self, attempt: &mut Attempt<'_>) -> Result<(), Untaken> {
        let command = match self.service {
            Service::Admin => Command::Relayed,
            Service::Io => Command::parse(&attempt.entry, self.rules.durability)?,
        };
        if command == Command::Relayed {
            return self.relay(attempt);
        }
        if command == Command::Flush && attempt.entry.namespace == NamespaceId::ALL.0 {
            return self.flush_all(attempt);
        }
        let target = self.target(attempt)?;
        match command {
            Command::Deallocate { .. } | Command::Hint if !self.rules.dataset_management => {
                Err(Untaken::refused(StatusCode::INVALID_OPCODE))
            }
            Command::Blocks(command) => self.serve_blocks(attempt, &target, command),
            Command::DurableZeroes(command) => self.write_durable_zeroes(attempt, &target, command),
            Command::Flush => {
                let flush = BlockCommand { operation: Operation::Flush, lba: Lba(0), blocks: 0 };
                self.submit(attempt, &target, flush, 0).map(drop)
            }
            Command::Deallocate { ranges } => self.deallocate(attempt, &target, ranges),
            Command::Hint => Err(Untaken::Answered(CommandStatus::SUCCESS)),
            Command::Copy(copy) => self.copy(attempt, &target, copy),
            Command::Relayed => Ok(()),
        }
    }

    /// The namespace of a command.
    pub(super) fn target(&self, attempt: &Attempt<'_>) -> Result<Target, Untaken> {
        let id = NamespaceId(attempt.entry.namespace);
        match self.namespaces.get(id) {
            Some(Namespace { refusal: Some(status), .. }) => Err(Untaken::Answered(*status)),
            Some(namespace) => Ok(Target { volume: namespace.volume, geometry: namespace.geometry }),
            None if self.namespaces.is_valid(id) => Err(Untaken::refused(StatusCode::INVALID_FIELD)),
            None => Err(Untaken::refused(StatusCode::INVALID_NAMESPACE)),
        }
    }

    /// Serves an operation on blocks that follow each other.
    fn serve_blocks(
        &mut self,
        attempt: &mut Attempt<'_>,
        target: &Target,
        command: BlockCommand,
    ) -> Result<(), Untaken> {
        target.check(command)?;
        if !command.operation.moves_data() {
            return self.submit(attempt, target, command, 0).map(drop);
        }
        let bytes = self.data_bytes(target, command)?;
        let purpose = if command.operation.is_read() { Use::Write } else { Use::Read };
        match self.collect(attempt, bytes, purpose, 0)? {
            Some(spans) => self.submit(attempt, target, command, spans).map(drop),
            None => self.begin_long(attempt, target, command),
        }
    }

    /// Bytes of a command's data, of which a controller takes no more than MDTS.
    pub(super) fn data_bytes(&self, target: &Target, command: BlockCommand) -> Result<u32, Untaken> {
        let bytes = u32::try_from(target.bytes(command)).ok();
        let bytes = bytes.filter(|&bytes| bytes <= self.rules.transfer_bytes_max);
        bytes.ok_or(Untaken::refused(StatusCode::INVALID_FIELD))
    }

    /// Finds the data of a command, whose spans are put behind the first `before` ones; returns the number of all, or
    /// none if there are too many to be found in one go.
    pub(super) fn collect(
        &mut self,
        attempt: &mut Attempt<'_>,
        bytes: u32,
        purpose: Use,
        before: usize,
    ) -> Result<Option<usize>, Untaken> {
        let mut walk = DataWalk::of(&attempt.entry, bytes, self.rules.page_bytes)?;
        let mut collector = Collector {
            collected: Collected::new(purpose),
            lookup: &mut self.memory.lookup(),
            list: self.spans.get_mut(before..).unwrap_or_default(),
            bucket: Some(&self.bit_bucket),
            steps: STEPS_AT_ONCE,
        };
        let walked = walk.step(&mut collector);
        attempt.turn.looked_at(STEPS_AT_ONCE.saturating_sub(collector.steps));
        match walked {
            Ok(spans) => Ok(spans.map(|spans| spans.wrapping_add(before))),
            Err(Stop::NoRoom) => Ok(None),
            Err(Stop::Fault(status)) => Err(status.into()),
        }
    }

    /// Submits an operation, with the first `spans` spans that were collected; returns the tag of its request.
    pub(super) fn submit(
        &mut self,
        attempt: &mut Attempt<'_>,
        target: &Target,
        command: BlockCommand,
        spans: usize,
    ) -> Result<Tag, Untaken> {
        let BlockCommand { operation, lba, blocks } = command;
        let tag = self.fill_slot(attempt, spans)?;
        let data = self.spans.get(..spans).unwrap_or_default();
        let volume = attempt.graph.volume(target.volume);
        let request = Request { tag, operation, lba, blocks, data };
        let submitted = submit_to(volume, |volume| volume.submit(&request));
        self.submitted(attempt, tag, submitted)?;
        if operation.moves_data() {
            attempt.turn.moved(target.bytes(command));
        }
        Ok(tag)
    }

    /// Fills a slot with the command of an attempt, whose request uses the first `spans` spans that were collected;
    /// returns the tag for that.
    pub(super) fn fill_slot(&mut self, attempt: &Attempt<'_>, spans: usize) -> Result<Tag, Untaken> {
        let queue = self.queue(attempt.index).map(|queue| queue.id()).ok_or(Untaken::Full)?;
        let command = InFlight::new(attempt.index, queue, CommandId(attempt.entry.command_id));
        let slot = self.slots.fill(command).ok_or(Untaken::Full)?;
        if let Some(notes) = &mut self.command_memory {
            notes.note(slot, self.spans.get(..spans).unwrap_or_default());
        }
        Ok(Tag::new(self.session.0, slot))
    }

    /// Takes a command off its queue whose request was taken, or frees its slot.
    pub(super) fn submitted(
        &mut self,
        attempt: &Attempt<'_>,
        tag: Tag,
        submitted: Result<(), Refusal>,
    ) -> Result<(), Untaken> {
        match submitted {
            Ok(()) => {
                self.take_off(attempt.index);
                Ok(())
            }
            Err(refusal) => {
                self.slots.free(tag.slot());
                Err(Untaken::of(refusal, attempt.is_read()))
            }
        }
    }

    /// Takes the command at the head off its queue.
    pub(super) fn take_off(&mut self, index: u16) {
        self.queue(index).into_iter().for_each(|queue| queue.advance(1));
    }

    /// Hands a command to the controller's thread.
    fn relay(&mut self, attempt: &mut Attempt<'_>) -> Result<(), Untaken> {
        let tag = self.fill_slot(attempt, 0)?;
        let id = self.slots.send_away(tag.slot());
        let queue = self.slots.command(tag.slot()).queue();
        let relayed = Relayed { queue, completion_queue: self.completion.id(), id, entry: attempt.entry };
        if self.relay.push(relayed) {
            attempt.turn.looked_at(REPORT_STEPS);
            self.take_off(attempt.index);
            return Ok(());
        }
        self.slots.take_back(id).map(|slot| self.slots.free(slot));
        Err(Untaken::Full)
    }
}
