//! Table of the volumes.

use super::cells::{rate_cells, real, text};
use super::layout::Layout;
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Snapshot, Volume};

/// Column of the requests per second.
const IOPS: usize = 1;

pub(super) const LAYOUT: Layout = Layout { columns: COLUMNS, first_sort: IOPS, rows };

const COLUMNS: &[Column] = &[
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

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.volumes.iter().map(|volume| row(observed, now, volume)).collect()
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
