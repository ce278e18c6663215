//! Cells of rates, latencies and numbers, as all tables have them.

use crate::table::{Cell, Column};
use luge_init::units;
use luge_observe::{Rates, VolumeRates};

/// Columns of rates, with the cells of [`rate_cells`].
pub(super) const RATES: [Column; 6] = [
    Column::number("IOPS").at_least(5),
    Column::number("READ/s").at_least(8),
    Column::number("WRITTEN/s"),
    Column::number("p50").at_least(7),
    Column::number("p99").at_least(7),
    Column::number("DEPTH"),
];

/// Sum of the rates of volumes; `None` before the second look.
pub(super) fn sum<'a>(
    rates: Option<&Rates>,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<VolumeRates> {
    rates?.sum(names)
}

/// Cells of rates, in the order of [`RATES`].
pub(super) fn rate_cells(rates: Option<&VolumeRates>) -> [Cell; 6] {
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
pub(super) fn latency(nanoseconds: Option<u64>) -> Cell {
    Cell::number(nanoseconds.map(real), units::duration)
}

/// Cell of a number of things.
pub(super) fn whole(number: Option<u64>) -> Cell {
    Cell::number(number.map(real), units::count)
}

/// Cell of a share, given in percent.
pub(super) fn percent(number: Option<u64>) -> Cell {
    Cell::number(number.map(real), |number| format!("{number} %"))
}

/// Cell of a text that may be absent.
pub(super) fn text(text: Option<&str>) -> Cell {
    Cell::text(text.unwrap_or(units::ABSENT))
}

/// Nearest floating-point number.
#[expect(clippy::cast_precision_loss, reason = "numbers are shown with three digits")]
pub(super) const fn real(number: u64) -> f64 {
    number as f64
}
