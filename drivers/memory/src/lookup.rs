//! Look-ups in a guest's memory: which region has an address, and where it is in this process.
//!
//! Path: guest ring -> **here, for every address in it** -> session -> volume -> channel -> SSD.
//!
//! Invariants
//! - A span is made of bytes that are all in one region.
//! - Rows do not overlap and are in order of their addresses; their table keeps the regions.
//! - A table of few regions is one run, so that a miss costs one search.
//!
//! Not here: how regions come and go (`guest`).

#![expect(unsafe_code, reason = "spans of guest memory are addresses")]

use crate::{GuestAddress, Iova, Span};
use std::hint::select_unpredictable;
use std::ptr::NonNull;
use std::sync::Arc;

/// Guest address at which a PC's memory continues above the hole for devices.
const FOUR_GIB: u64 = 1 << 32;

/// Largest table for which a linear count is faster than a binary search, in rows.
const FEW: usize = 16;

/// Most bytes of a piece that is short: of a header or a response.
const SHORT: u32 = 256;

/// Part of a region that a look-up needs. Rows lie side by side.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub guest: GuestAddress,
    pub len: u64,
    /// Number of bytes at which a short piece may begin, so that it ends in the region, whatever its length.
    short_len: u64,
    /// Length of the part that devices may write: all of it, or nothing.
    pub writable_len: u64,
    pub host: NonNull<u8>,
    pub iova: Iova,
}

// SAFETY: an address, like the region's mapping, which its table keeps.
unsafe impl Send for Row {}
// SAFETY: as above.
unsafe impl Sync for Row {}

impl Row {
    /// A region without bytes.
    const NONE: Self = Self {
        guest: GuestAddress(0),
        len: 0,
        short_len: 0,
        writable_len: 0,
        host: NonNull::dangling(),
        iova: Iova(0),
    };

    /// Row of a region that devices may write.
    pub(crate) const fn new(guest: GuestAddress, len: u64, host: NonNull<u8>, iova: Iova) -> Self {
        let short_len = len.saturating_sub(SHORT as u64 - 1);
        Self { guest, len, short_len, writable_len: len, host, iova }
    }

    /// The row of a region that devices may not write.
    pub(crate) const fn read_only(self) -> Self {
        Self { writable_len: 0, ..self }
    }

    /// Offset of an address in the region; none outside.
    #[inline]
    fn offset_of(&self, at: GuestAddress) -> Option<usize> {
        // Addresses before the region wrap around to ones far behind its end.
        let offset = at.0.wrapping_sub(self.guest.0);
        usize::try_from(offset).ok().filter(|_| offset < self.len)
    }

    /// Up to `len` bytes at `offset`.
    ///
    /// # Safety
    /// `offset` is less than the region's length, and the caller keeps the region.
    #[inline]
    unsafe fn span(&self, offset: usize, len: u32) -> Span {
        let here = u32::try_from(self.len - offset as u64).map_or(len, |left| left.min(len));
        // SAFETY: `here` bytes are left in the region.
        unsafe { self.piece(offset, here) }
    }

    /// Whether `len` bytes at `at` are in the region, for that use; false for a `len` of zero.
    #[inline]
    fn holds(&self, purpose: Use, at: GuestAddress, len: u32) -> bool {
        let offset = at.0.wrapping_sub(self.guest.0);
        // A sum that wraps is less than what was added to.
        let end = offset.wrapping_add(len.into());
        // Reads and writes are mixed: a branch here would be mispredicted.
        let most = select_unpredictable(purpose == Use::Write, self.writable_len, self.len);
        offset < end && end <= most
    }

    /// Whether `len` bytes at `at` are in the region, they are few, and they are not at its end: one comparison, where the
    /// compiler knows `len`.
    #[inline]
    fn holds_short(&self, at: GuestAddress, len: u32) -> bool {
        len.wrapping_sub(1) < SHORT && at.0.wrapping_sub(self.guest.0) < self.short_len
    }

