//! One queue's part of an in-flight region, and its fields.

#![expect(unsafe_code, reason = "spans of shared memory are addresses")]

use super::recovery::InflightError;
use crate::batch::Head;
use luge_memory::{PeerMemory, SharedArray, Span};
use luge_spec::vhost_user::{DescriptorState, InflightHeader, inflight_bytes};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use zerocopy::transmute;

/// Half-words of the header.
const LAST_BATCH_HEAD: u32 = 6;
const USED_IDX: u32 = 7;

/// Half-word of a descriptor's state where `next` is, and word where `counter` is.
const NEXT: u32 = 3;
const COUNTER: u32 = 1;

/// Bytes of the header, and of a descriptor's state.
const HEADER_BYTES: u32 = 16;
const STATE_BYTES: u32 = 16;

/// One queue's part of an in-flight region.
#[derive(Clone)]
pub struct InflightRegion {
    pub(super) fields: Fields,
    // The fields are in it.
    _memory: Arc<PeerMemory>,
}

impl InflightRegion {
    /// The part of queue `index` in a region for queues of `desc_num` descriptors each.
    ///
    /// # Errors
    /// [`InflightError::Shape`]: it is not inside `memory`, or not aligned to its words.
    pub fn new(memory: &Arc<PeerMemory>, index: u16, desc_num: u16) -> Result<Self, InflightError> {
        let bytes = inflight_bytes(desc_num);
        // At most 65535 times less than 2 MiB: it cannot wrap.
        let offset = bytes.wrapping_mul(index.into());
        let len = u32::try_from(bytes).map_err(|_| InflightError::Shape)?;
        // SAFETY: the memory is kept beside the fields.
        let span = unsafe { memory.span(offset, len) };
        let fields = span.and_then(|span| Fields::new(span, desc_num)).ok_or(InflightError::Shape)?;
        Ok(Self { fields, _memory: memory.clone() })
    }
}

/// The fields of a queue's part: the same bytes in words of each size. Addresses, like the span they
/// were made from.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    bytes: SharedArray<u8>,
    halves: SharedArray<u16>,
    words: SharedArray<u64>,
    pub(super) desc_num: u16,
}

impl Fields {
    fn new(span: Span, desc_num: u16) -> Option<Self> {
        let (bytes, halves) = (SharedArray::new(span)?, SharedArray::new(span)?);
        Some(Self { bytes, halves, words: SharedArray::new(span)?, desc_num })
    }

    /// A copy of the header, of which each word is loaded once.
    pub(super) fn header(&self) -> InflightHeader {
        let words = [0, 1].map(|word| self.words.load(word, Relaxed));
        transmute!(words)
    }

    /// Writes the header: its first word, which is zero, and then the one that has the version.
    pub(super) fn set_header(&self, header: InflightHeader) {
        let words: [u64; 2] = transmute!(header);
        for (word, value) in (0..).zip(words) {
            self.words.store(word, value, Release);
        }
    }

    /// A copy of a chain's state, of which each word is loaded once.
    pub(super) fn state(&self, head: Head) -> DescriptorState {
        let first = Self::at(head) / 8;
        let words = [first, first.wrapping_add(1)].map(|word| self.words.load(word, Relaxed));
        transmute!(words)
    }

    /// The first byte of a chain's state.
    #[inline]
    fn at(head: Head) -> u32 {
        u32::from(head.0).wrapping_mul(STATE_BYTES).wrapping_add(HEADER_BYTES)
    }

    /// Marks a chain as in flight.
    #[inline]
    pub(super) fn begin(&self, head: Head, counter: u64) {
        let at = Self::at(head);
        self.words.store((at / 8).wrapping_add(COUNTER), counter.to_le(), Relaxed);
        // Release: a chain that is in flight has its counter.
        self.bytes.store(at, 1, Release);
    }

    /// Links a chain that is in flight to the one completed before it.
    #[inline]
    pub(super) fn link(&self, head: Head, before: Head) {
        self.halves.store((Self::at(head) / 2).wrapping_add(NEXT), before.0.to_le(), Relaxed);
    }

    /// Names the chain that was completed last.
    #[inline]
    pub(super) fn set_last(&self, head: Head) {
        // Release: the links are there before the chain that they begin with.
        self.halves.store(LAST_BATCH_HEAD, head.0.to_le(), Release);
    }

    /// Marks a chain as not in flight.
    #[inline]
    pub(super) fn end(&self, head: Head) {
        // Release: after the index of the used ring.
        self.bytes.store(Self::at(head), 0, Release);
    }

    /// Notes the index of the used ring whose chains are all marked.
    #[inline]
    pub(super) fn set_used(&self, index: u16) {
        // Release: after the marks.
        self.halves.store(USED_IDX, index.to_le(), Release);
    }
}
