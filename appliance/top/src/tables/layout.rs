//! Layout of a table: its columns, how it begins, and its rows.

use super::cells::RATES;
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_observe::Snapshot;

/// Layout of a table.
pub(super) struct Layout {
    pub(super) columns: &'static [Column],
    /// Column by which it is sorted at first.
    pub(super) first_sort: usize,
    /// Rows of a snapshot.
    pub(super) rows: fn(&Observed, &Snapshot) -> Vec<Vec<Cell>>,
}

/// `N` columns: those of [`RATES`] between others. Another `N` than their number is an error of the compiler.
pub(super) const fn around_rates<const N: usize>(before: &[Column], after: &[Column]) -> [Column; N] {
    assert!(N == before.len() + RATES.len() + after.len());
    let mut columns = [RATES[0]; N];
    let (first, rest) = columns.split_at_mut(before.len());
    let (rates, last) = rest.split_at_mut(RATES.len());
    first.copy_from_slice(before);
    rates.copy_from_slice(&RATES);
    last.copy_from_slice(after);
    columns
}
