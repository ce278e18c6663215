//! Chains of more descriptors than a take walks: each is walked in several turns, into a list of a volume.
//!
//! ```text
//!  (1) taken   --a volume lends a list--> (2)
//!  (1) taken   --it is for no target, or it is cancelled--> (2), without a list: only its response is looked for
//!  (1) taken   --its volume has no room, or no list is free--> parked, or it stays
//!  (2) walking --end of the chain--> read, as any other
//! ```
//!
//! The header is read from the beginning of the chain, which the take has walked. The list is lent by the volume that the
//! chain is for; where there is no such LUN, by that of another LUN of the target.

use super::chains::bit;
use super::one::ReadChain;
use super::pending::{List, Long};
use super::request_session::RequestSession;
use super::slots::Mark;
use super::turn::Turn;
use crate::scsi::lun::LunPlace;
use crate::scsi::request;
use crate::scsi::table::{LunEntry, LunTable};
use luge_memory::Span;
use luge_spec::virtio::scsi::{RESPONSE_BYTES, RequestHeader, Response};
use luge_virtqueue::{Chain, LongChain};
use luge_volume::Graph;

/// Most spans of a response, each of whose bytes could lie elsewhere.
const RESPONSE_SPANS: usize = RESPONSE_BYTES;

impl RequestSession {
    /// Goes on with the long chain at the end of the batch; returns whether it was read.
    pub(super) fn serve_long(&mut self, graph: &mut Graph, index: usize, turn: &mut Turn) -> bool {
        let begun = self.long.take().or_else(|| self.begin_long(graph, index));
        let Some(long) = begun else { return self.park_long(index, turn) };
        let Some(mut chain) = self.walk_long(graph, index, &long) else {
            self.long = Some(long);
            return false;
        };
        // Only one copy of the header counts: the list was chosen by it.
        if let (Some(content), Some(header)) = (&mut chain.request.content, long.header) {
            content.header = header;
        }
        let parked = self.unparked.take().map_or(Mark::None, |identity| identity.mark);
        self.begin(graph, ReadChain { list: long.list, refusal: long.refusal, parked, ..chain }, turn);
        true
    }

    /// (1) to (2); none if the volume has no room, or no list is free.
    fn begin_long(&mut self, graph: &mut Graph, index: usize) -> Option<Long> {
        let header = request::peek(self.batch.beginning(index));
        let mark = header.as_ref().map_or(Mark::None, |header| self.mark_of_long(index, header));
        let lender = header.as_ref().filter(|_| mark == Mark::None).and_then(|header| self.lender_of(header));
        let volume = lender.map(|lender| lender.volume);
        let Some((volume, mut handle)) = volume.and_then(|id| Some((id, graph.volume(id)?))) else {
            self.queue.refuse_long(&mut self.batch);
            let refusal = mark.response().unwrap_or_else(|| refusal(header.as_ref()));
            return Some(Long { header, list: None, refusal });
        };
        // A list that waits for an SSD is missing for others.
        let id = if handle.room() > 0 { handle.reserve_list()? } else { return None };
        Some(Long { header, list: Some(List { id, volume }), refusal: Response::FAILURE })
    }

    /// Response that a long chain gets instead of its own, because it was cancelled in the batch or while it was parked.
    fn mark_of_long(&self, index: usize, header: &RequestHeader) -> Mark {
        let place = LunPlace::parse(header.lun).unwrap_or(LunPlace::ReportLuns(None));
        let in_batch = self.cancellations.mark_of(index, place, header.tag.get());
        let parked = self.unparked.map_or(Mark::None, |identity| identity.mark);
        in_batch.unwrap_or(parked)
    }

    /// LUN whose volume lends a list for a chain with that header; none where there is no such target.
    fn lender_of(&self, header: &RequestHeader) -> Option<&LunEntry> {
        let table: &LunTable = self.table.as_ref()?;
        match LunPlace::parse(header.lun)? {
            LunPlace::Lun(address) => table.get(address).or_else(|| table.first_of(address.target)),
            LunPlace::Beyond(target) | LunPlace::ReportLuns(Some(target)) => table.first_of(target),
            LunPlace::ReportLuns(None) => table.first(),
        }
    }

    /// (1): parks a chain without a mark that has got no list; returns whether that was possible.
    fn park_long(&mut self, index: usize, turn: &mut Turn) -> bool {
        let header = request::peek(self.batch.beginning(index));
        let read = self.batch.long_head().zip(header);
        let parks = read.is_some_and(|(head, header)| self.park_read(head, &header));
        if parks {
            self.unparked = None;
            self.left &= !bit(index);
            turn.serve(1);
        }
        parks
    }

    /// (2): walks on; returns the chain at its end.
    fn walk_long(&mut self, graph: &mut Graph, index: usize, long: &Long) -> Option<ReadChain> {
        let Self { queue, batch, .. } = self;
        let mut few = [Span::EMPTY; RESPONSE_SPANS];
        let spans = match &long.list {
            Some(list) => graph.list(&list.id),
            None => few.as_mut_slice(),
        };
        let LongChain { head, fault, readable, end, bytes } = queue.walk_long(batch, spans)?;
        let (readable, writable) = spans.get_mut(..end)?.split_at_mut_checked(readable)?;
        let chain = Chain { head, fault, first: 0, readable, writable, bytes };
        let request = request::read(chain);
        // One that was refused is not at fault.
        let is_faulty = fault.is_some() && long.list.is_some();
        let (refusal, parked) = (Response::FAILURE, Mark::None);
        Some(ReadChain { head, index, is_faulty, list: None, request, refusal, parked })
    }
}

/// Response to a chain that no volume lends a list for: there is no such target, or its header is no header.
fn refusal(header: Option<&RequestHeader>) -> Response {
    if header.is_some() { Response::BAD_TARGET } else { Response::FAILURE }
}
