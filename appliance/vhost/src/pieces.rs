//! Spans of a chain, from which a session cuts what it reads and writes itself.

use luge_memory::{SharedByte, Span};
use std::ops::Range;

/// Spans of guest memory that are cut off from either end, in place.
pub(crate) struct Pieces<'a> {
    spans: &'a mut [Span],
    /// Index of the first span in the batch.
    at: usize,
    /// Index of the first span that is left.
    first: usize,
    end: usize,
    /// Bytes left.
    len: u32,
}

impl<'a> Pieces<'a> {
    /// Wraps spans of `len` bytes that are in the batch from index `at` on.
    pub(crate) fn new(spans: &'a mut [Span], at: usize, len: u32) -> Self {
        let end = spans.len();
        Self { spans, at, first: 0, end, len }
    }

    /// Indices in the batch of the spans that are left.
    pub(crate) fn left(&self) -> Range<usize> {
        self.at.wrapping_add(self.first)..self.at.wrapping_add(self.end)
    }

    /// Bytes left.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Cuts `N` bytes off the front, and returns a copy; none, with an unspecified rest, if there are too few.
    #[inline]
    pub(crate) fn cut_first<const N: usize>(&mut self) -> Option<[u8; N]> {
        let span = *self.front()?;
        let Some(bytes) = span.first() else { return self.gather() };
        self.use_up(span, N);
        Some(bytes)
    }

    /// Cuts `N` bytes off the front that lie in several spans.
    #[cold]
    fn gather<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read(&mut bytes) == N).then_some(bytes)
    }

    /// Cuts bytes off the front, as many as there are and `to` has room for; returns how many.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> usize {
        let mut read = 0_usize;
        while let Some(to) = to.get_mut(read..).filter(|to| !to.is_empty()) {
            let Some(&span) = self.front() else { break };
            let copied = span.read(to);
            self.use_up(span, copied);
            read = read.wrapping_add(copied);
        }
        read
    }

    /// Cuts off bytes that lie in one span: the first ones, at most so many.
    pub(crate) fn cut_span(&mut self, bytes: u32) -> Option<Span> {
        let span = *self.front()?;
        let (first, _) = span.split_at(bytes);
        self.use_up(span, first.len() as usize);
        Some(first)
    }

    /// Writes bytes from the front on, as many as fit; returns how many.
    pub(crate) fn write(&mut self, mut from: &[u8]) -> u32 {
        let mut written = 0_u32;
        while let Some(span) = self.front().copied().filter(|_| !from.is_empty()) {
            let copied = span.write(from);
            self.use_up(span, copied);
            from = from.get(copied..).unwrap_or_default();
            written = written.saturating_add(u32::try_from(copied).unwrap_or(0));
        }
        written
    }

    /// Cuts off the last byte.
    #[inline]
    pub(crate) fn cut_last(&mut self) -> Option<SharedByte> {
        let last = self.end.checked_sub(1).filter(|&last| last >= self.first)?;
        let span = self.spans.get_mut(last)?;
        let (rest, byte) = span.split_at(span.len().checked_sub(1)?);
        if rest.is_empty() {
            self.end = last;
        } else {
            *span = rest;
        }
        self.len = self.len.saturating_sub(1);
        byte.first_byte()
    }

    #[inline]
    fn front(&self) -> Option<&Span> {
        self.spans.get(self.first..self.end)?.first()
    }

    #[inline]
    fn use_up(&mut self, span: Span, bytes: usize) {
        let (used, rest) = span.split_at(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.len = self.len.saturating_sub(used.len());
        if rest.is_empty() {
            self.first = self.first.saturating_add(1);
        } else if let Some(place) = self.spans.get_mut(self.first) {
            *place = rest;
        }
    }
}

/// Copies the first bytes of spans, as many as there are and `to` has room for; returns how many.
pub(crate) fn copy_out(spans: &[Span], to: &mut [u8]) -> usize {
    let mut copied = 0_usize;
    for span in spans {
        let Some(left) = to.get_mut(copied..).filter(|left| !left.is_empty()) else { break };
        copied = copied.wrapping_add(span.read(left));
    }
    copied
}

/// Spans that are cut to a number of bytes, of which they have no fewer: the first ones, and the last of them as it was.
pub(crate) struct CutSpans {
    /// Number of spans that are left.
    pub(crate) count: usize,
    last: Option<Span>,
}

impl CutSpans {
    /// Cuts spans to their first bytes.
    pub(crate) fn cut(spans: &mut [Span], bytes: u64) -> Self {
        let mut left = bytes;
        let whole = spans.iter().take_while(|span| {
            let fits = left.checked_sub(span.len().into());
            left = fits.unwrap_or(left);
            fits.is_some()
        });
        let whole = whole.count();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        match spans.get_mut(whole).filter(|_| left > 0) {
            Some(span) => {
                let last = std::mem::replace(span, span.split_at(left).0);
                Self { count: whole.saturating_add(1), last: Some(last) }
            }
            None => Self { count: whole, last: None },
        }
    }

    /// Makes the spans what they were.
    pub(crate) fn undo(self, spans: &mut [Span]) {
        let place = self.count.checked_sub(1).and_then(|last| spans.get_mut(last));
        place.zip(self.last).into_iter().for_each(|(place, last)| *place = last);
    }
}
