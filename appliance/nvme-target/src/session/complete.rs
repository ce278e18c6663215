//! The end of commands: completions, and what the host is told by them.

use super::attempt::Attempt;
use super::leaving::{Words, leave};
use super::queue_session::QueueSession;
use super::slots::InFlight;
use crate::commands::CommandStatus;
use crate::ids::{CommandId, NamespaceId};
use crate::namespaces::Namespaces;
use crate::relay::{FailedCommand, Relay};
use luge_block::{Completion, Kind, Lba};
use luge_spec::nvme::SubmissionEntry;
use luge_volume::VolumeId;

/// Place of a failure, as far as it is known.
#[derive(Clone, Copy, Default)]
struct Location {
    namespace: NamespaceId,
    /// First block of the command.
    lba: Lba,
}

impl QueueSession {
    /// Posts completions of requests that have ended.
    #[inline]
    pub(super) fn end_all(&mut self, done: &[Completion]) {
        match self.queues.len() {
            _ if !self.specials.is_empty() => done.iter().for_each(|end| self.end_special(*end)),
            1 => self.end_all_of(0, done),
            _ => self.end_each(done),
        }
        self.interrupts.note(u32::try_from(done.len()).unwrap_or(u32::MAX), self.now);
    }

    /// Posts the completion of the command in a slot.
    pub(super) fn end_slot(&mut self, slot: u16, status: CommandStatus) {
        let command = self.slots.free(slot);
        let status = self.with_report(command, status, Location::default());
        self.post(command, status, 0);
    }

    /// Reports a failure of a command that was not relayed, for the error log.
    fn with_report(&self, command: InFlight, status: CommandStatus, at: Location) -> CommandStatus {
        if status.is_success() { status } else { report(&self.relay, command, status, at) }
    }

    /// Status of a request that has ended.
    pub(super) fn status_of(&self, end: Completion) -> CommandStatus {
        if end.succeeded() { CommandStatus::SUCCESS } else { failure(end, &self.namespaces) }
    }

    /// Posts completions of the queue that has that index.
    #[inline(never)]
    fn end_all_of(&mut self, index: u16, done: &[Completion]) {
        let Self { completion, queues, slots, namespaces, relay, .. } = self;
        let unposted = completion.post_all(done, |done, vacancies| {
            let words = Words::of(queues, index, vacancies.phase);
            let ended = done.iter().zip(vacancies.iter());
            slots.free_all(
                ended,
                |(end, _)| end.tag().slot(),
                |(end, vacancy), command| {
                    let status = if end.succeeded() { 0 } else { fail(*end, command, namespaces, relay) };
                    vacancy.fill(0, words.word(command) | status);
                },
            );
        });
        slots.free_all(unposted.iter(), |end| end.tag().slot(), |_, _| ());
        leave(queues, index, done.len());
    }

    /// Posts completions of any queues.
    #[inline(never)]
    fn end_each(&mut self, mut done: &[Completion]) {
        while let Some(first) = done.first() {
            let index = self.slots.command(first.tag().slot()).index();
            let same = |end: &&Completion| self.slots.command(end.tag().slot()).index() == index;
            let (now, rest) = done.split_at(done.iter().take_while(same).count());
            self.end_all_of(index, now);
            done = rest;
        }
    }

    /// Answers commands whose requests the volume refused; they have left their queue.
    #[cold]
    pub(super) fn refuse_all(&mut self, refused: &[Completion]) {
        self.end_all(refused);
    }

    /// Answers the command of an attempt, which leaves its queue.
    pub(super) fn answer(&mut self, attempt: &Attempt<'_>, status: CommandStatus) {
        self.answer_entry(attempt.index, &attempt.entry, status);
    }

    /// Answers the command at the head of a queue, which leaves the queue.
    pub(super) fn answer_entry(&mut self, index: u16, entry: &SubmissionEntry, status: CommandStatus) {
        let Some(queue) = self.queue(index) else { return };
        queue.advance(1);
        let command = InFlight::new(index, queue.id(), CommandId(entry.command_id));
        let at = Location { namespace: NamespaceId(entry.namespace), lba: Lba(entry.lba()) };
        let status = self.with_report(command, status, at);
        self.post(command, status, 0);
    }

    /// Posts the completion of a command that has left its queue and has no slot.
    pub(super) fn post(&mut self, command: InFlight, status: CommandStatus, result: u64) {
        let Self { completion, queues, .. } = self;
        completion.post_all(&[()], |_, vacancies| {
            let word = Words::of(queues, command.index(), vacancies.phase).word(command) | status.in_word();
            vacancies.iter().for_each(|vacancy| vacancy.fill(result, word));
        });
        leave(queues, command.index(), 1);
        self.interrupts.note(1, self.now);
    }
}

/// Status of a request that failed, in its place, after a report for the error log.
#[cold]
#[inline(never)]
fn fail(end: Completion, command: InFlight, namespaces: &Namespaces, relay: &Relay) -> u64 {
    let namespace = namespaces.id_of_volume(VolumeId::of(end.tag())).unwrap_or_default();
    report(relay, command, failure(end, namespaces), Location { namespace, ..Location::default() }).in_word()
}

/// Reports a failure for the error log; returns the status, which says so.
fn report(relay: &Relay, command: InFlight, status: CommandStatus, at: Location) -> CommandStatus {
    let status = status.with_more();
    let (queue, command) = (command.queue(), command.command());
    let Location { namespace, lba } = at;
    relay.report_failure(FailedCommand { queue, command, status, namespace, lba });
    status
}

/// Status of a request that failed, which its volume counts.
#[cold]
#[inline(never)]
fn failure(end: Completion, namespaces: &Namespaces) -> CommandStatus {
    let volume = VolumeId::of(end.tag());
    namespaces.of_volume(volume).inspect(|namespace| namespace.stats.fail(end.status()));
    CommandStatus::of_block(end.status(), end.tag().kind() == Kind::Read)
}
