//! Requests that go to the adapter's thread, and come back.
//!
//! ```text
//!  (1) pending --memory and the relay have room--> (2)
//!  (2) away    --answered-->                       free
//!  (2) away    --the core is to serve it-->        (3)
//!  (3) resumed --the volume takes it-->            a slot like others
//!  (3) resumed --answered-->                       free
//!  (3) resumed --no room-->                        stays
//! ```

use super::extras::Extra;
use super::one::{Attempt, release};
use super::pending::{Identity, Pending};
use super::request_session::RequestSession;
use super::slots::{Kind, Slot, State};
use super::submit::{Submission, Untaken};
use super::turn::Turn;
use crate::pieces::copy_out;
use crate::scsi::decision::{Decision, GateCheck, Reason, decide};
use crate::scsi::relay::{
    CommandReply, DATA_OUT_MAX, Ended, Relayed, RelayedCommand, RelayedId, RelayedRequest,
};
use crate::scsi::response::Answer;
use luge_block::{Status, Tag};
use luge_memory::Span;
use luge_scsi::{Ending, SenseFormat};
use luge_spec::virtio::scsi::Response;
use luge_volume::Graph;

impl RequestSession {
    /// (1) to (2): hands a request to the adapter's thread.
    pub(super) fn relay(&mut self, graph: &mut Graph, pending: &mut Pending, reason: Reason) -> Attempt {
        let Self { batch, extras, relay, slots, number, index, .. } = self;
        let Pending { identity, cdb, response, data, list } = pending;
        let Some(place) = identity.place else { return Attempt::NoRoom };
        let Some((extra, memory)) = extras.take(identity.head, response) else { return Attempt::NoRoom };
        (memory.tag, memory.cdb) = (identity.tag, *cdb);
        memory.set_bytes(data);
        let spans = match list {
            Some(list) => graph.list(&list.id).get(data.spans.clone()),
            None => batch.spans(data.spans.clone()).map(|spans| &*spans),
        };
        let spans = spans.unwrap_or_default();
        let mut data_out = heapless::Vec::new();
        if reason != Reason::Gate {
            copy_data_out(spans, data.out_bytes, &mut data_out);
        }
        if list.is_none() {
            memory.keep_spans(spans);
        }
        let (out_bytes, in_bytes) = (data.out_bytes, data.in_bytes);
        let command = RelayedCommand {
            place,
            tag: identity.tag,
            cdb: *cdb,
            data_out,
            data_out_bytes: out_bytes,
            data_in_bytes: in_bytes,
        };
        let Some(id) = extras.name(extra) else { return Attempt::NoRoom };
        let request = RelayedRequest::Command(command);
        if relay.push(Relayed { queue: *index, session: *number, id, request }).is_err() {
            extras.free(extra);
            return Attempt::NoRoom;
        }
        // What the thread has a copy of needs no list.
        let kept = list.take_if(|_| reason == Reason::Gate || data.in_bytes > 0);
        if let (Some(list), Some(memory)) = (kept, extras.get(extra)) {
            memory.keep_list(list, data.spans.clone());
        }
        let kind = Kind { extra, awaited: identity.awaited, ..Kind::new(State::Away, place) };
        slots.fill(identity.head, Slot { tag: identity.tag, kind, bytes: data.bytes(), ..Slot::FREE });
        Attempt::Taken
    }

    /// (2): completes a command that was relayed; returns whether it waited for that. The reply is not kept.
    pub fn complete_relayed(&mut self, graph: &mut Graph, id: RelayedId, reply: &CommandReply) -> bool {
        let Some(index) = self.extras.find(id) else { return false };
        let Some(extra) = self.extras.get(index) else { return false };
        let head = extra.head;
        let slot = *self.slots.used(head);
        if slot.kind.state != State::Away || self.resumed.iter().any(|&resumed| resumed == index) {
            return false;
        }
        match reply {
            _ if slot.kind.mark.response().is_some() => self.answer_away(graph, index, None),
            CommandReply::Done(ended) => self.end_away(graph, index, ended),
            CommandReply::NoTarget => self.answer_away(graph, index, Some(no_target(slot.bytes))),
            CommandReply::GoOn => {
                // There is room for all.
                let _ = self.resumed.push_back(index);
            }
        }
        true
    }

    /// Ends a relayed command as the thread says.
    fn end_away(&mut self, graph: &mut Graph, index: u8, ended: &Ended) {
        let Some(extra) = self.extras.get(index) else { return };
        let read = if extra.in_bytes > 0 { extra.write(graph, &ended.data_in) } else { 0 };
        let used = if extra.out_bytes > 0 { ended.data_out_bytes.min(extra.out_bytes) } else { read };
        let residual = extra.data_bytes().saturating_sub(used);
        let answer = Answer::with_status(ended.status, &ended.sense, residual);
        answer.write(extra.response());
        self.give_back(graph, index, answer.written(read));
    }

