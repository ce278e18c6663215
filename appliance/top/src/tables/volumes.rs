//! Table of the volumes.

use super::cells::{rate_cells, real, text};
use super::layout::{Layout, around_rates};
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Snapshot, Volume};

pub(super) const LAYOUT: Layout = Layout { columns: &COLUMNS, first_sort: BEFORE.len(), rows };

const COLUMNS: [Column; 10] = around_rates(&BEFORE, &AFTER);

const BEFORE: [Column; 1] = [Column::text("VOLUME")];

const AFTER: [Column; 3] = [Column::number("SIZE"), Column::number("FAILED/s"), Column::text("ON")];

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.volumes.iter().map(|volume| row(observed, now, volume)).collect()
}

fn row(observed: &Observed, now: &Snapshot, volume: &Volume) -> Vec<Cell> {
    let rates = observed.rates.as_ref().and_then(|rates| rates.volume(&volume.name));
    let mut cells = vec![Cell::text(&volume.name)];
    cells.extend(rate_cells(rates));
    cells.push(Cell::number(volume.size_bytes().map(real), units::gibibytes));
    let failed = rates.map(|rates| rates.failed_per_s);
    cells.push(Cell::number(failed, units::count).alarm_if(failed > Some(0.0)));
    let ssd = now.ssd_of(volume).map(|ssd| ssd.name.as_str());
    cells.push(text(ssd.or(volume.base.as_deref()).or(volume.product.as_deref())));
    cells
}
