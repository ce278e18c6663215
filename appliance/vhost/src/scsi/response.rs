//! Responses to requests, and their place in guest memory.

use crate::pieces::Pieces;
use luge_memory::{FixedSpan, Span};
use luge_scsi::{Ending, SENSE_BYTES_MAX, SenseFormat};
use luge_spec::scsi::ScsiStatus;
use luge_spec::virtio::scsi::{RESPONSE_BYTES, Response, ResponseHeader, SENSE_BYTES};
use zerocopy::IntoBytes;

/// Length of a response in bytes.
pub(super) const RESPONSE_LEN: u32 = WholeResponse::LEN;

/// Place of a response that is in one span.
pub(super) type WholeResponse = FixedSpan<RESPONSE_BYTES>;

/// Bytes of a response before the sense data.
pub(super) const HEADER_BYTES: u32 = FixedSpan::<{ size_of::<ResponseHeader>() }>::LEN;

/// Writes the answer to a request that has succeeded with all of its data: every field of the header is zero.
#[inline(always)]
pub(super) fn store_good(place: WholeResponse) {
    place.store_first([0; size_of::<ResponseHeader>()]);
}

const _: () = assert!(SENSE_BYTES_MAX <= SENSE_BYTES);

/// Place of a response that may be in several spans, in one nearly always.
#[derive(Clone, Debug)]
pub(super) struct ResponseParts {
    spans: heapless::Vec<Span, RESPONSE_BYTES>,
    bytes: u32,
}

impl ResponseParts {
    /// Cuts a response off the front of what the device writes, as much of it as there is.
    pub(super) fn cut(writable: &mut Pieces<'_>) -> Self {
        let mut parts = Self { spans: heapless::Vec::new(), bytes: 0 };
        while let Some(left) = RESPONSE_LEN.checked_sub(parts.bytes).filter(|&left| left > 0) {
            let Some(span) = writable.cut_span(left) else { break };
            parts.bytes = parts.bytes.wrapping_add(span.len());
            push_joined(&mut parts.spans, span);
        }
        parts
    }

    /// Whether there is room for all of a response.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes == RESPONSE_LEN
    }

    /// The response as one span; none if it is in several.
    pub(super) fn as_whole(&self) -> Option<WholeResponse> {
        self.spans.first()?.fixed()
    }

    /// The spans.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Writes an answer, of which the sense data is cut if there is less room; returns the bytes written, zero if there is
    /// no room for a response.
    pub(super) fn write(&self, answer: &Answer) -> u32 {
        if self.bytes < HEADER_BYTES {
            return 0;
        }
        answer.write(&self.spans);
        answer.written(0).min(self.bytes)
    }
}

/// Adds a span to a list, joined with the last one if it begins at its end. Returns whether there was room.
pub(super) fn push_joined<const N: usize>(spans: &mut heapless::Vec<Span, N>, span: Span) -> bool {
    if let Some(last) = spans.last_mut()
        && let Some(joined) = last.joined(&span)
    {
        *last = joined;
        return true;
    }
    spans.push(span).is_ok()
}

/// Answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) header: ResponseHeader,
    pub(super) sense: heapless::Vec<u8, SENSE_BYTES>,
}

impl Answer {
    /// An answer without SCSI status; `residual` bytes of data were not transferred.
    pub(super) fn without_status(response: Response, residual: u32) -> Self {
        let header = ResponseHeader { residual: residual.into(), response, ..ResponseHeader::default() };
        Self { header, sense: heapless::Vec::new() }
    }

    /// The end of a command.
    pub(super) fn of(ending: Ending, format: SenseFormat, residual: u32) -> Self {
        let sense = ending.sense.map(|sense| sense.to_bytes(format));
        Self::with_status(ending.status, sense.as_deref().unwrap_or_default(), residual)
    }

    /// A status with sense data, which is cut if it is too long.
    pub(super) fn with_status(status: ScsiStatus, sense: &[u8], residual: u32) -> Self {
        let sense: heapless::Vec<u8, SENSE_BYTES> = sense.iter().copied().take(SENSE_BYTES).collect();
        let header = ResponseHeader {
            sense_bytes: u32::try_from(sense.len()).unwrap_or(0).into(),
            residual: residual.into(),
            status: status.0,
            ..ResponseHeader::default()
        };
        Self { header, sense }
    }

    /// Whether data was transferred, so that its length counts.
    pub(super) fn has_data(&self) -> bool {
        self.header.response == Response::OK && self.header.status == ScsiStatus::GOOD.0
    }

    /// Length in the used ring: of what is written, or of all up to the end of the data that is behind the response.
    pub(super) fn written(&self, data_bytes: u32) -> u32 {
        let sense_bytes = u32::try_from(self.sense.len()).unwrap_or(0);
        if data_bytes > 0 {
            RESPONSE_LEN.saturating_add(data_bytes)
        } else {
            HEADER_BYTES.saturating_add(sense_bytes)
        }
    }

    /// Writes the answer into spans.
    pub(super) fn write(&self, spans: &[Span]) {
        write_all(spans, self.header.as_bytes().iter().chain(&self.sense).copied());
    }
}

/// Writes bytes into spans, as many as have room.
fn write_all(spans: &[Span], bytes: impl Iterator<Item = u8>) {
    let all: heapless::Vec<u8, RESPONSE_BYTES> = bytes.take(RESPONSE_BYTES).collect();
    let mut left = all.as_slice();
    for span in spans {
        left = left.get(span.write(left)..).unwrap_or_default();
    }
}