    /// The `len` bytes at `offset`.
    ///
    /// # Safety
    /// They are in the region, and the caller keeps it.
    #[inline]
    unsafe fn piece(&self, offset: usize, len: u32) -> Span {
        // SAFETY: `offset` is inside the region.
        let host = unsafe { self.host.add(offset) };
        // SAFETY: `len` bytes are left in the region.
        unsafe { Span::new(host, Iova(self.iova.0.wrapping_add(offset as u64)), len) }
    }
}

/// Rows that lie side by side, of which a table has one run, or several if it has many regions.
#[derive(Clone)]
pub(crate) struct RowRun {
    /// Address of the first row.
    first: GuestAddress,
    rows: Arc<[Row]>,
}

impl RowRun {
    /// Rows in order of their addresses; none if there is no row.
    pub(crate) fn new(rows: &Arc<[Row]>) -> Option<Self> {
        Some(Self { first: rows.first()?.guest, rows: rows.clone() })
    }
}

/// Rows that look-ups begin with: the largest below 4 GiB and the largest above it; of a table of several runs, where nobody
/// looks for the largest, the first and the last one.
#[derive(Clone)]
pub(crate) struct Likely {
    below: Row,
    above: Row,
}

impl Default for Likely {
    fn default() -> Self {
        Self { below: Row::NONE, above: Row::NONE }
    }
}

impl Likely {
    pub(crate) fn of(runs: &[RowRun]) -> Self {
        let [below, above] = if let [only] = runs {
            let high = only.rows.partition_point(|row| row.guest.0 < FOUR_GIB);
            let (below, above) = only.rows.split_at(high);
            [below, above].map(|rows| rows.iter().max_by_key(|row| row.len))
        } else {
            [runs.first().and_then(|run| run.rows.first()), runs.last().and_then(|run| run.rows.last())]
        };
        let row = |row: Option<&Row>| row.copied().unwrap_or(Row::NONE);
        Self { below: row(below), above: row(above) }
    }
}

/// Use that a device makes of guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// The device reads it.
    Read,
    /// The device writes it: where it may.
    Write,
}

/// Region in which an address is looked up first.
#[derive(Clone, Copy)]
pub struct Near<'a>(&'a Row);

/// Look-ups with a cache of the last two regions found: one below 4 GiB, one above. At first those are the likely ones.
///
/// A hit reads one row only. Larger guests have memory on both sides and alternate between them.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Rows of a table that is one run; none of any other.
    rows: &'a [Row],
    /// Runs of the table, looked through if it is more than one.
    runs: &'a [RowRun],
    below: &'a Row,
    above: &'a Row,
}

impl<'a> Lookup<'a> {
    /// Look-ups in these runs, which are in order of their addresses; in their likely rows first.
    #[inline]
    pub(crate) fn new(runs: &'a [RowRun], Likely { below, above }: &'a Likely) -> Self {
        let rows = if let [only] = runs { &*only.rows } else { &[] };
        Self { rows, runs, below, above }
    }

    /// As [`GuestMemory::span`](crate::GuestMemory::span).
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub unsafe fn span(&mut self, at: GuestAddress, len: u32) -> Option<Span> {
        let row = self.row(at, |row| row.offset_of(at).is_some())?;
        let offset = row.offset_of(at)?;
        // SAFETY: the offset is inside the region, which the table keeps.
        Some(unsafe { row.span(offset, len) })
    }

    /// All `len` bytes at `at`; none if they are not in one region.
    ///
    /// # Safety
    /// As [`GuestMemory::span`](crate::GuestMemory::span).
    #[inline]
    pub unsafe fn whole(&mut self, at: GuestAddress, len: u32) -> Option<Span> {
        // SAFETY: the caller's promise.
        unsafe { self.whole_for(Use::Read, at, len) }
    }

