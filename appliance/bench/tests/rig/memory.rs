//! The client's memory, as the server sees it.

#![expect(unsafe_code, reason = "spans are addresses in the mapping")]

use luge_memory::{Iova, Mapping, Span};
use std::fs::File;

/// One region.
pub struct Memory {
    guest: u64,
    mapping: Mapping,
}

impl Memory {
    /// From the body of `SET_MEM_TABLE`, and its file.
    pub fn map(number: impl Fn(usize) -> u64, file: &File) -> Self {
        let (guest, len, offset) = (number(8), number(16), number(32));
        Self { guest, mapping: Mapping::new(file, offset, len).unwrap() }
    }

    /// The bytes at a guest address.
    pub fn span(&self, at: u64, len: u32) -> Span {
        let offset = at.checked_sub(self.guest).unwrap();
        assert!(offset + u64::from(len) <= self.mapping.len(), "outside of the memory");
        // SAFETY: inside the mapping, as asserted.
        let host = unsafe { self.mapping.host().add(usize::try_from(offset).unwrap()) };
        // SAFETY: the server keeps the memory until it has ended.
        unsafe { Span::new(host, Iova(0), len) }
    }
}
