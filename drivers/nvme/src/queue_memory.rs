//! Memory of a queue pair: its rings, and 4 KiB pages that its commands use.
//!
//! Invariants
//! - The memory is released only after the controller has deleted the queue pair, or was proven not to access
//!   memory. `control`, its owner, ensures that.
//!
//! Not here: the content of the rings (`ring`), the use of the pages (`prp`, `bounce`, `admin`).

#![expect(unsafe_code, reason = "spans of DMA memory are addresses")]

use crate::registers::PAGE_BYTES;
use luge_memory::{DmaMemory, DmaSpace, MemoryError, NumaNode, PageSize, Span};
use std::sync::Arc;

/// Size and kind of the memory of a queue pair.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Number of entries of each ring.
    pub entries: u16,
    /// Number of 4 KiB pages besides the rings.
    pub pages: u32,
    pub kind: PageSize,
    pub node: Option<NumaNode>,
}

impl Layout {
    fn submission_bytes(self) -> u32 {
        whole_pages(u32::from(self.entries).wrapping_mul(64))
    }

    fn completion_bytes(self) -> u32 {
        whole_pages(u32::from(self.entries).wrapping_mul(16))
    }

    fn pages_offset(self) -> u64 {
        u64::from(self.submission_bytes()).wrapping_add(u64::from(self.completion_bytes()))
    }

    fn bytes(self) -> u64 {
        self.pages_offset().wrapping_add(u64::from(self.pages).wrapping_mul(u64::from(PAGE_BYTES)))
    }
}

fn whole_pages(bytes: u32) -> u32 {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// Memory of a queue pair. Copies of its spans are valid as long as it lives.
pub(crate) struct QueueMemory {
    memory: DmaMemory,
    layout: Layout,
}

impl QueueMemory {
    pub(crate) fn allocate(space: &Arc<DmaSpace>, layout: Layout) -> Result<Self, MemoryError> {
        let memory = DmaMemory::allocate(space, layout.bytes(), layout.kind, layout.node)?;
        Ok(Self { memory, layout })
    }

    pub(crate) fn entries(&self) -> u16 {
        self.layout.entries
    }

    /// Submission ring.
    pub(crate) fn submissions(&self) -> Span {
        self.span(0, self.layout.submission_bytes())
    }

    /// Completion ring.
    pub(crate) fn completions(&self) -> Span {
        self.span(u64::from(self.layout.submission_bytes()), self.layout.completion_bytes())
    }

    /// Pages in one piece. It is cut off at 4 GiB, which no queue pair reaches.
    pub(crate) fn pages(&self) -> Span {
        self.span(self.layout.pages_offset(), self.layout.pages.saturating_mul(PAGE_BYTES))
    }

    fn span(&self, offset: u64, len: u32) -> Span {
        // SAFETY: rings and slots are kept together with an `Arc` of this memory, see the invariant.
        let span = unsafe { self.memory.span(offset, len) };
        span.expect("the layout's parts are inside of the memory that it sized")
    }
}
