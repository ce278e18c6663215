//! Memory for requests that need more than a slot: those that are relayed, whose data is used later, and those whose
//! response is in several spans.

use super::pending::List;
use super::slots::NO_EXTRA;
use super::submit::DataPlace;
use crate::scsi::relay::RelayedId;
use crate::scsi::request::RequestData;
use crate::scsi::response::ResponseParts;
use luge_memory::Span;
use luge_virtqueue::{BATCH_SPANS, Head};
use luge_volume::Graph;
use std::ops::Range;

/// Number of requests that have such memory at the same time.
pub(super) const EXTRAS: usize = 32;

/// Most spans of a request that is not long: those of its chain, of which one has the end of the response and the
/// beginning of the data.
const SPANS: usize = BATCH_SPANS + 1;

/// More memory of a request.
pub(super) struct Extra {
    pub(super) head: Head,
    generation: u32,
    pub(super) tag: u64,
    pub(super) cdb: [u8; 32],
    pub(super) out_bytes: u32,
    pub(super) in_bytes: u32,
    /// Spans of the response, then those of the data.
    spans: heapless::Vec<Span, SPANS>,
    /// Number of the spans of the response.
    response: usize,
    /// List that has the spans of the data instead, of a long chain.
    list: Option<List>,
    /// Place of the data in that list.
    range: Range<usize>,
    is_used: bool,
}

impl Extra {
    fn new() -> Self {
        Self {
            head: Head(0),
            generation: 0,
            tag: 0,
            cdb: [0; 32],
            out_bytes: 0,
            in_bytes: 0,
            spans: heapless::Vec::new(),
            response: 0,
            list: None,
            range: 0..0,
            is_used: false,
        }
    }

    /// Spans of the response.
    pub(super) fn response(&self) -> &[Span] {
        self.spans.get(..self.response).unwrap_or_default()
    }

    /// Place of the data.
    pub(super) fn place(&mut self) -> DataPlace<'_> {
        let Self { spans, response, list, range, .. } = self;
        let spans = spans.get_mut(*response..).unwrap_or_default();
        DataPlace { list, range: range.clone(), spans }
    }

    /// Amount of the data, as a request has it.
    pub(super) fn request_data(&self) -> RequestData {
        RequestData { spans: self.range.clone(), out_bytes: self.out_bytes, in_bytes: self.in_bytes }
    }

    /// Takes the list out. There may be none.
    pub(super) fn take_list(&mut self) -> Option<List> {
        self.list.take()
    }

    /// Whether a list has the spans of the data.
    pub(super) fn has_list(&self) -> bool {
        self.list.is_some()
    }

    /// Bytes of the data, in either direction.
    pub(super) fn data_bytes(&self) -> u32 {
        self.out_bytes.max(self.in_bytes)
    }

    /// Notes the lengths of the data.
    pub(super) fn set_bytes(&mut self, data: &RequestData) {
        (self.out_bytes, self.in_bytes) = (data.out_bytes, data.in_bytes);
    }

    /// Keeps the spans of the data.
    pub(super) fn keep_spans(&mut self, spans: &[Span]) {
        // There is room for all of a chain that is not long.
        let _ = self.spans.extend_from_slice(spans);
    }

    /// Keeps the list that has the spans of the data in that range.
    pub(super) fn keep_list(&mut self, list: List, range: Range<usize>) {
        (self.list, self.range) = (Some(list), range);
    }

    /// Copies bytes to data-in, as many as have room; returns how many.
    pub(super) fn write(&mut self, graph: &mut Graph, bytes: &[u8]) -> u32 {
        let DataPlace { list, range, spans } = self.place();
        let spans = match list {
            Some(list) => graph.list(&list.id).get(range).unwrap_or_default(),
            None => spans,
        };
        let mut left = bytes;
        for span in spans {
            left = left.get(span.write(left)..).unwrap_or_default();
        }
        u32::try_from(bytes.len().saturating_sub(left.len())).unwrap_or(u32::MAX)
    }
}

/// The memory of a session for such requests. Does not grow.
pub(super) struct Extras {
    extras: Box<[Extra]>,
    generation: u32,
}

impl Extras {
    pub(super) fn new() -> Self {
        Self { extras: (0..EXTRAS).map(|_| Extra::new()).collect(), generation: 0 }
    }

    /// Takes memory for a request with that response; none if all is in use.
    pub(super) fn take(&mut self, head: Head, response: &ResponseParts) -> Option<(u8, &mut Extra)> {
        let index = self.extras.iter().position(|extra| !extra.is_used)?;
        self.generation = self.generation.wrapping_add(1);
        let extra = self.extras.get_mut(index)?;
        (extra.head, extra.is_used, extra.generation) = (head, true, self.generation);
        extra.spans.clear();
        (extra.out_bytes, extra.in_bytes, extra.range) = (0, 0, 0..0);
        // A response has room.
        let _ = extra.spans.extend_from_slice(response.spans());
        extra.response = extra.spans.len();
        Some((u8::try_from(index).ok()?, extra))
    }

    /// Memory that is in use.
    pub(super) fn get(&mut self, index: u8) -> Option<&mut Extra> {
        self.extras.get_mut(usize::from(index)).filter(|extra| extra.is_used)
    }

    /// Name for a request that is relayed.
    pub(super) fn name(&self, index: u8) -> Option<RelayedId> {
        let extra = self.extras.get(usize::from(index))?;
        Some(RelayedId { slot: index.into(), generation: extra.generation })
    }

    /// Index of the memory of a relayed request; none if it has been answered.
    pub(super) fn find(&self, id: RelayedId) -> Option<u8> {
        let extra = self.extras.get(usize::from(id.slot))?;
        let is_it = extra.is_used && extra.generation == id.generation;
        u8::try_from(id.slot).ok().filter(|_| is_it)
    }

    /// Gives memory back, whose list was taken out. There may be none.
    pub(super) fn free(&mut self, index: u8) {
        if index != NO_EXTRA {
            self.get(index).into_iter().for_each(|extra| extra.is_used = false);
        }
    }
}
