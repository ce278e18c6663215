//! Table of the volumes.

use super::{rate_cells, real, text};
use crate::state::Observed;
use crate::table::{Cell, Column, Table};
use luge_init::units;
use luge_observe::{Snapshot, Volume};

/// Column of the requests per second.
pub(super) const IOPS: usize = 1;

pub(super) const COLUMNS: &[Column] = &[
    Column::text("VOLUME"),
    Column::number("IOPS"),
    Column::number("READ/s"),
    Column::number("WRITTEN/s"),
    Column::number("p50"),
    Column::number("p99"),
    Column::number("DEPTH"),
    Column::number("SIZE"),
    Column::number("FAILED/s"),
    Column::text("ON"),
];

pub(super) fn table(observed: &Observed) -> Table {
    let rows =
        observed.now.iter().flat_map(|now| now.volumes.iter().map(|volume| row(observed, now, volume)));
    Table { columns: COLUMNS, rows: rows.collect() }
}

fn row(observed: &Observed, now: &Snapshot, volume: &Volume) -> Vec<Cell> {
    let rates = observed.rates.as_ref().and_then(|rates| rates.volume(&volume.name));
    let mut cells = vec![Cell::text(&volume.name)];
    cells.extend(rate_cells(rates));
    cells.push(Cell::number(volume.size_bytes().map(real), units::gibibytes));
    cells.push(Cell::number(rates.map(|rates| rates.failed_per_s), units::count));
    let ssd = now.ssd_of(volume).map(|ssd| ssd.name.as_str());
    cells.push(text(ssd.or(volume.base.as_deref()).or(volume.product.as_deref())));
    cells
}
