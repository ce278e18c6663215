//! A checked piece of shared memory.

#![expect(unsafe_code, reason = "shared memory is reached through raw pointers")]

use crate::Iova;
use crate::copy::{LINE_BYTES, copy};
use std::ptr::NonNull;

/// Bytes of shared memory that are copied out at once to be compared.
const COMPARED_BYTES: usize = 256;

/// A checked piece of shared memory: its address in this process, its address for the SSDs,
/// and its length in bytes.
///
/// Whoever makes a span has checked that it lies inside one mapping and keeps that
/// mapping until every request with the span has completed. Others may write the
/// memory at any time, so bytes are only copied in or out.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    host: NonNull<u8>,
    iova: Iova,
    len: u32,
}

// SAFETY: a span is an address; the bytes behind it are only accessed as raw memory.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Default for Span {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Span {
    /// A span without bytes, of no address.
    pub const EMPTY: Self = Self { host: NonNull::dangling(), iova: Iova(0), len: 0 };

    /// Address for SSDs of spans that only the CPU uses: no IOMMU maps it.
    const NOT_FOR_SSDS: Iova = Iova(u64::MAX);

    /// A span over `len` bytes at `host`, which the SSDs see at `iova`.
    ///
    /// # Safety
    /// `host..host + len` is inside one live mapping, which outlives every use of the span.
    #[inline]
    #[must_use]
    pub const unsafe fn new(host: NonNull<u8>, iova: Iova, len: u32) -> Self {
        Self { host, iova, len }
    }

    /// A span of a length that the compiler knows; none if this one is of another.
    #[inline]
    #[must_use]
    pub fn fixed<const N: usize>(&self) -> Option<FixedSpan<N>> {
        (self.len == FixedSpan::<N>::LEN).then_some(FixedSpan { host: self.host })
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no byte in it.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first byte for the SSDs.
    #[inline]
    #[must_use]
    pub const fn iova(&self) -> Iova {
        self.iova
    }

    /// Address of the first byte in this process, for system calls that take an address.
    #[inline]
    #[must_use]
    pub const fn host(&self) -> NonNull<u8> {
        self.host
    }

    /// The first `at` bytes and the rest; `at` is cut to the length.
    #[inline]
    #[must_use]
    pub fn split_at(self, at: u32) -> (Self, Self) {
        let at = at.min(self.len);
        // SAFETY: `at` is at most the length, so the pointer stays inside the mapping or one past it.
        let rest = unsafe { self.host.add(at as usize) };
        let first = Self { len: at, ..self };
        (first, Self { host: rest, iova: Iova(self.iova.0.wrapping_add(u64::from(at))), len: self.len - at })
    }

    /// `len` bytes from `offset`, or none if that leaves the span.
    #[inline]
    #[must_use]
    pub fn slice(self, offset: u32, len: u32) -> Option<Self> {
        let rest = (offset <= self.len).then(|| self.split_at(offset).1)?;
        (len <= rest.len).then(|| rest.split_at(len).0)
    }

    /// Joins this span and `next`; none if `next` does not begin where this one ends.
    #[must_use]
    pub fn joined(&self, next: &Self) -> Option<Self> {
        let len = self.len.checked_add(next.len)?;
        let (_, end) = self.split_at(self.len);
        (end.host == next.host && end.iova == next.iova).then_some(Self { len, ..*self })
    }

    /// Copies the span's first bytes into `to`; returns how many: the shorter of the two lengths.
    pub fn read(&self, to: &mut [u8]) -> usize {
        let len = to.len().min(self.len as usize);
        // SAFETY: both sides hold `len` bytes; `to` is ours alone, so they do not overlap.
        unsafe { self.host.as_ptr().copy_to_nonoverlapping(to.as_mut_ptr(), len) };
        loaded_once();
        len
    }

    /// A copy of the span's first `N` bytes; none if there are fewer. A copy of a few bytes is a
    /// load or two, where the length is known to the compiler.
    #[inline]
    #[must_use]
    pub fn first<const N: usize>(&self) -> Option<[u8; N]> {
        (N <= self.len as usize).then(|| FixedSpan { host: self.host }.load())
    }

    /// First byte, if there is one.
    #[inline]
    #[must_use]
    pub fn first_byte(&self) -> Option<SharedByte> {
        (self.len > 0).then_some(SharedByte(self.host))
    }

    /// Copies `from` over the span's first bytes; returns how many: the shorter of the two lengths.
    pub fn write(&self, from: &[u8]) -> usize {
        let len = from.len().min(self.len as usize);
        // SAFETY: as in `read`.
        unsafe { self.host.as_ptr().copy_from_nonoverlapping(from.as_ptr(), len) };
        len
    }

    /// Total length of several spans in bytes.
    #[inline]
    #[must_use]
    pub fn total(spans: &[Self]) -> u64 {
        spans.iter().map(|span| u64::from(span.len)).sum()
    }

    /// Copies to another span; returns how many bytes: the shorter of the two lengths.
    ///
    /// The addresses may overlap (a guest may say so): the bytes are then those of a `memmove`.
    pub fn copy_to(&self, to: &Self) -> usize {
        let len = self.len.min(to.len) as usize;
        // SAFETY: both sides hold `len` bytes, in mappings that are kept.
        unsafe { copy(self.host.as_ptr(), to.host.as_ptr(), len) };
        len
    }

    /// Place of the first byte in which both differ, in the shorter of the two lengths; none where they are equal.
    /// Each byte is loaded once.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<u32> {
        let (mut here, mut there) = (*self, *other);
        let mut compared = 0;
        while !here.is_empty() && !there.is_empty() {
            let (mut ours, mut theirs) = ([0; COMPARED_BYTES], [0; COMPARED_BYTES]);
            let len = here.read(&mut ours).min(there.read(&mut theirs));
            let mut pairs = ours.iter().zip(&theirs).take(len);
            if ours.get(..len) != theirs.get(..len) {
                let same = pairs.position(|(ours, theirs)| ours != theirs).unwrap_or(len);
                return Some(compared + u32::try_from(same).unwrap_or(0));
            }
            let len = u32::try_from(len).unwrap_or(0);
            (here, there) = (here.split_at(len).1, there.split_at(len).1);
            compared += len;
        }
        None
    }

    /// Sets every byte to `value`.
    pub fn fill(&self, value: u8) {
        // SAFETY: the span holds `len` bytes.
        unsafe { self.host.as_ptr().write_bytes(value, self.len as usize) };
    }

    /// Prefetches the cache lines of the first `most` bytes for reading.
    #[inline]
    pub fn prefetch_all(&self, most: u32) {
        self.lines(most).for_each(prefetch_to_read);
    }

    /// Prefetches the cache lines of the first `most` bytes for writing.
    #[inline]
    pub fn prefetch_all_to_write(&self, most: u32) {
        self.lines(most).for_each(prefetch_to_write);
    }

    /// Prefetches the first cache line for reading.
    #[inline]
    pub fn prefetch(&self) {
        prefetch_to_read(self.host.as_ptr());
    }

    /// Prefetches the first cache line for writing.
    #[inline]
    pub fn prefetch_to_write(&self) {
        prefetch_to_write(self.host.as_ptr());
    }

    /// An address in each cache line of the first `most` bytes.
    #[inline]
    fn lines(&self, most: u32) -> impl Iterator<Item = *const u8> {
        let first: *const u8 = self.host.as_ptr();
        (0..self.len.min(most) as usize).step_by(LINE_BYTES).map(move |at| first.wrapping_add(at))
    }
}