    /// Region in which an address is looked up first: chosen without a branch, so that there is no misprediction.
    #[inline]
    #[must_use]
    pub fn near(&self, at: GuestAddress) -> Near<'a> {
        Near(if at.0 < FOUR_GIB { self.below } else { self.above })
    }

    /// As [`Self::whole`], for a few bytes whose number the compiler knows. They are looked up in `near` first, where
    /// others were that they belong to.
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub unsafe fn short_near(&mut self, near: Near<'a>, at: GuestAddress, len: u32) -> Option<Span> {
        let row = if near.0.holds_short(at, len) { near.0 } else { self.find(at, len)? };
        let offset = usize::try_from(at.0.wrapping_sub(row.guest.0)).ok()?;
        // SAFETY: the offset and `len` bytes more are inside the region, which the table keeps.
        Some(unsafe { row.piece(offset, len) })
    }

    /// Finds the row that has `len` bytes at `at`.
    #[cold]
    #[inline(never)]
    fn find(&mut self, at: GuestAddress, len: u32) -> Option<&'a Row> {
        self.row(at, |row| row.holds(Use::Read, at, len))
    }

    /// All `len` bytes at `at`, for a use; none if they are not in one region, or not for that use.
    ///
    /// # Safety
    /// As [`GuestMemory::span`](crate::GuestMemory::span).
    #[inline]
    pub unsafe fn whole_for(&mut self, purpose: Use, at: GuestAddress, len: u32) -> Option<Span> {
        let row = self.row(at, |row| row.holds(purpose, at, len))?;
        let offset = usize::try_from(at.0.wrapping_sub(row.guest.0)).ok()?;
        // SAFETY: the offset and `len` bytes more are inside the region, which the table keeps.
        Some(unsafe { row.piece(offset, len) })
    }

    /// As [`GuestMemory::span`](crate::GuestMemory::span), for a use; none where memory is not for that use.
    ///
    /// # Safety
    /// As there.
    #[inline]
    pub unsafe fn span_for(&mut self, purpose: Use, at: GuestAddress, len: u32) -> Option<Span> {
        let row = self.row(at, |row| row.holds(purpose, at, 1))?;
        let offset = usize::try_from(at.0.wrapping_sub(row.guest.0)).ok()?;
        // SAFETY: the offset is inside the region, which the table keeps.
        Some(unsafe { row.span(offset, len) })
    }

    /// Finds the row that begins before `at` and for which `fits` holds.
    #[inline]
    fn row(&mut self, at: GuestAddress, fits: impl Fn(&Row) -> bool) -> Option<&'a Row> {
        let Near(near) = self.near(at);
        if fits(near) { Some(near) } else { self.turn_to(at).filter(|row| fits(row)) }
    }

    /// Finds the row that could have `at`, and caches it.
    #[cold]
    fn turn_to(&mut self, at: GuestAddress) -> Option<&'a Row> {
        let row = match last_before(self.rows, at) {
            Some(row) => row,
            None => last_before(rows_of(self.runs, at)?, at)?,
        };
        *(if at.0 < FOUR_GIB { &mut self.below } else { &mut self.above }) = row;
        Some(row)
    }
}

/// Rows of the last run that begins at `at` or before.
fn rows_of(runs: &[RowRun], at: GuestAddress) -> Option<&[Row]> {
    let count = runs.partition_point(|run| run.first <= at);
    runs.get(count.checked_sub(1)?).map(|run| &*run.rows)
}

