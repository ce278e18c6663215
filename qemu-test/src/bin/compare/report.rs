//! Results, as tables and as JSON.

use crate::machine::Machine;
use crate::measure::Sample;
use crate::rows::Row;
use crate::stats::Spread;
use crate::table::{Column, Table};
use serde_json::{Value, json};

/// Samples of one load.
pub(crate) struct Compared {
    pub(crate) row: Row,
    pub(crate) luge: Vec<Sample>,
    pub(crate) peer: Vec<Sample>,
}

/// Samples of the ideal loop at one depth.
pub(crate) struct Ideal {
    pub(crate) depth: u16,
    pub(crate) samples: Vec<Sample>,
}

/// All results of a run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) ideal: Vec<Ideal>,
    pub(crate) rows: Vec<Compared>,
}

/// Format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Markdown,
    Json,
}

impl Form {
    /// Results as tables, one below the other, or as JSON.
    pub(crate) fn write<const N: usize>(self, tables: [Table; N], json: impl FnOnce() -> Value) -> String {
        match self {
            Self::Text => tables.map(|table| table.to_text()).join("\n"),
            Self::Markdown => tables.map(|table| table.to_markdown()).join("\n"),
            Self::Json => format!("{:#}\n", json()),
        }
    }
}

impl Report {
    pub(crate) fn write(&self, form: Form) -> String {
        let tables = [self.machine.table(), ideal_table(&self.ideal), self.table()];
        form.write(tables, || self.to_json())
    }

    fn table(&self) -> Table {
        let mut table = Table::new([
            Column::Words("device"),
            Column::Words("requests"),
            Column::Number("queues x depth"),
            Column::Number("line ns"),
            Column::Number("Luge M IOPS"),
            Column::Number("peer M IOPS"),
            Column::Number("ratio"),
            Column::Number("Luge ns/IO"),
            Column::Number("peer ns/IO"),
            Column::Number("int/IO"),
        ]);
        for Compared { row, luge, peer } in &self.rows {
            let both: Vec<Sample> = luge.iter().chain(peer).copied().collect();
            let target = |samples| median(samples, |sample| Some(sample.target_ns), 1);
            let interrupts = |samples| median(samples, |sample| sample.interrupts, 2);
            table.push([
                row.device.name().to_owned(),
                format!("{} {} B", row.direction.name(), row.bytes),
                format!("{} x {}", row.queues, row.depth),
                median(&both, |sample| sample.round_trip_ns, 0),
                millions(luge),
                millions(peer),
                ratio(luge, peer).map_or_else(unknown, |ratio| format!("{ratio:.2}")),
                target(luge),
                target(peer),
                format!("{} / {}", interrupts(luge), interrupts(peer)),
            ]);
        }
        table
    }

