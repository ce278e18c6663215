//! One queue's part of an in-flight region, and its fields.

#![expect(unsafe_code, reason = "spans of shared memory are addresses")]

use super::error::InflightError;
use crate::chain::Head;
use luge_memory::{PeerMemory, SharedArray, Span};
use luge_spec::vhost_user::{DescriptorState, InflightHeader, inflight_bytes};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use zerocopy::transmute;

/// Half-words of the header.
const LAST_BATCH_HEAD: u32 = 6;
const USED_IDX: u32 = 7;

/// Bytes of the header.
const HEADER_BYTES: u32 = 16;

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

/// The words of a queue's part. Addresses, like the span they were made from.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    header: SharedArray<u64>,
    /// The header as half-words.
    halves: SharedArray<u16>,
    states: SharedArray<[u64; 2]>,
    pub(super) desc_num: u16,
}

impl Fields {
    fn new(span: Span, desc_num: u16) -> Option<Self> {
        let (header, states) = span.split_at(HEADER_BYTES);
        let halves = SharedArray::new(header)?;
        Some(Self { header: SharedArray::new(header)?, halves, states: SharedArray::new(states)?, desc_num })
    }

    /// A copy of the header, of which each word is loaded once.
    pub(super) fn header(&self) -> InflightHeader {
        let words = [0, 1].map(|word| self.header.load(word, Relaxed));
        transmute!(words)
    }

    /// Writes the header: its first word, which is zero, and then the one that has the version.
    pub(super) fn set_header(&self, header: InflightHeader) {
        let words: [u64; 2] = transmute!(header);
        for (word, value) in (0..).zip(words) {
            self.header.store(word, value, Release);
        }
    }

    /// A copy of a chain's state, of which each word is loaded once.
    pub(super) fn state(&self, head: Head) -> DescriptorState {
        let words = self.states.load(head.0.into(), Relaxed);
        transmute!(words)
    }

    /// Writes the first word of a chain's state.
    #[inline]
    fn set(&self, head: Head, inflight: u8, next: Head) {
        let state = DescriptorState { inflight, next: next.0.into(), ..DescriptorState::default() };
        let [word, _]: [u64; 2] = transmute!(state);
        self.states.set_word::<0>(head.0.into(), word, Release);
    }

    /// Marks a chain as in flight.
    #[inline]
    pub(super) fn mark(&self, head: Head, counter: u64) {
        self.states.set_word::<1>(head.0.into(), counter.to_le(), Relaxed);
        // A chain that is in flight has its counter.
        self.set(head, 1, Head(0));
    }

    /// Links a chain that is in flight to the one completed before it.
    #[inline]
    pub(super) fn link(&self, head: Head, before: Head) {
        self.set(head, 1, before);
    }

    /// Names the chain that was completed last, when all links are there.
    #[inline]
    pub(super) fn set_last(&self, head: Head) {
        self.halves.store(LAST_BATCH_HEAD, head.0.to_le(), Release);
    }

    /// Marks a chain as not in flight. Its link stays.
    #[inline]
    pub(super) fn unmark(&self, head: Head, before: Head) {
        self.set(head, 0, before);
    }

    /// Notes the index of the used ring whose chains are all marked.
    #[inline]
    pub(super) fn set_used(&self, index: u16) {
        self.halves.store(USED_IDX, index.to_le(), Release);
    }
}
