//! Tables: one of each kind of thing.

mod cells;
mod cores;
mod endpoints;
mod layout;
mod ssds;
mod vms;
mod volumes;

use crate::observed::Observed;
use crate::tab::Tab;
use crate::table::{Order, Sort, Table};
use layout::Layout;

/// Table of a tab; without rows before the first look.
pub(crate) fn of(tab: Tab, observed: &Observed) -> Table {
    let Layout { columns, rows, .. } = *layout_of(tab);
    Table { columns, rows: observed.now.iter().flat_map(|now| rows(observed, now)).collect() }
}

/// Sorting with which a tab begins.
pub(crate) const fn first_sort(tab: Tab) -> Sort {
    Sort { column: layout_of(tab).first_sort, order: Order::Natural }
}

/// Number of columns of a tab.
pub(crate) const fn columns(tab: Tab) -> usize {
    layout_of(tab).columns.len()
}

const fn layout_of(tab: Tab) -> &'static Layout {
    match tab {
        Tab::Volumes => &volumes::LAYOUT,
        Tab::Ssds => &ssds::LAYOUT,
        Tab::Endpoints => &endpoints::LAYOUT,
        Tab::Vms => &vms::LAYOUT,
        Tab::Cores => &cores::LAYOUT,
    }
}
