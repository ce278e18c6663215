//! Physical region pages: the data of a command as memory pages. Base 2.0, clause 4.1.1.
//!
//! ```text
//! PRP1 -> first page, from an offset
//! PRP2 -> second page, if that is the last; else a list of pages, whose last entry is the next list where more follow
//! ```
//!
//! Invariant: each entry is loaded once. A list after the first has a page of entries for one link, so that lists
//! which form a loop end with the data.

use super::collector::{Collector, Stop};
use luge_memory::GuestAddress;
use luge_spec::nvme::StatusCode;

/// Bytes of an entry.
const ENTRY_BYTES: u32 = 8;

/// Walk through the PRPs of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrpWalk {
    page_bytes: u32,
    /// Bytes of the data that were not reached.
    left: u32,
    next: Next,
}

/// Entry to look at next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// PRP1, before PRP2.
    First(u64, u64),
    /// PRP2.
    Second(u64),
    /// An entry in a list.
    Listed(GuestAddress),
}

impl PrpWalk {
    /// A walk to the first `bytes` bytes.
    pub(super) const fn new(first: u64, second: u64, bytes: u32, page_bytes: u32) -> Self {
        Self { page_bytes, left: bytes, next: Next::First(first, second) }
    }

    /// Walks on, as many steps as the collector makes; returns whether that was the end.
    ///
    /// # Errors
    /// [`Stop`].
    pub(super) fn step(&mut self, collector: &mut Collector<'_>) -> Result<bool, Stop> {
        while self.left > 0 {
            if !collector.make_step() {
                return Ok(false);
            }
            let Some(page) = self.follow(collector)? else { continue };
            let len = self.left.min(self.page_bytes.wrapping_sub(self.offset(page)));
            self.left = self.left.wrapping_sub(len);
            collector.add(GuestAddress(page), len)?;
        }
        Ok(true)
    }

    /// Follows an entry; returns the page that it names, if it names one and no list.
    fn follow(&mut self, collector: &mut Collector<'_>) -> Result<Option<u64>, Stop> {
        match self.next {
            Next::First(page, second) => {
                self.next = Next::Second(second);
                check(page.is_multiple_of(4))?;
                Ok(Some(page))
            }
            Next::Second(list) if self.left > self.page_bytes => {
                self.next = Next::Listed(GuestAddress(list));
                check(list.is_multiple_of(ENTRY_BYTES.into()))?;
                Ok(None)
            }
            Next::Second(page) => {
                check(self.offset(page) == 0)?;
                Ok(Some(page))
            }
            Next::Listed(at) => self.follow_listed(at, collector),
        }
    }

    fn follow_listed(
        &mut self,
        at: GuestAddress,
        collector: &mut Collector<'_>,
    ) -> Result<Option<u64>, Stop> {
        let entry = u64::from_le_bytes(collector.load(at)?);
        check(self.offset(entry) == 0)?;
        let is_last_of_page = self.offset(at.0) == self.page_bytes.wrapping_sub(ENTRY_BYTES);
        if is_last_of_page && self.left > self.page_bytes {
            self.next = Next::Listed(GuestAddress(entry));
            return Ok(None);
        }
        self.next = Next::Listed(GuestAddress(at.0.wrapping_add(ENTRY_BYTES.into())));
        Ok(Some(entry))
    }

    /// Offset of an address in its page.
    fn offset(&self, address: u64) -> u32 {
        let mask = u64::from(self.page_bytes.wrapping_sub(1));
        u32::try_from(address & mask).unwrap_or(0)
    }
}

/// Refuses an entry with an offset that it may not have.
fn check(offset_fits: bool) -> Result<(), Stop> {
    if offset_fits { Ok(()) } else { Err(Stop::refused(StatusCode::PRP_OFFSET_INVALID)) }
}
