//! Table of the endpoints: disks, host bus adapters, NVMe subsystems.

use super::cells::{rate_cells, real, sum, whole};
use super::layout::{Layout, around_rates};
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Endpoint, Snapshot};

pub(super) const LAYOUT: Layout = Layout { columns: &COLUMNS, first_sort: BEFORE.len(), rows };

const COLUMNS: [Column; 11] = around_rates(&BEFORE, &AFTER);

const BEFORE: [Column; 2] = [Column::text("ENDPOINT"), Column::text("KIND")];

const AFTER: [Column; 3] = [Column::number("GUESTS"), Column::text("WAITS"), Column::text("VOLUMES")];

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.endpoints.iter().map(|endpoint| row(observed, endpoint)).collect()
}

/// Row of an endpoint: the sum of its volumes, whoever else uses them.
fn row(observed: &Observed, endpoint: &Endpoint) -> Vec<Cell> {
    let rates = sum(observed.rates.as_ref(), endpoint.volumes.iter().map(String::as_str));
    let mut cells = vec![Cell::text(&endpoint.name), Cell::text(endpoint.kind.name())];
    cells.extend(rate_cells(rates.as_ref()));
    cells.push(whole(endpoint.front_ends));
    let waits = waits(endpoint);
    cells.push(Cell::text(waits.as_deref().unwrap_or(units::ABSENT)).alarm_if(waits.is_some()));
    cells.push(Cell::text(endpoint.volumes.join(",")));
    cells
}

/// Front ends that the endpoint keeps waiting, and those that keep it waiting; `None` if there are none.
fn waits(endpoint: &Endpoint) -> Option<String> {
    let some = |number: Option<u64>| number.filter(|number| *number > 0);
    let words = [
        some(endpoint.waiting).map(|count| format!("{count} in line")),
        some(endpoint.pause_left_ms).map(|ms| format!("paused {:.1} s", real(ms) / 1000.0)),
        some(endpoint.memory_stalls).map(|count| format!("{count} stalls")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(", "))
}
