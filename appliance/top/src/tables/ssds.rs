//! Table of the SSDs.

use super::cells::{rate_cells, sum, text, whole};
use super::layout::Layout;
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_observe::{Snapshot, Ssd};

/// Column of the requests per second.
const IOPS: usize = 2;

pub(super) const LAYOUT: Layout = Layout { columns: COLUMNS, first_sort: IOPS, rows };

const COLUMNS: &[Column] = &[
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

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.ssds.iter().map(|ssd| row(observed, now, ssd)).collect()
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