/// A checked piece of shared memory that the CPU alone reads or writes, and whose length the compiler knows: `N`
/// bytes. Has no address for SSDs, so that it is a single word.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct FixedSpan<const N: usize> {
    host: NonNull<u8>,
}

// SAFETY: an address, as a span is.
unsafe impl<const N: usize> Send for FixedSpan<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for FixedSpan<N> {}

impl<const N: usize> FixedSpan<N> {
    /// Length in bytes.
    #[expect(clippy::cast_possible_truncation, reason = "checked, and by the compiler")]
    pub const LEN: u32 = {
        assert!(N < u32::MAX as usize, "longer than any span");
        N as u32
    };

    /// Copy of the bytes: one load or two.
    #[inline]
    #[must_use]
    pub fn load(&self) -> [u8; N] {
        self.load_at::<0, N>()
    }

    /// Copy of `M` bytes from byte `AT` on: one load or two. A field that is loaded where it is used needs no register
    /// before.
    #[inline]
    #[must_use]
    pub fn load_at<const AT: usize, const M: usize>(&self) -> [u8; M] {
        const { assert!(M <= N && AT <= N - M, "more bytes than the span has") };
        // SAFETY: the place is inside of the `N` bytes.
        let first = unsafe { self.host.add(AT) };
        // SAFETY: `M` bytes are there, and bytes have no alignment.
        let bytes = unsafe { first.cast::<[u8; M]>().read_unaligned() };
        loaded_once();
        bytes
    }

