//! Arrays of words that others read and write at the same time: rings and queues.

#![expect(unsafe_code, reason = "shared memory is reached through raw pointers")]

use crate::Span;
use crate::span::{prefetch_to_read, prefetch_to_write};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

mod sealed {
    pub trait Sealed {}
}

/// A word that is loaded and stored whole (`u8`, `u16`, `u32`, `u64`), or an array of words, which
/// is loaded and stored word by word.
pub trait Word: Copy + sealed::Sealed {
    /// Loads a word.
    ///
    /// # Safety
    /// `from` is aligned, inside a live mapping.
    unsafe fn load(from: NonNull<Self>, order: Ordering) -> Self;

    /// Stores a word.
    ///
    /// # Safety
    /// `to` is aligned, inside a live, writable mapping.
    unsafe fn store(to: NonNull<Self>, value: Self, order: Ordering);
}

impl<W: Word, const N: usize> sealed::Sealed for [W; N] {}

impl<W: Word, const N: usize> Word for [W; N] {
    #[inline]
    unsafe fn load(from: NonNull<Self>, order: Ordering) -> Self {
        let first: NonNull<W> = from.cast();
        std::array::from_fn(|at| {
            // SAFETY: inside the array, which the caller says is there.
            let word = unsafe { first.add(at) };
            // SAFETY: as there, and aligned as the array is.
            unsafe { W::load(word, order) }
        })
    }

    #[inline]
    unsafe fn store(to: NonNull<Self>, value: Self, order: Ordering) {
        let first: NonNull<W> = to.cast();
        for (at, word) in value.into_iter().enumerate() {
            // SAFETY: as in `load`.
            let to = unsafe { first.add(at) };
            // SAFETY: as in `load`.
            unsafe { W::store(to, word, order) };
        }
    }
}

macro_rules! word {
    ($($word:ty, $atomic:ty);*) => {$(
        impl sealed::Sealed for $word {}
        impl Word for $word {
            #[inline]
            unsafe fn load(from: NonNull<Self>, order: Ordering) -> Self {
                // SAFETY: the caller promises alignment and life; all accesses are atomic.
                unsafe { <$atomic>::from_ptr(from.as_ptr()) }.load(order)
            }

            #[inline]
            unsafe fn store(to: NonNull<Self>, value: Self, order: Ordering) {
                // SAFETY: as above.
                unsafe { <$atomic>::from_ptr(to.as_ptr()) }.store(value, order);
            }
        }
    )*};
}

word!(u8, AtomicU8; u16, AtomicU16; u32, AtomicU32; u64, AtomicU64);

/// `len` words of shared memory. Every access is one load or store of one word.
///
/// Made from a [`Span`], and like a span only an address: whoever made the span keeps the mapping.
#[derive(Clone, Copy, Debug)]
pub struct SharedArray<T: Word> {
    first: NonNull<T>,
    len: u32,
    words: PhantomData<T>,
}

// SAFETY: an address; the words behind it are only accessed atomically.
unsafe impl<T: Word> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Word> Sync for SharedArray<T> {}

impl<T: Word> SharedArray<T> {
    /// The whole words of a span, or none if it does not start at a multiple of the word's size.
    #[must_use]
    pub fn new(span: Span) -> Option<Self> {
        let first: NonNull<T> = span.host().cast();
        let len = span.len() / u32::try_from(size_of::<T>()).ok()?;
        first.is_aligned().then_some(Self { first, len, words: PhantomData })
    }

    /// Number of words.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no words.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `len` words from `index`; none if they are not all in the array.
    #[must_use]
    pub fn slice(&self, index: u32, len: u32) -> Option<Self> {
        let end = index.checked_add(len)?;
        let first = self.word(index).filter(|_| end <= self.len)?;
        Some(Self { first, len, words: PhantomData })
    }

    /// Loads word `index`.
    ///
    /// # Panics
    /// If `index` is past the end: the caller masks or checks what a guest says.
    #[inline]
    #[must_use]
    pub fn load(&self, index: u32, order: Ordering) -> T {
        self.get(index, order).unwrap_or_else(|| outside(index, self.len))
    }

