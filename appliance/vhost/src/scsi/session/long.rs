//! Chains of more descriptors than a take walks: each is walked in several turns, into a list of the volume that it is
//! for.
//!
//! The header is read from the beginning of the chain, which the take has walked. A chain that is for no volume has no
//! list and is refused: only its response is looked for, which says whether there is such a target.

use super::one::ReadChain;
use super::pending::{List, Long};
use super::request_session::RequestSession;
use super::turn::Turn;
use crate::scsi::lun::LunPlace;
use crate::scsi::request;
use luge_memory::Span;
use luge_spec::virtio::scsi::{RESPONSE_BYTES, RequestHeader, Response};
use luge_virtqueue::{Chain, LongChain};
use luge_volume::{Graph, VolumeId};

/// Most spans of a response, each of whose bytes could lie elsewhere.
const RESPONSE_SPANS: usize = RESPONSE_BYTES;

impl RequestSession {
    /// Goes on with the long chain at the end of the batch; returns whether it was read.
    pub(super) fn serve_long(&mut self, graph: &mut Graph, index: usize, turn: &mut Turn) -> bool {
        let begun = self.long.take().or_else(|| self.begin_long(graph, index));
        let Some(long) = begun else { return false };
        let Some(mut chain) = self.walk_long(graph, index, &long) else {
            self.long = Some(long);
            return false;
        };
        // Only one copy of the header counts: the list was chosen by it.
        if let (Some(content), Some(header)) = (&mut chain.request.content, long.header) {
            content.header = header;
        }
        let refusal = self.refusal(long.header.as_ref());
        self.begin(graph, ReadChain { list: long.list, refusal, ..chain }, turn);
        true
    }

    /// Begins to walk a long chain; none if the volume has no list now.
    fn begin_long(&mut self, graph: &mut Graph, index: usize) -> Option<Long> {
        let header = request::peek(self.batch.beginning(index));
        let volume = header.as_ref().and_then(|header| self.volume_of(header));
        match volume.and_then(|id| Some((id, graph.volume(id)?))) {
            Some((volume, mut handle)) => {
                let id = handle.reserve_list()?;
                Some(Long { header, list: Some(List { id, volume }) })
            }
            None => {
                self.queue.refuse_long(&mut self.batch);
                Some(Long { header, list: None })
            }
        }
    }

    /// Volume of the LUN that a header is for.
    fn volume_of(&self, header: &RequestHeader) -> Option<VolumeId> {
        let LunPlace::Lun(address) = LunPlace::parse(header.lun)? else { return None };
        Some(self.table.as_ref()?.get(address)?.volume)
    }

    /// Response to a chain that is refused.
    fn refusal(&self, header: Option<&RequestHeader>) -> Response {
        let has_target = |place: LunPlace| {
            let table = self.table.as_ref();
            place.target().is_none_or(|target| table.is_some_and(|table| table.has_target(target)))
        };
        match header.map(|header| LunPlace::parse(header.lun)) {
            Some(place) if !place.is_some_and(has_target) => Response::BAD_TARGET,
            _ => Response::FAILURE,
        }
    }

    /// Walks on; returns the chain at its end.
    fn walk_long(&mut self, graph: &mut Graph, index: usize, long: &Long) -> Option<ReadChain> {
        let Self { queue, batch, .. } = self;
        let mut few = [Span::EMPTY; RESPONSE_SPANS];
        let volume = long.list.as_ref().and_then(|list| Some((list, graph.volume(list.volume)?)));
        let mut volume = volume;
        let spans = match &mut volume {
            Some((list, volume)) => volume.list(&list.id),
            None => few.as_mut_slice(),
        };
        let LongChain { head, fault, readable, end, bytes } = queue.walk_long(batch, spans)?;
        let (readable, writable) = spans.get_mut(..end)?.split_at_mut_checked(readable)?;
        let chain = Chain { head, fault, first: 0, readable, writable, bytes };
        let request = request::read(chain);
        // One that was refused is not at fault.
        let is_faulty = fault.is_some() && long.list.is_some();
        Some(ReadChain { head, index, is_faulty, list: None, request, refusal: Response::FAILURE })
    }
}
