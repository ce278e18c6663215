//! Shadow doorbells: doorbell words and event indices in guest memory. Base 2.0, clause 5.8 (Doorbell Buffer Config).

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use super::doorbell::Doorbell;
use luge_memory::{GuestAddress, GuestMemory, SharedArray, Use};
use std::sync::Arc;

/// Addresses of the two pages of Doorbell Buffer Config.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShadowLayout {
    /// PRP1: the doorbells, laid out as the registers are. A memory page.
    pub doorbells: GuestAddress,
    /// PRP2: the event indices, laid out likewise. A memory page.
    pub events: GuestAddress,
}

/// The two pages, found in guest memory. Clones are the same.
#[derive(Clone)]
pub struct ShadowDoorbells(Arc<Pages>);

struct Pages {
    doorbells: SharedArray<u32>,
    events: SharedArray<u32>,
    /// Keeps the pages mapped.
    _memory: Arc<GuestMemory>,
}

impl ShadowDoorbells {
    /// Finds the pages; none if they are not where the host says, or do not start with a memory page.
    #[must_use]
    pub fn find(layout: ShadowLayout, page_bytes: u32, memory: &Arc<GuestMemory>) -> Option<Self> {
        let mut lookup = memory.lookup();
        let mut page = |at: GuestAddress| {
            let aligned = at.0.is_multiple_of(page_bytes.into());
            // SAFETY: the pages keep the memory beside them.
            let span = unsafe { lookup.whole_for(Use::Write, at, page_bytes) };
            SharedArray::new(span.filter(|_| aligned)?)
        };
        let (doorbells, events) = (page(layout.doorbells)?, page(layout.events)?);
        Some(Self(Arc::new(Pages { doorbells, events, _memory: memory.clone() })))
    }

    /// The doorbell whose register is at `offset` bytes from the first; none beyond the page.
    pub(crate) fn at(&self, offset: u64) -> Option<Doorbell> {
        let index = u32::try_from(offset / 4).ok()?;
        Some(Doorbell::new(self.0.doorbells.slice(index, 1)?, self.0.events.slice(index, 1)))
    }
}