    /// Stores the first bytes: a store or two.
    #[inline]
    pub fn store_first<const M: usize>(&self, bytes: [u8; M]) {
        const { assert!(M <= N, "more bytes than the span has") };
        // SAFETY: there are `N` bytes, which are no fewer, and bytes have no alignment.
        unsafe { self.host.cast::<[u8; M]>().write_unaligned(bytes) };
    }
}

impl FixedSpan<1> {
    /// The byte.
    #[inline]
    #[must_use]
    pub const fn byte(&self) -> SharedByte {
        SharedByte(self.host)
    }
}

/// A span for the CPU alone: the address for SSDs is one that none reaches.
impl<const N: usize> From<FixedSpan<N>> for Span {
    #[inline]
    fn from(FixedSpan { host }: FixedSpan<N>) -> Self {
        Self { host, iova: Self::NOT_FOR_SSDS, len: FixedSpan::<N>::LEN }
    }
}

/// Prefetches a cache line for reading.
#[inline]
pub(crate) fn prefetch_to_read(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch has no effect but on caches, whatever the address.
    unsafe { _mm_prefetch(line.cast(), _MM_HINT_T0) };
}

/// Prefetches a cache line for writing: one transfer, where a read and a later write take two. `PREFETCHW` does nothing on CPUs that do not know it; the compiler's
/// own intrinsic is a prefetch for reading unless it is told that all of them do.
#[inline]
pub(crate) fn prefetch_to_write(line: *const u8) {
    // SAFETY: a prefetch has no effect but on caches, whatever the address.
    unsafe { std::arch::asm!("prefetchw [{line}]", line = in(reg) line, options(nostack, preserves_flags)) };
}

/// Keeps the compiler from loading again, from memory that may have changed, what was copied
/// out of it before: what is checked and what is used are the same copy. Costs no instruction.
#[inline]
fn loaded_once() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// One byte of shared memory, to be written once: a third of the size of a span.
#[derive(Clone, Copy, Debug)]
pub struct SharedByte(NonNull<u8>);

// SAFETY: an address, as a span is.
unsafe impl Send for SharedByte {}
// SAFETY: as above.
unsafe impl Sync for SharedByte {}

