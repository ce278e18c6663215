//! Picture of a report: bars on a logarithmic scale, as SVG, for light and dark pages.
//!
//! It is drawn from the report's JSON, so that a saved report can be drawn again.
//!
//! - `chart`: what is drawn. `svg`: the drawing.

mod chart;
mod svg;

use crate::stats::Spread;
use chart::{Chart, Group};
use luge_qemu_test::TestError;
use serde_json::Value;

/// A kind of report.
struct Kind {
    title: &'static str,
    unit: &'static str,
    /// Members of a row with the numbers, and the names of their series.
    series: &'static [(&'static str, &'static str)],
    number: fn(&Value) -> Option<Spread>,
}

/// All kinds. A report is of the first of which its rows have every member.
const KINDS: [Kind; 4] = [
    Kind {
        title: "SCSI LUN, virtio disk of the same volume, and QEMU's virtio disk",
        unit: MILLIONS,
        series: &[("scsi", "Luge SCSI"), ("virtio", "Luge virtio"), ("peer", "qemu-storage-daemon")],
        number: millions,
    },
    Kind {
        title: "Virtio disks of Luge and of qemu-storage-daemon",
        unit: MILLIONS,
        series: &[("luge", "Luge"), ("peer", "qemu-storage-daemon")],
        number: millions,
    },
    Kind {
        title: "NVMe controller, and virtio disk of the same volume",
        unit: MILLIONS,
        series: &[("nvme", "Luge NVMe"), ("virtio", "Luge virtio")],
        number: millions,
    },
    Kind {
        title: "A disk beside others on its core",
        unit: "latency, as a multiple of that beside an honest tenant",
        series: &[("latency_p50_ns", "median"), ("latency_p99_ns", "99 %")],
        number: ratio,
    },
];

const MILLIONS: &str = "million requests per second on one core; the thin line is the spread of the rounds";

/// Draws a report in JSON.
///
/// # Errors
/// The text is no report of `cargo compare --json`, or has no row.
pub(crate) fn draw_text(report: &str) -> Result<String, TestError> {
    let json: Value = serde_json::from_str(report).map_err(|error| {
        TestError::Host(format!("this is no JSON ({error}): give it a report of `--json`"))
    })?;
    draw(&json)
}

/// Draws a report.
///
/// # Errors
/// It is no report, or has no row.
pub(crate) fn draw(report: &Value) -> Result<String, TestError> {
    let rows = report["rows"].as_array().filter(|rows| !rows.is_empty());
    let rows = rows.ok_or_else(|| TestError::Host("the report has no rows to be drawn".into()))?;
    let has_all =
        |kind: &&Kind| kind.series.iter().all(|(member, _)| rows.iter().all(|row| row[*member].is_object()));
    let kind = KINDS.iter().find(has_all);
    let kind = kind.ok_or_else(|| {
        TestError::Host("the rows are none of `cargo compare`: give it a report of `--json`".into())
    })?;
    let group = |row: &Value| Group {
        label: label(row),
        bars: kind.series.iter().map(|(member, _)| (kind.number)(&row[*member])).collect(),
    };
    let series = kind.series.iter().map(|(_, name)| *name).collect();
    let chart =
        Chart { title: kind.title, unit: kind.unit, series, groups: rows.iter().map(group).collect() };
    Ok(svg::draw(&chart))
}

/// Requests per second, in millions.
fn millions(numbers: &Value) -> Option<Spread> {
    let of = |name: &str| numbers["iops"][name].as_f64().map(|iops| iops / 1e6);
    positive(Spread { median: of("median")?, min: of("min")?, max: of("max")? })
}

fn ratio(number: &Value) -> Option<Spread> {
    let ratio = number["ratio"].as_f64()?;
    positive(Spread { median: ratio, min: ratio, max: ratio })
}

/// Numbers that a logarithmic scale has.
fn positive(spread: Spread) -> Option<Spread> {
    let all = [spread.min, spread.median, spread.max];
    all.iter().all(|number| number.is_finite() && *number > 0.0).then_some(spread)
}

/// Text beside the bars of a row.
fn label(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
    let number = |name: &str| row[name].as_u64();
    let depth = number("iodepth").unwrap_or(0);
    if row["beside"].is_string() {
        return format!("{} x {depth}, beside {}", text("device"), text("beside"));
    }
    let load =
        [number("controllers"), number("queues")].into_iter().flatten().map(|count| format!("{count} x "));
    let load: String = load.collect();
    format!("{} {} {} B, {load}{depth}", text("device"), text("rw"), number("bs").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn numbers(median: f64) -> Value {
        json!({ "iops": { "median": median, "min": median / 2.0, "max": median * 2.0 } })
    }

    fn report(members: Value) -> Value {
        let mut row = json!({ "device": "null", "rw": "randread", "bs": 512, "queues": 1, "iodepth": 128 });
        row.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({ "rows": [row] })
    }

    #[test]
    fn a_report_of_each_kind_is_drawn_with_its_series() {
        let beside = json!({ "value": 5.0, "ratio": 2.0 });
        let kinds = [
            (json!({ "luge": numbers(2e7), "peer": numbers(1e6) }), "qemu-storage-daemon"),
            (json!({ "nvme": numbers(2e7), "virtio": numbers(1e6) }), "Luge NVMe"),
            (json!({ "scsi": numbers(2e7), "virtio": numbers(1e6), "peer": numbers(1e6) }), "Luge SCSI"),
            (json!({ "beside": "idle rings", "latency_p50_ns": beside, "latency_p99_ns": beside }), "99 %"),
        ];
        for (members, series) in kinds {
            let picture = draw(&report(members)).unwrap();
            assert!(picture.contains(series), "{series}:\n{picture}");
        }
    }

    #[test]
    fn a_controller_without_a_virtio_disk_beside_it_has_its_own_bar_only() {
        let unknown = json!({ "iops": null });
        let picture = draw(&report(json!({ "nvme": numbers(2e7), "virtio": unknown }))).unwrap();
        assert_eq!(picture.matches("class=\"bar").count(), 1, "{picture}");
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_remedy() {
        let refused = ["", "{}", "{\"rows\": []}", "{\"rows\": [{}]}", "[1]", "{\"rows\": [7, null]}"];
        for text in refused {
            let said = draw_text(text).unwrap_err().to_string();
            assert!(said.contains("--json") || said.contains("no rows"), "{text}: {said}");
        }
    }

    #[test]
    fn numbers_that_a_scale_cannot_have_are_left_out() {
        for wrong in [0.0, -1.0, f64::MAX] {
            let picture = draw(&report(json!({ "luge": numbers(wrong), "peer": numbers(1e6) }))).unwrap();
            assert_eq!(picture.matches("class=\"bar").count(), 1, "{wrong}: {picture}");
        }
    }
}