    /// Ends a relayed command with an answer without data; with that of its mark, if it has one.
    fn answer_away(&mut self, graph: &mut Graph, index: u8, answer: Option<Answer>) {
        let Some(extra) = self.extras.get(index) else { return };
        let slot = self.slots.used(extra.head);
        let marked = slot.kind.mark.response();
        let marked = marked.map(|response| Answer::without_status(response, extra.data_bytes()));
        let Some(answer) = marked.or(answer) else { return };
        let read = if answer.has_data() { extra.in_bytes } else { 0 };
        let read = read.saturating_sub(answer.header.residual.get());
        answer.write(extra.response());
        self.give_back(graph, index, answer.written(read));
    }

    /// Gives the chain of a relayed command back.
    fn give_back(&mut self, graph: &mut Graph, index: u8, written: u32) {
        let Some(extra) = self.extras.get(index) else { return };
        let head = extra.head;
        release(graph, extra.take_list());
        self.extras.free(index);
        self.slots.free(head);
        self.queue.complete(head, written);
    }

    /// (3): serves the commands that the adapter's thread has left to the core, while there is room.
    pub(super) fn resume(&mut self, graph: &mut Graph, turn: &mut Turn) {
        for _ in 0..self.resumed.len() {
            let Some(index) = self.resumed.pop_front() else { return };
            match self.try_resume(graph, index, turn) {
                Attempt::Taken => {}
                Attempt::Full if self.park_resumed(graph, index) => {}
                Attempt::Full | Attempt::NoRoom => {
                    let _ = self.resumed.push_back(index);
                }
                Attempt::Answered(answer) => {
                    turn.serve(1);
                    self.answer_away(graph, index, Some(answer));
                }
            }
        }
    }

    /// Parks a resumed command that has a list, which others need: it is decided on anew then. Returns whether that was
    /// possible.
    fn park_resumed(&mut self, graph: &mut Graph, index: u8) -> bool {
        let Some(extra) = self.extras.get(index).filter(|extra| extra.has_list()) else { return false };
        let (head, tag) = (extra.head, extra.tag);
        let slot = self.slots.free(head);
        let Kind { place, mark, awaited, .. } = slot.kind;
        let parks = self.park_one(&Identity { head, place: Some(place), tag, mark, awaited });
        if parks {
            let list = self.extras.get(index).and_then(Extra::take_list);
            release(graph, list);
            self.extras.free(index);
        } else {
            self.slots.fill(head, slot);
        }
        parks
    }

    fn try_resume(&mut self, graph: &mut Graph, index: u8, turn: &mut Turn) -> Attempt {
        let Self { extras, slots, table, session, .. } = self;
        let (Some(extra), Some(table)) = (extras.get(index), table.as_deref()) else {
            return Attempt::NoRoom;
        };
        let slot = slots.used(extra.head);
        let data = extra.request_data();
        let bytes = data.bytes();
        if let Some(response) = slot.kind.mark.response() {
            return Attempt::Answered(Answer::without_status(response, bytes));
        }
        let (entry, todo, residual) =
            match decide(table, Some(slot.kind.place), &extra.cdb, &data, GateCheck::Passed) {
                Decision::Submit { entry, todo, residual } => (entry, todo, residual),
                Decision::Answer(answer) => return Attempt::Answered(answer),
                // The LUN has gone meanwhile.
                Decision::Relay(_) => return Attempt::Answered(gone(bytes)),
            };
        let tag = Tag::new(session.0, extra.head.0);
        let submission = Submission { tag, entry, todo, bytes, residual };
        match submission.submit_from(graph, extra.place()) {
            Ok(()) => {
                let kind = Kind { state: State::Submitted, ..slot.kind };
                *slot = submission.slot(None, kind, extra.tag);
                turn.serve(1);
                turn.bytes = turn.bytes.saturating_add(bytes.into());
                Attempt::Taken
            }
            Err(Untaken::Full) => Attempt::Full,
            Err(Untaken::Answer(answer)) => Attempt::Answered(answer),
        }
    }
}

fn no_target(bytes: u32) -> Answer {
    Answer::without_status(Response::BAD_TARGET, bytes)
}

fn gone(bytes: u32) -> Answer {
    Answer::of(Ending::of(Status::Gone), SenseFormat::Fixed, bytes)
}

/// Copies the first bytes of data-out.
fn copy_data_out(spans: &[Span], bytes: u32, to: &mut heapless::Vec<u8, DATA_OUT_MAX>) {
    let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(DATA_OUT_MAX);
    // There is room for so many.
    let _ = to.resize(most, 0);
    let copied = copy_out(spans, to);
    to.truncate(copied);
}
