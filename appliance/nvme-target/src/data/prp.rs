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
use std::sync::atomic::Ordering::Relaxed;

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
    pub(super) fn step(&mut self, collector: &mut Collector<'_, '_, '_>) -> Result<bool, Stop> {
        while self.left > 0 {
            if !collector.make_step() {
                return Ok(false);
            }
            match self.next {
                Next::First(page, second) => {
                    check(page.is_multiple_of(4))?;
                    self.next = Next::Second(second);
                    self.add(page, collector)?;
                }
                Next::Second(list) if self.left > self.page_bytes => {
                    check(list.is_multiple_of(ENTRY_BYTES.into()))?;
                    self.next = Next::Listed(GuestAddress(list));
                }
                Next::Second(page) => {
                    check(self.offset(page) == 0)?;
                    self.add(page, collector)?;
                }
                Next::Listed(at) => self.follow_list(at, collector)?,
            }
        }
        Ok(true)
    }

    /// Follows a list, whose entry at `at` has been counted as a step, up to its end or that of its memory page or region.
    fn follow_list(&mut self, at: GuestAddress, collector: &mut Collector<'_, '_, '_>) -> Result<(), Stop> {
        let in_page = self.page_bytes.wrapping_sub(self.offset(at.0)) / ENTRY_BYTES;
        let pages = self.left.div_ceil(self.page_bytes);
        let list = collector.list_at(at, in_page.min(pages))?;
        // The last entry of a page is the address of more of the list, where there is more.
        let links = pages > in_page && list.len() == in_page;
        let named = list.len().wrapping_sub(links.into());
        // The first step is made.
        let steps = collector.make_steps(list.len().wrapping_sub(1)).wrapping_add(1);
        for index in 0..named.min(steps) {
            self.add_listed(list.load(index, Relaxed), collector)?;
        }
        self.next = Next::Listed(entry_at(at, named.min(steps)));
        if links && steps > named {
            let link = list.load(named, Relaxed);
            check(self.offset(link) == 0)?;
            self.next = Next::Listed(GuestAddress(link));
        }
        Ok(())
    }

    /// Adds a page that a list names.
    #[inline]
    fn add_listed(&mut self, page: u64, collector: &mut Collector<'_, '_, '_>) -> Result<(), Stop> {
        check(self.offset(page) == 0)?;
        self.add(page, collector)
    }

    /// Adds the data from an address up to the end of its page.
    #[inline(always)]
    fn add(&mut self, at: u64, collector: &mut Collector<'_, '_, '_>) -> Result<(), Stop> {
        let len = self.left.min(self.page_bytes.wrapping_sub(self.offset(at)));
        self.left = self.left.wrapping_sub(len);
        collector.add(GuestAddress(at), len)
    }

    /// Offset of an address in its page.
    #[inline]
    fn offset(&self, address: u64) -> u32 {
        let mask = u64::from(self.page_bytes.wrapping_sub(1));
        u32::try_from(address & mask).unwrap_or(0)
    }
}

/// Address of an entry of a list.
fn entry_at(list: GuestAddress, index: u32) -> GuestAddress {
    GuestAddress(list.0.wrapping_add(u64::from(index).wrapping_mul(ENTRY_BYTES.into())))
}

/// Refuses an entry with an offset that it may not have.
#[inline]
fn check(offset_fits: bool) -> Result<(), Stop> {
    if offset_fits { Ok(()) } else { Err(Stop::refused(StatusCode::PRP_OFFSET_INVALID)) }
}