impl SharedByte {
    /// Stores the byte.
    #[inline]
    pub fn store(self, byte: u8) {
        // SAFETY: it is the first byte of a span, whose mapping is kept.
        unsafe { self.0.write_volatile(byte) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(bytes: &mut [u8]) -> Span {
        let len = u32::try_from(bytes.len()).unwrap();
        // SAFETY: the tests below use the span only while `bytes` lives.
        unsafe { Span::new(NonNull::new(bytes.as_mut_ptr()).unwrap(), Iova(0x1000), len) }
    }

    #[test]
    fn bytes_go_in_and_out_up_to_the_shorter_length() {
        let mut bytes = [0; 4];
        let span = span(&mut bytes);
        assert_eq!(span.write(&[1, 2, 3, 4, 5]), 4);
        let mut back = [0; 3];
        assert_eq!(span.read(&mut back), 3);
        assert_eq!(back, [1, 2, 3]);
    }

    #[test]
    fn first_bytes_are_there_or_not_at_all() {
        let mut bytes = [1, 2, 3];
        let span = span(&mut bytes);
        assert_eq!(span.first(), Some([1, 2, 3]));
        assert_eq!(span.first::<4>(), None);
        span.first_byte().unwrap().store(9);
        assert!(span.split_at(3).1.first_byte().is_none());
        assert_eq!(bytes, [9, 2, 3]);
    }

    #[test]
    fn the_first_difference_is_found_wherever_it_is() {
        let same: Vec<u8> = (0..1000).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut here = same.clone();
        for at in [0, 1, 255, 256, 511, 512, 998, 999] {
            let mut there = same.clone();
            assert_eq!(span(&mut here).first_difference(&span(&mut there)), None);
            there[at] ^= 1;
            let difference = span(&mut here).first_difference(&span(&mut there));
            assert_eq!(difference, Some(u32::try_from(at).unwrap()));
        }
        let shorter = span(&mut here).split_at(300).0;
        assert_eq!(span(&mut same.clone()).first_difference(&shorter), None);
    }

    #[test]
    fn a_slice_past_the_end_is_refused() {
        let mut bytes = [0; 8];
        let span = span(&mut bytes);
        assert!(span.slice(8, 0).is_some());
        assert!(span.slice(9, 0).is_none());
        assert!(span.slice(4, 5).is_none());
        assert!(span.slice(u32::MAX, u32::MAX).is_none());
    }

    #[test]
    fn spans_are_joined_where_the_second_begins_at_the_end_of_the_first() {
        let mut bytes = [0; 8];
        let whole = span(&mut bytes);
        let (first, rest) = whole.split_at(3);
        assert_eq!(first.joined(&rest).map(|joined| joined.len()), Some(8));
        assert!(rest.joined(&first).is_none());
        assert!(first.joined(&rest.split_at(1).1).is_none(), "a hole");
        let elsewhere = Span { iova: Iova(0), ..rest };
        assert!(first.joined(&elsewhere).is_none(), "not for SSDs");
    }

    #[test]
    fn the_first_bytes_of_a_fixed_span_are_stored_and_no_others() {
        let mut bytes = [9; 4];
        span(&mut bytes).fixed::<4>().unwrap().store_first([1, 2]);
        assert_eq!(bytes, [1, 2, 9, 9]);
    }

    #[test]
    fn the_bytes_in_the_middle_of_a_fixed_span_are_loaded_and_no_others() {
        let mut bytes = [1, 2, 3, 4];
        let span = span(&mut bytes).fixed::<4>().unwrap();
        assert_eq!(span.load_at::<1, 2>(), [2, 3]);
        assert_eq!(span.load_at::<4, 0>(), []);
        assert_eq!(span.load(), [1, 2, 3, 4]);
    }

    #[test]
    fn the_rest_of_a_split_moves_both_addresses() {
        let mut bytes = [0; 8];
        let (first, rest) = span(&mut bytes).split_at(3);
        assert_eq!(first.len(), 3);
        assert_eq!(rest.len(), 5);
        assert_eq!(rest.iova(), Iova(0x1003));
        rest.fill(7);
        assert_eq!(bytes, [0, 0, 0, 7, 7, 7, 7, 7]);
    }
}