/// Last row that begins at `at` or before; found without a branch in small tables.
#[inline]
fn last_before(rows: &[Row], at: GuestAddress) -> Option<&Row> {
    let begins = |row: &Row| row.guest <= at;
    let count = match rows.len() {
        ..=FEW => rows.iter().map(|row| usize::from(begins(row))).sum(),
        _ => rows.partition_point(begins),
    };
    rows.get(count.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_seeded::Random;

    const BYTES: u64 = 0x1000;

    /// Regions, twice their length from each other, half of them below 4 GiB.
    fn rows(count: u64) -> Vec<Row> {
        let first = FOUR_GIB - count / 2 * 2 * BYTES;
        let row = |n: u64| {
            let guest = GuestAddress(first + n * 2 * BYTES);
            let row = Row::new(guest, BYTES, NonNull::dangling(), Iova(n * BYTES));
            if n.is_multiple_of(3) { row.read_only() } else { row }
        };
        (0..count).map(row).collect()
    }

    fn runs(rows: &[Row], length: usize) -> Vec<RowRun> {
        rows.chunks(length).map(|rows| RowRun::new(&Arc::from(rows)).unwrap()).collect()
    }

    /// Result of a linear search for `len` bytes at `at`.
    fn expected(rows: &[Row], purpose: Use, at: GuestAddress, len: u32) -> Option<Iova> {
        let inside = |row: &&Row| at >= row.guest && at.0 + u64::from(len) <= row.guest.0 + row.len;
        let serves = |row: &&Row| purpose == Use::Read || row.writable_len == row.len;
        rows.iter().find(inside).filter(serves).map(|row| Iova(row.iova.0 + at.0 - row.guest.0))
    }

    #[test]
    fn whatever_was_looked_up_before_a_look_up_finds_what_a_walk_through_all_regions_finds() {
        for (count, length) in
            [(1, 1), (2, 9), (3, 9), (8, 9), (16, 99), (17, 99), (40, 99), (40, 7), (99, 1)]
        {
            let rows = rows(count);
            let runs = runs(&rows, length);
            let (likely, mut random) = (Likely::of(&runs), Random::new(count));
            let mut lookup = Lookup::new(&runs, &likely);
            for _ in 0..20_000 {
                let at = rows[0].guest.0 - BYTES + random.below((2 * count + 2) * BYTES);
                let (at, len) = (GuestAddress(at), random.pick(&[1, 8, SHORT, SHORT + 1, 512, 0x1000]));
                let purpose = random.pick(&[Use::Read, Use::Write]);
                // SAFETY: nothing looks at the bytes of these spans.
                let whole = unsafe { lookup.whole_for(purpose, at, len) }.map(|span| span.iova());
                assert_eq!(whole, expected(&rows, purpose, at, len), "{count} regions, {len} bytes at {at}");
                // SAFETY: as above.
                let near = lookup.near(random.pick(&[at, GuestAddress(0), GuestAddress(FOUR_GIB)]));
                // SAFETY: as above.
                let nearby = unsafe { lookup.short_near(near, at, len) }.map(|span| span.iova());
                assert_eq!(
                    nearby,
                    expected(&rows, Use::Read, at, len),
                    "{count} regions, {len} bytes at {at}"
                );
                // SAFETY: as above.
                let part = unsafe { lookup.span_for(purpose, at, len) }.map(|span| span.iova());
                assert_eq!(part, expected(&rows, purpose, at, 1), "{count} regions, {at}");
            }
        }
    }

    #[test]
    fn look_ups_begin_with_the_largest_regions_on_both_sides_of_four_gib() {
        let row = |guest, len| Row::new(GuestAddress(guest), len, NonNull::dangling(), Iova(0));
        let low = [row(0, 0xa_0000), row(0xc_0000, 0x7ff4_0000), row(0xfffc_0000, 0x4_0000)];
        let high = [row(FOUR_GIB, 0x1000), row(2 * FOUR_GIB, FOUR_GIB), row(4 * FOUR_GIB, 0x2000)];
        for (rows, below, above) in
            [([&low[..], &high].concat(), low[1], high[1]), (low.into(), low[1], Row::NONE)]
        {
            let likely = Likely::of(&[RowRun::new(&Arc::from(rows)).unwrap()]);
            assert_eq!(likely.below.guest, below.guest);
            assert_eq!(likely.above.len, above.len);
        }
    }

    #[test]
    fn no_bytes_are_nowhere_and_no_end_wraps() {
        let rows = rows(2);
        let runs = runs(&rows, 2);
        let likely = Likely::of(&runs);
        let mut lookup = Lookup::new(&runs, &likely);
        for (at, len) in [(rows[0].guest.0, 0), (rows[0].guest.0, u32::MAX), (u64::MAX, 1), (0, 1)] {
            // SAFETY: nothing looks at the bytes of these spans.
            assert!(unsafe { lookup.whole(GuestAddress(at), len) }.is_none(), "{at:#x}");
        }
        // SAFETY: as above.
        assert!(unsafe { Lookup::new(&[], &Likely::default()).whole(GuestAddress(0), 1) }.is_none());
    }
}
