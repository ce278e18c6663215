//! The step from the bytes of a request to a command.

use luge_memory::{SharedByte, Span};
use luge_spec::virtio::blk::{RequestHeader, RequestType};
use std::ops::Range;
use zerocopy::FromBytes;

/// A request's first sector, in units of 512 bytes whatever the block size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sector(pub(super) u64);

/// Command of a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Read(Sector),
    Write(Sector),
    Flush,
    GetId,
    Discard,
    WriteZeroes,
    /// A command that this device does not have.
    Unknown,
}

impl Command {
    /// Cuts the header off the readable part, and parses it; none if that part is too short.
    #[inline]
    pub(super) fn parse(readable: &mut Pieces<'_>) -> Option<Self> {
        let bytes: [u8; size_of::<RequestHeader>()] = readable.cut_first()?;
        let header = RequestHeader::read_from_bytes(&bytes).ok()?;
        let sector = Sector(header.sector.get());
        Some(match header.kind {
            RequestType::IN => Self::Read(sector),
            RequestType::OUT => Self::Write(sector),
            RequestType::FLUSH => Self::Flush,
            RequestType::GET_ID => Self::GetId,
            RequestType::DISCARD => Self::Discard,
            RequestType::WRITE_ZEROES => Self::WriteZeroes,
            _ => Self::Unknown,
        })
    }
}

/// Spans of guest memory that are cut off from either end, in place.
pub(super) struct Pieces<'a> {
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
    pub(super) fn new(spans: &'a mut [Span], at: usize, len: u32) -> Self {
        let end = spans.len();
        Self { spans, at, first: 0, end, len }
    }

    /// Indices in the batch of the spans that are left.
    pub(super) fn left(&self) -> Range<usize> {
        self.at.wrapping_add(self.first)..self.at.wrapping_add(self.end)
    }

    /// Bytes left.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Cuts `N` bytes off the front, and returns a copy; none, with an unspecified rest, if there are too few.
    #[inline]
    pub(super) fn cut_first<const N: usize>(&mut self) -> Option<[u8; N]> {
        let span = *self.front()?;
        let Some(bytes) = span.first() else { return self.gather() };
        self.use_up(span, N);
        Some(bytes)
    }

    /// Cuts `N` bytes off the front that lie in several spans.
    #[cold]
    fn gather<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut to = bytes.as_mut_slice();
        while !to.is_empty() {
            let span = *self.front()?;
            let copied = span.read(to);
            self.use_up(span, copied);
            to = to.get_mut(copied..)?;
        }
        Some(bytes)
    }

    /// Writes bytes from the front on, as many as fit; returns how many.
    pub(super) fn write(&mut self, mut from: &[u8]) -> u32 {
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
    pub(super) fn cut_last(&mut self) -> Option<SharedByte> {
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
