//! Table of the SSDs.

use super::cells::{percent, rate_cells, sum, text, whole};
use super::layout::{Layout, around_rates};
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Health, Snapshot, Ssd};

pub(super) const LAYOUT: Layout = Layout { columns: &COLUMNS, first_sort: BEFORE.len(), rows };

const COLUMNS: [Column; 14] = around_rates(&BEFORE, &AFTER);

const BEFORE: [Column; 3] = [Column::text("SSD"), Column::text("STATE"), Column::text("HEALTH")];

const AFTER: [Column; 5] = [
    Column::number("TEMP"),
    Column::number("USED"),
    Column::number("SPARE"),
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
    let of_health = |number: fn(&Health) -> Option<u64>| ssd.health.as_ref().and_then(number);
    let mut cells = vec![Cell::text(&ssd.name), state(ssd), health(ssd)];
    cells.extend(rate_cells(rates.as_ref()));
    cells.push(temperature(ssd));
    cells.push(percent(of_health(|health| health.used_percent)));
    cells.push(percent(of_health(|health| health.spare_percent)));
    cells.push(whole(ssd.bounced));
    cells.push(text(ssd.address.as_deref()));
    cells
}

fn state(ssd: &Ssd) -> Cell {
    let state = ssd.state.as_deref();
    text(state).alarm_if(state.is_some_and(|state| state != "enabled"))
}

/// Warnings of the SSD.
fn health(ssd: &Ssd) -> Cell {
    match ssd.health.as_ref().and_then(Health::warnings) {
        None => Cell::text(units::ABSENT),
        Some(warnings) if warnings.is_empty() => Cell::text("good"),
        Some(warnings) => Cell::text(warnings.join(", ")).alarm_if(true),
    }
}

fn temperature(ssd: &Ssd) -> Cell {
    let celsius = ssd.health.as_ref().and_then(|health| health.temperature_celsius);
    // Those that are no temperatures are not shown.
    let celsius = celsius.and_then(|celsius| i16::try_from(celsius).ok()).map(f64::from);
    Cell::number(celsius, |celsius| format!("{celsius} C"))
}
