//! Tables: one of each kind of thing.

mod cores;
mod endpoints;
mod ssds;
mod vms;
mod volumes;

use crate::state::{Observed, Tab};
use crate::table::{Cell, Sort, Table};
use luge_init::units;
use luge_observe::{Rates, VolumeRates};

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

/// Sum of the rates of volumes; `None` before the second look.
fn sum<'a>(rates: Option<&Rates>, names: impl IntoIterator<Item = &'a str>) -> Option<VolumeRates> {
    rates?.sum(names)
}

/// Cells of rates: IOPS, bytes read, bytes written, p50, p99, queue depth.
fn rate_cells(rates: Option<&VolumeRates>) -> [Cell; 6] {
    let number =
        |value: fn(&VolumeRates) -> f64, show: fn(f64) -> String| Cell::number(rates.map(value), show);
    [
        number(VolumeRates::iops, units::count),
        number(|rates| rates.read.bytes_per_s, units::bytes),
        number(|rates| rates.write.bytes_per_s, units::bytes),
        latency(rates.and_then(|rates| rates.p50_ns)),
        latency(rates.and_then(|rates| rates.p99_ns)),
        number(VolumeRates::queue_depth, |depth| format!("{depth:.1}")),
    ]
}

/// Cell of a latency.
fn latency(nanoseconds: Option<u64>) -> Cell {
    Cell::number(nanoseconds.map(real), units::microseconds)
}

/// Cell of a number of things.
fn whole(number: Option<u64>) -> Cell {
    Cell::number(number.map(real), units::count)
}

/// Cell of a text that may be absent.
fn text(text: Option<&str>) -> Cell {
    Cell::text(text.unwrap_or(units::ABSENT))
}

/// Nearest floating-point number.
#[expect(clippy::cast_precision_loss, reason = "numbers are shown with three digits")]
const fn real(number: u64) -> f64 {
    number as f64
}
