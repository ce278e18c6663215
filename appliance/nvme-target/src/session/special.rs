//! Commands that are more than one request, or more than one completion.
//!
//! ```text
//!  fused pair    one request --ended--> two completions
//!  flush of all  a request for each namespace --all ended--> a completion
//!  zeroes, FUA   a request --ended--> a flush --ended--> a completion
//! ```
//!
//! A special command is named by its slot, as all requests of it are. There are a few at most; others wait in their
//! queues.

use super::attempt::{Attempt, Target, Untaken, submit_to};
use super::queue_session::QueueSession;
use super::specials::{FlushAll, Special, State};
use crate::commands::{BlockCommand, CommandStatus};
use luge_block::{Completion, Lba, Operation, Refusal, Request, Tag};
use luge_spec::nvme::StatusCode;
use luge_volume::{Graph, VolumeId};

impl QueueSession {
    /// Begins a flush of all namespaces.
    pub(super) fn flush_all(&mut self, attempt: &mut Attempt<'_>) -> Result<(), Untaken> {
        self.specials.check_room()?;
        let tag = self.fill_slot(attempt, 0)?;
        self.take_off(attempt.index);
        let flush = FlushAll { next: Some(0), outstanding: 0, status: CommandStatus::SUCCESS };
        self.specials.add(tag.slot(), State::FlushAll(flush));
        self.go_on(attempt.graph);
        Ok(())
    }

    /// Begins a write of zeroes that are to be on the media at the end.
    pub(super) fn write_durable_zeroes(
        &mut self,
        attempt: &mut Attempt<'_>,
        target: &Target,
        command: BlockCommand,
    ) -> Result<(), Untaken> {
        self.specials.check_room()?;
        target.check(command)?;
        let tag = self.submit(attempt, target, command, 0)?;
        if target.geometry.volatile_cache {
            self.specials.add(tag.slot(), State::Zeroes(target.volume));
        }
        Ok(())
    }

    /// Submits the requests that special commands have to submit.
    #[cold]
    pub(super) fn go_on(&mut self, graph: &mut Graph) {
        for _ in 0..self.specials.len() {
            let Some(Special { slot, state }) = self.specials.take_first() else { return };
            let state = match state {
                State::FlushAll(flush) => self.go_on_flush_all(graph, slot, flush),
                State::ToFlush(volume) => self.go_on_flush(graph, slot, volume),
                State::Pair { .. } | State::Zeroes(_) | State::Flush => Some(state),
            };
            state.into_iter().for_each(|state| self.specials.add(slot, state));
        }
    }

    fn go_on_flush(&mut self, graph: &mut Graph, slot: u16, volume: VolumeId) -> Option<State> {
        match self.flush(graph, slot, volume) {
            Ok(()) => Some(State::Flush),
            Err(Refusal::Full) => Some(State::ToFlush(volume)),
            Err(Refusal::Failed(status)) => {
                self.end_slot(slot, CommandStatus::of_block(status, false));
                None
            }
        }
    }

    fn go_on_flush_all(&mut self, graph: &mut Graph, slot: u16, mut flush: FlushAll) -> Option<State> {
        let namespaces = self.namespaces.clone();
        let left = flush.next.map(|next| namespaces.from(next));
        for (index, namespace) in left.into_iter().flatten() {
            flush.next = Some(index);
            match self.flush(graph, slot, namespace.volume) {
                Ok(()) => flush.outstanding = flush.outstanding.wrapping_add(1),
                Err(Refusal::Full) => return Some(State::FlushAll(flush)),
                Err(Refusal::Failed(status)) => flush.note(CommandStatus::of_block(status, false)),
            }
        }
        self.keep_or_end(slot, FlushAll { next: None, ..flush })
    }

    /// The state of a flush of all namespaces; none if all of it has ended.
    fn keep_or_end(&mut self, slot: u16, flush: FlushAll) -> Option<State> {
        let is_over = flush.next.is_none() && flush.outstanding == 0;
        if is_over {
            self.end_slot(slot, flush.status);
        }
        (!is_over).then_some(State::FlushAll(flush))
    }

    fn flush(&mut self, graph: &mut Graph, slot: u16, volume: VolumeId) -> Result<(), Refusal> {
        let tag = Tag::new(self.session.0, slot);
        let request = Request { tag, operation: Operation::Flush, lba: Lba(0), blocks: 0, data: &[] };
        submit_to(graph.volume(volume), |volume| volume.submit(&request))
    }

    /// Ends a request that may be one of a special command.
    #[cold]
    pub(super) fn end_special(&mut self, end: Completion) {
        let slot = end.tag().slot();
        let status = self.status_of(end);
        let state = match self.specials.take(slot) {
            Some(State::Pair { second }) => {
                self.end_pair(slot, second, status);
                None
            }
            Some(State::FlushAll(mut flush)) => {
                flush.note(status);
                flush.outstanding = flush.outstanding.wrapping_sub(1);
                self.keep_or_end(slot, flush)
            }
            Some(State::Zeroes(volume)) if status.is_success() => Some(State::ToFlush(volume)),
            Some(State::Zeroes(_) | State::ToFlush(_) | State::Flush) | None => {
                self.end_slot(slot, status);
                None
            }
        };
        state.into_iter().for_each(|state| self.specials.add(slot, state));
    }

    /// Ends both commands of a fused pair. Where the request has failed, the first one tells why.
    fn end_pair(&mut self, first: u16, second: u16, status: CommandStatus) {
        let failed = CommandStatus::refused(StatusCode::ABORTED_FAILED_FUSED);
        self.end_slot(first, status);
        self.end_slot(second, if status.is_success() { status } else { failed });
    }
}
