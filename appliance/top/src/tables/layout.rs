//! Layout of a table: its columns, how it begins, and its rows.

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
