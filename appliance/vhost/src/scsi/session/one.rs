//! Requests that are served one by one: all but runs of reads and writes.
//!
//! ```text
//!  (1) a chain of the batch --read--> (2), or answered
//!  (1) a long chain         --walked, turn by turn--> (2), or answered
//!  (2) pending              --the volume or the relay takes it--> a slot
//!  (2) pending              --answered--> given back
//!  (2) pending              --its volume has no room--> parked
//!  (2) pending              --no room otherwise--> stays; decided on again in the next turn
//! ```
//!
//! A chain is read once: at most one request is pending, and its spans stay in the batch or in a list.

use super::chains::bit;
use super::pending::{Identity, List, Pending};
use super::request_session::RequestSession;
use super::slots::{Kind, Mark, NO_EXTRA, State};
use super::submit::{DataPlace, Submission, Untaken};
use super::turn::Turn;
use crate::scsi::decision::{Decision, GateCheck, decide};
use crate::scsi::lun::LunPlace;
use crate::scsi::request::{self, Content, Request};
use crate::scsi::response::Answer;
use luge_block::Tag;
use luge_spec::virtio::scsi::Response;
use luge_virtqueue::Head;
use luge_volume::Graph;

/// Outcome of an attempt to serve a pending request.
pub(super) enum Attempt {
    Taken,
    Answered(Answer),
    /// The volume has no room.
    Full,
    /// There is no room on the way to the adapter's thread, or for more than a slot has.
    NoRoom,
}

/// A chain that was read.
pub(super) struct ReadChain {
    pub(super) head: Head,
    /// Index in the batch.
    pub(super) index: usize,
    /// Whether the chain is at fault.
    pub(super) is_faulty: bool,
    /// List with its spans; none where they are in the batch.
    pub(super) list: Option<List>,
    pub(super) request: Request,
    /// Response where the chain is no request.
    pub(super) refusal: Response,
    /// Mark that it got while it was parked.
    pub(super) parked: Mark,
}

impl RequestSession {
    /// Serves chain `index` of the batch, a request of any kind; returns whether it was read.
    #[cold]
    #[inline(never)]
    pub(super) fn serve_one(&mut self, graph: &mut Graph, index: usize, turn: &mut Turn) -> bool {
        if self.batch.is_long(index) {
            return self.serve_long(graph, index, turn);
        }
        let Some(chain) = self.batch.chain(index) else { return false };
        let (head, is_faulty) = (chain.head, chain.fault.is_some());
        let request = request::read(chain);
        let (refusal, parked) = (Response::FAILURE, Mark::None);
        self.begin(graph, ReadChain { head, index, is_faulty, list: None, request, refusal, parked }, turn);
        true
    }

    /// (1) to (2): a chain of the batch is read.
    pub(super) fn begin(&mut self, graph: &mut Graph, chain: ReadChain, turn: &mut Turn) {
        let ReadChain { head, index, is_faulty, list, request, refusal, parked } = chain;
        self.left &= !bit(index);
        turn.serve(1);
        if is_faulty {
            self.queue.count_fault();
        }
        if self.slots.vacant(head).is_none() {
            release(graph, list);
            self.queue.abandon();
            return self.queue.break_off();
        }
        let Request { response, content } = request;
        match content {
            Some(content) => {
                let mut identity = Identity::new(head, &content.header);
                let place = identity.place.unwrap_or(LunPlace::ReportLuns(None));
                let mark = self.cancellations.mark_of(index, place, identity.tag);
                identity.mark = mark.unwrap_or(parked);
                let Content { header, data } = content;
                let pending = Pending { identity, cdb: header.cdb, response, data, list };
                self.attempt(graph, pending, turn);
            }
            None => {
                release(graph, list);
                let written = response.write(&Answer::without_status(refusal, 0));
                self.queue.complete(head, written);
            }
        }
    }