    /// Loads word `index`; none if that is past the end.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u32, order: Ordering) -> Option<T> {
        let word = self.word(index)?;
        // SAFETY: `word` is inside the array, which is aligned and mapped.
        Some(unsafe { T::load(word, order) })
    }

    /// Stores word `index`.
    ///
    /// # Panics
    /// If `index` is past the end.
    #[inline]
    pub fn store(&self, index: u32, value: T, order: Ordering) {
        let word = self.word(index).unwrap_or_else(|| outside(index, self.len));
        // SAFETY: as in `get`.
        unsafe { T::store(word, value, order) };
    }

    /// Prefetches the cache line of word `index` for reading. An index past the end does no harm.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        prefetch_to_read(self.line(index));
    }

    /// Prefetches the cache line of word `index` for writing. An index past the end does no harm.
    #[inline]
    pub fn prefetch_to_write(&self, index: u32) {
        prefetch_to_write(self.line(index));
    }

    /// Address of word `index`, perhaps past the end: for prefetches only.
    #[inline]
    fn line(&self, index: u32) -> *const u8 {
        self.first.as_ptr().wrapping_add(index as usize).cast()
    }

    /// Address of the first word.
    #[inline]
    pub(crate) const fn first(&self) -> NonNull<T> {
        self.first
    }

    #[inline]
    fn word(&self, index: u32) -> Option<NonNull<T>> {
        // SAFETY: inside the array, by the check.
        (index < self.len).then(|| unsafe { self.first.add(index as usize) })
    }
}

impl SharedArray<u32> {
    /// Stores word `index`, and returns its value before; none if it is past the end.
    #[must_use]
    pub fn swap(&self, index: u32, value: u32, order: Ordering) -> Option<u32> {
        let word = self.word(index)?;
        // SAFETY: `word` is inside the array, which is aligned and mapped; all accesses are atomic.
        Some(unsafe { AtomicU32::from_ptr(word.as_ptr()) }.swap(value, order))
    }
}

impl<W: Word, const N: usize> SharedArray<[W; N]> {
    /// The elements with these indices, as far as they are in the array.
    #[inline]
    pub fn elements(
        &self,
        indices: Range<u32>,
    ) -> impl ExactSizeIterator<Item = SharedWords<W, N>> + use<W, N> {
        let (first, end) = (self.first, indices.end.min(self.len) as usize);
        ((indices.start as usize).min(end)..end).map(move |index| {
            // SAFETY: inside the array.
            SharedWords(unsafe { first.add(index) })
        })
    }

    /// The element with that index; none if it is past the end.
    #[inline]
    #[must_use]
    pub fn element(&self, index: u32) -> Option<SharedWords<W, N>> {
        Some(SharedWords(self.word(index)?))
    }

    /// Loads word `WORD` of array `index`; none if that is past the end.
    #[inline]
    #[must_use]
    pub fn get_word<const WORD: usize>(&self, index: u32) -> Option<W> {
        const { assert!(WORD < N) };
        let first: NonNull<W> = self.word(index)?.cast();
        // SAFETY: inside the array at `index`.
        let word = unsafe { first.add(WORD) };
        // SAFETY: as in `get`.
        Some(unsafe { W::load(word, Ordering::Relaxed) })
    }

    /// Stores word `WORD` of array `index`; nothing past the end.
    #[inline]
    pub fn set_word<const WORD: usize>(&self, index: u32, value: W, order: Ordering) {
        const { assert!(WORD < N) };
        let Some(array) = self.word(index) else { return };
        let first: NonNull<W> = array.cast();
        // SAFETY: inside the array at `index`.
        let word = unsafe { first.add(WORD) };
        // SAFETY: as in `get`.
        unsafe { W::store(word, value, order) };
    }
}

/// An element of a [`SharedArray`] that has several words. Like the array, only an address.
#[derive(Clone, Copy, Debug)]
pub struct SharedWords<W: Word, const N: usize>(NonNull<[W; N]>);

impl<W: Word, const N: usize> SharedWords<W, N> {
    /// Loads word `WORD`.
    #[inline]
    #[must_use]
    pub fn word<const WORD: usize>(self) -> W {
        const { assert!(WORD < N) };
        let first: NonNull<W> = self.0.cast();
        // SAFETY: inside the element.
        let word = unsafe { first.add(WORD) };
        // SAFETY: inside an array, which is aligned and mapped.
        unsafe { W::load(word, Ordering::Relaxed) }
    }

    /// Loads all words, one by one.
    #[inline]
    #[must_use]
    pub fn load(self) -> [W; N] {
        // SAFETY: as in `word`.
        unsafe { <[W; N]>::load(self.0, Ordering::Relaxed) }
    }

    /// Stores all words, one by one, in order.
    #[inline]
    pub fn store(self, words: [W; N], order: Ordering) {
        // SAFETY: as in `word`.
        unsafe { <[W; N]>::store(self.0, words, order) };
    }
}

/// Panics. Takes its arguments by value: a message made at the check would keep them in memory.
#[cold]
#[inline(never)]
fn outside(index: u32, len: u32) -> ! {
    panic!("word {index} of a shared array of {len}");
}
