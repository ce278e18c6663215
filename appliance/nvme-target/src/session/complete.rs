//! The end of commands: completions, and what the host is told by them.

use super::QueueSession;
use super::attempt::Attempt;
use super::slots::{InFlight, Slots};
use crate::commands::CommandStatus;
use crate::ids::{CommandId, NamespaceId};
use crate::queues::{Posted, SubmissionQueue};
use luge_block::{Completion, Status};

impl QueueSession {
    /// Posts completions of requests that have ended.
    #[inline]
    pub(super) fn end_all(&mut self, done: &[Completion]) {
        let Self { completion, queues, slots, interrupts, now, .. } = self;
        completion.post(done.iter().map(|end| {
            let command = slots.free(end.tag().slot());
            let status = if end.succeeded() { 0 } else { failure(*end) };
            Posted { result: 0, rest: leave(queues, command) | status }
        }));
        interrupts.note(u32::try_from(done.len()).unwrap_or(u32::MAX), *now);
    }

    /// Answers commands whose requests the volume refused; they have left their queue.
    #[cold]
    pub(super) fn refuse_all(&mut self, refused: &[Completion]) {
        self.end_all(refused);
    }

    /// Answers the command of an attempt, which leaves its queue.
    pub(super) fn answer(&mut self, attempt: &Attempt<'_>, status: CommandStatus) {
        let Some(queue) = self.queue(attempt.index) else { return };
        queue.advance(1);
        let command = InFlight::new(attempt.index, queue.id(), CommandId(attempt.entry.command_id));
        self.post(command, status, 0);
    }

    /// Posts the completion of a command that has left its queue and has no slot.
    pub(super) fn post(&mut self, command: InFlight, status: CommandStatus, result: u64) {
        let rest = leave(&mut self.queues, command) | status.in_word();
        self.completion.post(std::iter::once(Posted { result, rest }));
        self.interrupts.note(1, self.now);
    }
}

/// Second word of a command's completion, without a status. The command is no longer one of its queue.
#[inline]
fn leave(queues: &mut [Option<SubmissionQueue>], command: InFlight) -> u64 {
    let queue = queues.get_mut(command.index()).and_then(Option::as_mut);
    let Some(queue) = queue else { return command.word(0) };
    queue.completed(1);
    command.word(queue.head())
}

/// Status of a request that failed, in its place in the second word.
#[cold]
#[inline(never)]
fn failure(end: Completion) -> u64 {
    let reads = end.tag().kind() == luge_block::Kind::Read;
    CommandStatus::of_block(end.status(), reads).in_word()
}
