//! Table of the SSDs.

use super::{rate_cells, sum, text, whole};
use crate::state::Observed;
use crate::table::{Cell, Column, Table};
use luge_observe::{Snapshot, Ssd};

/// Column of the requests per second.
pub(super) const IOPS: usize = 2;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("SSD"),
    Column::text("STATE"),
    Column::number("IOPS"),
    Column::number("READ/s"),
    Column::number("WRITTEN/s"),
    Column::number("p50"),
    Column::number("p99"),
    Column::number("DEPTH"),
    Column::number("BOUNCED"),
    Column::text("ADDRESS"),
];

pub(super) fn table(observed: &Observed) -> Table {
    let rows = observed.now.iter().flat_map(|now| now.ssds.iter().map(|ssd| row(observed, now, ssd)));
    Table { columns: COLUMNS, rows: rows.collect() }
}

/// Row of an SSD: the sum of its volumes.
fn row(observed: &Observed, now: &Snapshot, ssd: &Ssd) -> Vec<Cell> {
    let here = |volume: &&luge_observe::Volume| now.ssd_of(volume).is_some_and(|on| on.name == ssd.name);
    let volumes = now.volumes.iter().filter(here).map(|volume| volume.name.as_str());
    let rates = sum(observed.rates.as_ref(), volumes);
    let mut cells = vec![Cell::text(&ssd.name), text(ssd.state.as_deref())];
    cells.extend(rate_cells(rates.as_ref()));
    cells.push(whole(ssd.bounced));
    cells.push(text(ssd.address.as_deref()));
    cells
}
