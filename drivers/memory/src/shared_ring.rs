//! Rings of words that others read and write at the same time.

#![expect(unsafe_code, reason = "shared memory is reached through raw pointers")]

use crate::{SharedArray, Word};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

/// A shared array whose length is a power of two and whose indices run freely: each stands for the word at its remainder.
/// So no index is past the end, and none is checked.
#[derive(Clone, Copy, Debug)]
pub struct SharedRing<T: Word> {
    words: SharedArray<T>,
    /// Length less one.
    mask: u32,
}

impl<T: Word> SharedRing<T> {
    /// A ring over all words of an array; none if their number is no power of two.
    #[must_use]
    pub fn new(words: SharedArray<T>) -> Option<Self> {
        let len = words.len();
        len.is_power_of_two().then(|| Self { words, mask: len - 1 })
    }

    /// Loads the word of an index.
    #[inline]
    #[must_use]
    pub fn load(&self, index: u32, order: Ordering) -> T {
        // SAFETY: inside the array, which is aligned and mapped.
        unsafe { T::load(self.word(index), order) }
    }

    /// Stores the word of an index.
    #[inline]
    pub fn store(&self, index: u32, value: T, order: Ordering) {
        // SAFETY: as in `load`.
        unsafe { T::store(self.word(index), value, order) };
    }

    /// Prefetches the cache line of the word for reading.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        self.words.prefetch(index & self.mask);
    }

    /// Prefetches the cache line of the word for writing.
    #[inline]
    pub fn prefetch_to_write(&self, index: u32) {
        self.words.prefetch_to_write(index & self.mask);
    }

    #[inline]
    fn word(&self, index: u32) -> NonNull<T> {
        // SAFETY: the remainder is less than the length.
        unsafe { self.words.first().add((index & self.mask) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Iova, Span};
    use std::sync::atomic::Ordering::Relaxed;

    fn array(words: &mut [u16]) -> SharedArray<u16> {
        let len = u32::try_from(size_of_val(words)).unwrap();
        // SAFETY: the tests below use the array only while `words` lives.
        SharedArray::new(unsafe { Span::new(NonNull::from(words).cast(), Iova(0), len) }).unwrap()
    }

    #[test]
    fn an_index_past_the_end_is_one_from_the_start() {
        let mut words = [0; 8];
        let ring = SharedRing::new(array(&mut words)).unwrap();
        ring.store(u32::MAX, 5, Relaxed);
        ring.store(9, 6, Relaxed);
        assert_eq!(ring.load(7, Relaxed), 5);
        assert_eq!(ring.load(17, Relaxed), 6);
        assert_eq!(words, [0, 6, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn an_array_whose_length_is_no_power_of_two_is_no_ring() {
        for (len, is_ring) in [(0, false), (1, true), (6, false), (8, true)] {
            let mut words = [0; 8];
            assert_eq!(SharedRing::new(array(&mut words[..len])).is_some(), is_ring, "{len} words");
        }
    }
}
