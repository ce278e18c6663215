//! The step from a chain to a request: header, response and data, in any legal layout (virtio 1.3, clause 5.6.6.1).
//!
//! ```text
//!  readable: header, data-out
//!  writable: response, data-in
//! ```

use super::response::ResponseParts;
use crate::pieces::{Pieces, copy_out};
use luge_memory::{FixedSpan, Span};
use luge_spec::virtio::scsi::{RESPONSE_BYTES, RequestHeader};
use luge_virtqueue::Chain;
use std::ops::Range;
use zerocopy::FromBytes;

/// Length of a header in bytes.
const HEADER_BYTES: usize = size_of::<RequestHeader>();

/// Layout of a request as drivers make it.
pub(super) type Layout = luge_virtqueue::ResponseFirst<HEADER_BYTES, RESPONSE_BYTES>;

/// The chains of one take.
pub(super) type Batch = luge_virtqueue::Batch<Layout>;

/// A chain in that layout, as nearly all are.
pub(super) type RequestChain<'a> = luge_virtqueue::RequestChain<'a, Layout>;

/// Place of a header that is in one span.
pub(super) type HeaderSpan = FixedSpan<HEADER_BYTES>;

/// A chain that was read.
pub(super) struct Request {
    pub(super) response: ResponseParts,
    /// Header and data; none if the chain is no request: it is at fault, its header or response is too short, or it has
    /// data in both directions.
    pub(super) content: Option<Content>,
}

/// Header and data of a request.
#[derive(Default)]
pub(super) struct Content {
    pub(super) header: RequestHeader,
    pub(super) data: RequestData,
}

/// The data of a request: in one direction at most, because bidirectional commands are not offered.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestData {
    /// Indices of the spans, in the batch or in a list.
    pub(super) spans: Range<usize>,
    /// Bytes that the device reads.
    pub(super) out_bytes: u32,
    /// Bytes that the device writes.
    pub(super) in_bytes: u32,
}

impl RequestData {
    /// Bytes in either direction.
    pub(super) fn bytes(&self) -> u32 {
        self.out_bytes.max(self.in_bytes)
    }
}

/// Reads a chain. The spans of the data are left in their place.
pub(super) fn read(chain: Chain<'_>) -> Request {
    let Chain { first, fault, readable, writable, bytes, .. } = chain;
    let mut inward = Pieces::new(writable, first.wrapping_add(readable.len()), bytes.writable);
    let mut outward = Pieces::new(readable, first, bytes.readable);
    let response = ResponseParts::cut(&mut inward);
    let header = if fault.is_none() { outward.cut_first::<HEADER_BYTES>() } else { None };
    let header = header.and_then(|bytes| RequestHeader::read_from_bytes(&bytes).ok());
    let (out_bytes, in_bytes) = (outward.len(), inward.len());
    let one_way = out_bytes == 0 || in_bytes == 0;
    let header = header.filter(|_| one_way && response.is_whole());
    let spans = if in_bytes > 0 { inward.left() } else { outward.left() };
    let data = RequestData { spans, out_bytes, in_bytes };
    Request { response, content: header.map(|header| Content { header, data }) }
}

/// Header of a chain, as far as its first spans have it.
pub(super) fn peek(spans: &[Span]) -> Option<RequestHeader> {
    let mut bytes = [0; HEADER_BYTES];
    let copied = copy_out(spans, &mut bytes);
    RequestHeader::read_from_bytes(&bytes).ok().filter(|_| copied == HEADER_BYTES)
}
