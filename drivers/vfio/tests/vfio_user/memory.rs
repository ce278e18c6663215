//! Bytes of shared memory, as both sides see them.

#![expect(unsafe_code, reason = "spans of shared memory are addresses")]

use luge_memory::{DmaMemory, Iova, Mapping, Span};

/// `len` bytes of a mapping from `at`.
pub fn of_mapping(memory: &Mapping, at: u64, len: u32) -> Span {
    assert!(at + u64::from(len) <= memory.len());
    // SAFETY: inside of the mapping, which the test keeps while it uses the span.
    unsafe { Span::new(memory.host_at(at).unwrap(), Iova(0), len) }
}

/// `len` bytes of memory for SSDs from `at`.
pub fn of_dma(memory: &DmaMemory, at: u64, len: u32) -> Span {
    // SAFETY: the test keeps the memory while it uses the span.
    unsafe { memory.span(at, len) }.unwrap()
}
