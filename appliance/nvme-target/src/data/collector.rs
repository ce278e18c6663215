//! Spans of a command's data, collected in order. Pieces that follow each other in guest memory become one.

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use super::bit_bucket::BitBucket;
use crate::commands::CommandStatus;
use luge_memory::{GuestAddress, Lookup, SharedArray, Span, Use};
use luge_spec::nvme::StatusCode;

/// Cause for which the data of a command is not collected any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The command is to end with this status.
    Fault(CommandStatus),
    /// The list has no room for another span.
    NoRoom,
}

impl Stop {
    /// Memory that is not there, or not for that use. The host may mend it.
    pub(crate) const MISSING: Self = Self::Fault(CommandStatus::failed(StatusCode::DATA_TRANSFER_ERROR));

    /// A fault with which the same command would be refused again.
    pub(crate) const fn refused(code: StatusCode) -> Self {
        Self::Fault(CommandStatus::refused(code))
    }
}

/// Data that was collected so far.
#[derive(Clone, Copy)]
pub(crate) struct Collected {
    purpose: Use,
    /// Guest memory at the end that has no spans yet.
    at: GuestAddress,
    len: u32,
    /// Number of spans in the list.
    spans: usize,
}

impl Collected {
    /// Nothing, of memory that the device is to use as `purpose` says.
    pub(crate) const fn new(purpose: Use) -> Self {
        Self { purpose, at: GuestAddress(0), len: 0, spans: 0 }
    }
}

/// Collector of spans in a list.
pub(crate) struct Collector<'c, 'm, 'd> {
    pub(crate) collected: Collected,
    pub(crate) lookup: &'c mut Lookup<'m>,
    pub(crate) list: &'d mut [Span],
    /// Memory for data that the host does not want; none where every byte is wanted.
    pub(crate) bucket: Option<&'c BitBucket>,
    /// Entries and descriptors that may still be looked at.
    pub(crate) steps: usize,
}

impl Collector<'_, '_, '_> {
    /// Use that the device makes of the memory.
    pub(super) fn purpose(&self) -> Use {
        self.collected.purpose
    }

    /// Counts up to `most` steps; returns how many may be made.
    #[inline]
    pub(super) fn make_steps(&mut self, most: u32) -> u32 {
        let steps = u32::try_from(self.steps).unwrap_or(u32::MAX).min(most);
        self.steps = self.steps.saturating_sub(steps as usize);
        steps
    }

    /// Counts a step; returns whether it may be made.
    #[inline]
    pub(super) fn make_step(&mut self) -> bool {
        let may = self.steps > 0;
        self.steps = self.steps.saturating_sub(1);
        may
    }

    /// Copy of `N` bytes of guest memory at `at`.
    ///
    /// # Errors
    /// [`Stop`] if they are not there.
    #[inline]
    pub(super) fn load<const N: usize>(&mut self, at: GuestAddress) -> Result<[u8; N], Stop> {
        let len = u32::try_from(N).map_err(|_| Stop::MISSING)?;
        // SAFETY: the span is used at once, while the table is borrowed.
        let span = unsafe { self.lookup.whole_for(Use::Read, at, len) };
        span.and_then(|span| span.first()).ok_or(Stop::MISSING)
    }

    /// Words of guest memory from `at` on: at least one, and at most `count`, as far as they are in one region.
    ///
    /// # Errors
    /// [`Stop`] if the first one is not there.
    #[inline]
    pub(super) fn list_at(&mut self, at: GuestAddress, count: u32) -> Result<SharedArray<u64>, Stop> {
        // SAFETY: whoever made the collector keeps the memory while it uses the list.
        let span = unsafe { self.lookup.span_for(Use::Read, at, count.saturating_mul(8)) };
        let words = span.and_then(SharedArray::new).filter(|words: &SharedArray<u64>| !words.is_empty());
        words.ok_or(Stop::MISSING)
    }

    /// Adds `len` bytes of guest memory.
    ///
    /// # Errors
    /// [`Stop`], also for what was added before.
    #[inline]
    pub(super) fn add(&mut self, at: GuestAddress, len: u32) -> Result<(), Stop> {
        let Collected { at: before, len: have, .. } = self.collected;
        let follows = have > 0 && before.0.wrapping_add(have.into()) == at.0;
        if let Some(joined) = have.checked_add(len).filter(|_| follows) {
            self.collected.len = joined;
            return Ok(());
        }
        self.make_spans()?;
        (self.collected.at, self.collected.len) = (at, len);
        Ok(())
    }

    /// Adds `len` bytes that the host does not want.
    ///
    /// # Errors
    /// As of [`Self::add`].
    pub(super) fn add_unwanted(&mut self, mut len: u32) -> Result<(), Stop> {
        self.make_spans()?;
        let bucket = self.bucket.ok_or(Stop::refused(StatusCode::SGL_TYPE_INVALID))?;
        while len > 0 {
            let span = bucket.span(len).ok_or(Stop::MISSING)?;
            len = len.wrapping_sub(span.len());
            self.push(span)?;
        }
        Ok(())
    }

    /// Makes spans of all that was added; returns their number.
    ///
    /// # Errors
    /// As of [`Self::add`].
    pub(crate) fn finish(&mut self) -> Result<usize, Stop> {
        self.make_spans()?;
        Ok(self.collected.spans)
    }

    #[inline]
    fn make_spans(&mut self) -> Result<(), Stop> {
        let Collected { purpose, at, len, .. } = self.collected;
        if len == 0 {
            return Ok(());
        }
        // SAFETY: whoever made the collector keeps the memory while it uses the list.
        let Some(span) = (unsafe { self.lookup.whole_for(purpose, at, len) }) else {
            return self.make_several();
        };
        self.push(span)?;
        self.collected.len = 0;
        Ok(())
    }

    /// Makes spans of what lies in several regions.
    #[cold]
    fn make_several(&mut self) -> Result<(), Stop> {
        while self.collected.len > 0 {
            let Collected { purpose, at, len, .. } = self.collected;
            // SAFETY: as in `make_spans`.
            let span = unsafe { self.lookup.span_for(purpose, at, len) }.ok_or(Stop::MISSING)?;
            self.push(span)?;
            self.collected.at = GuestAddress(at.0.wrapping_add(span.len().into()));
            self.collected.len = len.wrapping_sub(span.len());
        }
        Ok(())
    }

    #[inline]
    fn push(&mut self, span: Span) -> Result<(), Stop> {
        *self.list.get_mut(self.collected.spans).ok_or(Stop::NoRoom)? = span;
        self.collected.spans = self.collected.spans.wrapping_add(1);
        Ok(())
    }
}
