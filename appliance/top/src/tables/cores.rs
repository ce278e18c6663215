//! Table of the cores.

use super::cells::{real, whole};
use super::layout::Layout;
use crate::observed::Observed;
use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Core, CoreRates, Snapshot};

/// Column of the CPU's number.
const CPU: usize = 0;

/// Number of tenants that are named.
const TENANTS_SHOWN: usize = 3;

pub(super) const LAYOUT: Layout = Layout { columns: COLUMNS, first_sort: CPU, rows };

const COLUMNS: &[Column] = &[
    Column::text("CPU"),
    Column::number("BUSY"),
    Column::number("RINGS"),
    Column::number("NUMA"),
    Column::number("LONGEST TURN"),
    Column::text("STATE"),
    Column::text("TENANTS"),
];

fn rows(observed: &Observed, now: &Snapshot) -> Vec<Vec<Cell>> {
    now.cores.iter().map(|core| row(observed, core)).collect()
}

fn row(observed: &Observed, core: &Core) -> Vec<Cell> {
    let rates = observed.rates.as_ref().and_then(|rates| rates.core(core.id));
    vec![
        Cell::text(format!("{:>3}", core.id)),
        Cell::number(rates.and_then(|rates| rates.busy), units::percent),
        whole(core.rings),
        whole(core.numa_node),
        Cell::number(core.longest_turn_us.map(|us| real(us) * 1000.0), units::duration),
        Cell::text(state(core)),
        Cell::text(rates.map_or_else(String::new, tenants)),
    ]
}

fn state(core: &Core) -> &'static str {
    match core.is_asleep {
        Some(true) => "asleep",
        Some(false) => "polls",
        None => units::ABSENT,
    }
}

/// The tenants with the most work since the last look, and their shares.
fn tenants(rates: &CoreRates) -> String {
    let shown = rates.tenants.iter().take(TENANTS_SHOWN);
    let mut words: Vec<String> =
        shown.map(|(name, share)| format!("{name} {}", units::percent(*share))).collect();
    if rates.tenants.len() > TENANTS_SHOWN {
        words.push(format!("{} more", rates.tenants.len() - TENANTS_SHOWN));
    }
    words.join(", ")
}
