//! Bit bucket: memory for data of reads that the host does not want.

#![expect(unsafe_code, reason = "spans of memory are addresses")]

use luge_memory::{DmaMemory, DmaSpace, MemoryError, PageSize, Span};
use std::sync::Arc;

/// Length of the memory in bytes: longer buckets are this memory again and again.
const BYTES: u32 = 64 << 10;

/// Memory that devices write and nobody reads. Clones are the same.
#[derive(Clone)]
pub struct BitBucket(Arc<DmaMemory>);

impl BitBucket {
    /// Makes memory that the SSDs reach.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn new(space: &Arc<DmaSpace>) -> Result<Self, MemoryError> {
        Ok(Self(Arc::new(DmaMemory::allocate(space, BYTES.into(), PageSize::Base, None)?)))
    }

    /// Up to `len` bytes of it.
    pub(crate) fn span(&self, len: u32) -> Option<Span> {
        // SAFETY: the session keeps the memory until its requests have ended.
        unsafe { self.0.span(0, len.min(BYTES)) }
    }
}