    /// (2): tries again what is pending.
    pub(super) fn retry(&mut self, graph: &mut Graph, turn: &mut Turn) {
        if let Some(pending) = self.pending.take() {
            self.attempt(graph, pending, turn);
            turn.serve(usize::from(self.pending.is_none()));
        }
    }

    /// (2): serves a request, if there is room.
    fn attempt(&mut self, graph: &mut Graph, mut pending: Pending, turn: &mut Turn) {
        match self.try_serve(graph, &mut pending, turn) {
            Attempt::Taken => release(graph, pending.list),
            Attempt::Full if self.park_one(&pending.identity) => release(graph, pending.list),
            Attempt::Full | Attempt::NoRoom => self.pending = Some(pending),
            Attempt::Answered(answer) => {
                release(graph, pending.list);
                let written = pending.response.write(&answer);
                let data = if answer.has_data() { pending.data.in_bytes } else { 0 };
                let data = data.saturating_sub(answer.header.residual.get());
                let written = if data > 0 { answer.written(data) } else { written };
                self.queue.complete(pending.identity.head, written);
            }
        }
    }

    fn try_serve(&mut self, graph: &mut Graph, pending: &mut Pending, turn: &mut Turn) -> Attempt {
        if let Some(response) = pending.identity.mark.response() {
            return Attempt::Answered(Answer::without_status(response, pending.data.bytes()));
        }
        let Some(table) = self.table.clone() else { return Attempt::NoRoom };
        let Pending { identity, cdb, data, .. } = &*pending;
        let bytes = data.bytes();
        match decide(&table, identity.place, cdb, data, GateCheck::Asked) {
            Decision::Answer(answer) => Attempt::Answered(answer),
            Decision::Relay(reason) => self.relay(graph, pending, reason),
            Decision::Submit { entry, todo, residual } => {
                let tag = Tag::new(self.session.0, identity.head.0);
                self.submit(graph, pending, Submission { tag, entry, todo, bytes, residual }, turn)
            }
        }
    }

    /// (2): submits a request to its volume.
    fn submit(
        &mut self,
        graph: &mut Graph,
        pending: &mut Pending,
        submission: Submission<'_>,
        turn: &mut Turn,
    ) -> Attempt {
        let Some(extra) = self.keep_response(pending) else { return Attempt::NoRoom };
        match self.submit_data(graph, pending, submission) {
            Ok(()) => {
                let Pending { identity, response, .. } = pending;
                let place = identity.place.unwrap_or(LunPlace::ReportLuns(None));
                let kind = Kind { awaited: identity.awaited, extra, ..Kind::new(State::Submitted, place) };
                self.slots.fill(identity.head, submission.slot(response.as_whole(), kind, identity.tag));
                turn.bytes = turn.bytes.saturating_add(submission.bytes.into());
                Attempt::Taken
            }
            Err(untaken) => {
                self.extras.free(extra);
                match untaken {
                    Untaken::Full => Attempt::Full,
                    Untaken::Answer(answer) => Attempt::Answered(answer),
                }
            }
        }
    }

    /// Keeps the spans of a response that is in several; returns the index of the memory, or none if there is no room.
    fn keep_response(&mut self, Pending { identity, response, .. }: &Pending) -> Option<u8> {
        if response.as_whole().is_some() {
            return Some(NO_EXTRA);
        }
        self.extras.take(identity.head, response).map(|(index, _)| index)
    }

    fn submit_data(
        &mut self,
        graph: &mut Graph,
        pending: &mut Pending,
        submission: Submission<'_>,
    ) -> Result<(), Untaken> {
        let range = pending.data.spans.clone();
        let spans = match &pending.list {
            Some(_) => &mut [],
            None => self.batch.spans(range.clone()).unwrap_or_default(),
        };
        submission.submit_from(graph, DataPlace { list: &mut pending.list, range, spans })
    }
}

/// Returns a list. There may be none.
pub(super) fn release(graph: &mut Graph, list: Option<List>) {
    list.into_iter().for_each(|list| graph.release_list(list.id));
}
