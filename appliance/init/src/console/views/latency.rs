//! Latencies of the volumes since the start.

use super::View;
use super::row::{Row, cells, list, number, shown, text};
use crate::units;
use serde_json::Value;

/// View of all operations and size classes with requests.
pub(super) fn view(result: &Value) -> Option<View> {
    let volumes = result.as_array()?.iter();
    let rows = volumes.flat_map(|volume| list(volume, "operations").map(move |one| row(volume, one)));
    Some(View::table(rows.collect()))
}

fn row(volume: &Value, operation: &Value) -> Row {
    let latency = |key: &str| shown(number(operation, key), units::microseconds);
    let count = number(operation, "count");
    let mean = number(operation, "sum_ns").zip(count).filter(|(_, count)| *count > 0.0);
    cells([
        ("name", text(volume, "name")),
        ("operation", text(operation, "operation")),
        ("size", text(operation, "size_class")),
        ("requests", shown(count, units::count)),
        ("mean", shown(mean.map(|(sum, count)| sum / count), units::microseconds)),
        ("p50", latency("p50_ns")),
        ("p99", latency("p99_ns")),
        ("p99.9", latency("p999_ns")),
        ("longest", latency("max_ns")),
        ("shortest", latency("min_ns")),
    ])
}
