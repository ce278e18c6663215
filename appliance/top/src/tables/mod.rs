//! Tables: one of each kind of thing.

mod cells;
mod cores;
mod endpoints;
mod ssds;
mod vms;
mod volumes;

use crate::observed::Observed;
use crate::tab::Tab;
use crate::table::{Sort, Table};

/// Table of a tab.
pub(crate) fn of(tab: Tab, observed: &Observed) -> Table {
    match tab {
        Tab::Volumes => volumes::table(observed),
        Tab::Ssds => ssds::table(observed),
        Tab::Endpoints => endpoints::table(observed),
        Tab::Vms => vms::table(observed),
        Tab::Cores => cores::table(observed),
    }
}

/// Sorting with which a tab begins.
pub(crate) const fn first_sort(tab: Tab) -> Sort {
    let column = match tab {
        Tab::Volumes => volumes::IOPS,
        Tab::Ssds => ssds::IOPS,
        Tab::Endpoints => endpoints::IOPS,
        Tab::Vms => vms::IOPS,
        Tab::Cores => cores::CPU,
    };
    Sort { column, order: crate::table::Order::Natural }
}

/// Number of columns of a tab.
pub(crate) const fn columns(tab: Tab) -> usize {
    match tab {
        Tab::Volumes => volumes::COLUMNS.len(),
        Tab::Ssds => ssds::COLUMNS.len(),
        Tab::Endpoints => endpoints::COLUMNS.len(),
        Tab::Vms => vms::COLUMNS.len(),
        Tab::Cores => cores::COLUMNS.len(),
    }
}
