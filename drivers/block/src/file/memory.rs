//! The memory of one request, in the form that the kernel takes: a list of `iovec`.

#![expect(unsafe_code, reason = "addresses are given to the kernel")]

use super::target::{Alignment, SPANS_MAX};
use heapless::Vec;
use luge_memory::{Iova, Span};
use std::ptr::NonNull;

/// A piece of memory, as `readv` and `writev` take it.
#[repr(transparent)]
struct Vector(libc::iovec);

// SAFETY: an address and a length; what is there is only accessed as raw memory.
unsafe impl Send for Vector {}

impl Vector {
    const fn new(span: Span) -> Self {
        Self(libc::iovec { iov_base: span.host().as_ptr().cast(), iov_len: span.len() as usize })
    }

    fn span(&self) -> Span {
        // SAFETY: it was made from a span, whose address was not null, and only moved on inside it.
        let first = unsafe { NonNull::new_unchecked(self.0.iov_base.cast()) };
        let len = u32::try_from(self.0.iov_len).unwrap_or(0);
        // SAFETY: a part of the span of the request, which is still in flight.
        unsafe { Span::new(first, Iova(0), len) }
    }
}

/// Memory of a request that is left to move.
#[derive(Default)]
pub(super) struct Memory {
    list: Vec<Vector, { SPANS_MAX as usize }>,
    /// Number of entries of the list that have been moved.
    moved: usize,
}

impl Memory {
    /// Forgets the last request's memory and takes that of another. It has at most `SPANS_MAX` spans.
    pub fn take(&mut self, data: &[Span]) {
        self.list.clear();
        self.list.extend(data.iter().copied().map(Vector::new));
        self.moved = 0;
    }

    /// Address of the list for the kernel. The list must not change while the kernel has it.
    pub fn as_ptr(&self) -> *const libc::iovec {
        self.rest().as_ptr().cast()
    }

    /// Length of the list.
    pub fn len(&self) -> u32 {
        u32::try_from(self.rest().len()).unwrap_or(0)
    }

    /// Memory that is left, if it is in one piece: the kernel then needs no list.
    pub fn single(&self) -> Option<Span> {
        match self.rest() {
            [vector] => Some(vector.span()),
            _ => None,
        }
    }

    /// Whether direct I/O takes it as it is.
    pub fn is_aligned(&self, to: Alignment) -> bool {
        self.rest().iter().map(Vector::span).all(|span| {
            span.host().addr().get().is_multiple_of(to.memory_bytes as usize)
                && span.len().is_multiple_of(to.offset_bytes)
        })
    }

    /// The first `bytes` bytes have been moved.
    pub fn advance(&mut self, mut bytes: u32) {
        while bytes > 0
            && let Some(vector) = self.list.get_mut(self.moved)
        {
            let (here, rest) = vector.span().split_at(bytes);
            bytes -= here.len();
            *vector = Vector::new(rest);
            self.moved += usize::from(rest.is_empty());
        }
    }

    /// Fills `buffer` from the first bytes.
    pub fn copy_to(&self, mut buffer: Span) {
        for from in self.rest().iter().map(Vector::span) {
            let (here, rest) = buffer.split_at(from.len());
            from.copy_to(&here);
            buffer = rest;
        }
    }

    /// Fills the first bytes from `buffer`.
    pub fn copy_from(&self, mut buffer: Span) {
        for to in self.rest().iter().map(Vector::span) {
            let (here, rest) = buffer.split_at(to.len());
            here.copy_to(&to);
            buffer = rest;
        }
    }

    fn rest(&self) -> &[Vector] {
        self.list.get(self.moved..).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(bytes: &mut [u8]) -> Span {
        let len = u32::try_from(bytes.len()).unwrap();
        // SAFETY: the tests use the span only while `bytes` lives.
        unsafe { Span::new(NonNull::new(bytes.as_mut_ptr()).unwrap(), Iova(0), len) }
    }

    #[test]
    fn what_has_been_moved_is_not_moved_again() {
        let (mut a, mut b) = ([1, 2, 3], [4, 5, 6, 7]);
        let mut memory = Memory::default();
        memory.take(&[span(&mut a), span(&mut b)]);
        let mut buffer = [0; 3];
        for (moved, left, expected) in [(0, 2, [1, 2, 3]), (1, 2, [2, 3, 4]), (2, 1, [4, 5, 6])] {
            memory.advance(moved);
            memory.copy_to(span(&mut buffer));
            assert_eq!(memory.len(), left);
            assert_eq!(buffer, expected);
        }
        memory.copy_from(span(&mut [9, 9]));
        memory.advance(4);
        assert_eq!(memory.len(), 0);
        assert_eq!(a, [1, 2, 3]);
        assert_eq!(b, [9, 9, 6, 7]);
    }

    #[test]
    fn alignment_is_of_every_start_and_every_length() {
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        let mut page = Page([0; 4096]);
        let whole = span(&mut page.0);
        let aligned = |offset, len| {
            let mut memory = Memory::default();
            memory.take(&[whole, whole.slice(offset, len).unwrap()]);
            memory.is_aligned(Alignment { memory_bytes: 4, offset_bytes: 512 })
        };
        assert!(aligned(0, 512) && aligned(4, 1024));
        assert!(!aligned(2, 512) && !aligned(0, 513) && !aligned(0, 256));
    }
}