    pub(crate) fn to_json(&self) -> Value {
        let ideal = |one: &Ideal| json!({ "depth": one.depth, "result": numbers(&one.samples) });
        let row = |Compared { row, luge, peer }: &Compared| {
            json!({ "device": row.device.name(), "rw": row.direction.name(), "bs": row.bytes,
                "queues": row.queues, "iodepth": row.depth, "ratio": ratio(luge, peer),
                "luge": numbers(luge), "peer": numbers(peer) })
        };
        json!({ "machine": self.machine.to_json(),
            "ideal": self.ideal.iter().map(ideal).collect::<Vec<_>>(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// Table of the ideal loop.
pub(crate) fn ideal_table(ideal: &[Ideal]) -> Table {
    let mut table = Table::new([
        Column::Words("ideal loop"),
        Column::Number("line ns"),
        Column::Number("M IOPS"),
        Column::Number("ns/IO"),
    ]);
    for Ideal { depth, samples } in ideal {
        table.push([
            format!("depth {depth}"),
            median(samples, |sample| sample.round_trip_ns, 0),
            millions(samples),
            median(samples, |sample| Some(sample.target_ns), 1),
        ]);
    }
    table
}

/// All numbers of some samples, each with its spread.
pub(crate) fn numbers(samples: &[Sample]) -> Value {
    let spread = |number: fn(&Sample) -> Option<f64>| {
        let spread = Spread::of(samples.iter().filter_map(number));
        spread.map_or(
            Value::Null,
            |Spread { median, min, max }| json!({ "median": median, "min": min, "max": max }),
        )
    };
    json!({ "iops": spread(|sample| Some(sample.iops)),
        "target_ns_per_io": spread(|sample| Some(sample.target_ns)),
        "cache_line_round_trip_ns": spread(|sample| sample.round_trip_ns),
        "interrupts_per_io": spread(|sample| sample.interrupts),
        "generator_busy": spread(|sample| sample.generator_busy),
        "latency_p50_ns": spread(|sample| sample.p50_ns),
        "latency_p99_ns": spread(|sample| sample.p99_ns),
        "latency_mean_ns": spread(|sample| sample.mean_ns),
        "latency_p99_99_ns": spread(|sample| sample.p99_99_ns) })
}

/// Requests per second of one server, divided by the other's.
pub(crate) fn ratio(ours: &[Sample], theirs: &[Sample]) -> Option<f64> {
    let iops = |samples: &[Sample]| Spread::of(samples.iter().map(|sample| sample.iops));
    iops(ours)?.ratio(&iops(theirs)?)
}

/// Requests per second in millions: median, lowest and highest.
pub(crate) fn millions(samples: &[Sample]) -> String {
    let Some(Spread { median, min, max }) = Spread::of(samples.iter().map(|sample| sample.iops / 1e6)) else {
        return unknown();
    };
    let digits = if median < 1.0 { 3 } else { 2 };
    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
}

pub(crate) fn median(samples: &[Sample], number: fn(&Sample) -> Option<f64>, digits: usize) -> String {
    let spread = Spread::of(samples.iter().filter_map(number));
    spread.map_or_else(unknown, |spread| format!("{:.digits$}", spread.median))
}

fn unknown() -> String {
    "?".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Selection;

    fn sample(iops: f64, round_trip_ns: Option<f64>) -> Sample {
        let (interrupts, generator_busy) = (Some(0.25), Some(0.5));
        let [p50_ns, p99_ns, max_ns, mean_ns, p99_99_ns] = [800.0, 900.0, 1000.0, 850.0, 950.0].map(Some);
        let target_ns = 1e9 / iops;
        Sample {
            iops,
            target_ns,
            round_trip_ns,
            interrupts,
            generator_busy,
            p50_ns,
            p99_ns,
            max_ns,
            mean_ns,
            p99_99_ns,
        }
    }

    fn report() -> Report {
        let luge = [2e7, 4e7, 5e7].map(|iops| sample(iops, Some(100.0))).to_vec();
        let peer = [2e6, 1e6, 3e6].map(|iops| sample(iops, Some(500.0))).to_vec();
        let row = Compared { row: Selection::Quick.rows()[0], luge, peer };
        let ideal = Ideal { depth: 128, samples: vec![sample(1e8, None)] };
        Report { machine: Machine::for_tests(), ideal: vec![ideal], rows: vec![row] }
    }

    #[test]
    fn a_row_shows_medians_spreads_and_their_ratio() {
        let text = report().write(Form::Markdown);
        let row = text.lines().find(|line| line.starts_with("| null")).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let numbers = ["300", "40.00 (20.00-50.00)", "2.00 (1.00-3.00)", "20.00", "25.0", "500.0"];
        assert_eq!(cells[..3], ["null", "randread 512 B", "1 x 128"]);
        assert_eq!(cells[3..9], numbers);
        assert_eq!(cells[9..], ["0.25 / 0.25"]);
    }

    #[test]
    fn an_unknown_number_is_a_question_mark() {
        let text = report().write(Form::Text);
        let line = text.lines().find(|line| line.starts_with("depth 128")).unwrap();
        assert_eq!(line.split_whitespace().nth(2), Some("?"), "{line}");
    }

    #[test]
    fn json_has_every_number_with_its_spread() {
        let json: Value = serde_json::from_str(&report().write(Form::Json)).unwrap();
        let row = &json["rows"][0];
        assert_eq!(row["ratio"].as_f64(), Some(20.0));
        assert_eq!(row["iodepth"].as_u64(), Some(128));
        assert_eq!(row["peer"]["iops"], json!({ "median": 2e6, "min": 1e6, "max": 3e6 }));
        assert_eq!(json["ideal"][0]["result"]["cache_line_round_trip_ns"], Value::Null);
        assert_eq!(json["machine"]["peer"], "peer 1.0");
    }
}
