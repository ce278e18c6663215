//! Results beside neighbours, as a table and as JSON.

use super::beside::{Beside, Seen};
use crate::report::Form;
use crate::stats::Spread;
use crate::table::{Column, Table};
use luge_qemu_test::neighbours::{DiskKind, Evenness};
use serde_json::{Value, json};

/// Results of a run.
pub(crate) struct Report {
    /// Properties of the machine and of the run.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) rows: Vec<Beside>,
}

/// A number of a victim.
#[derive(Clone, Copy)]
struct Number {
    /// Name in JSON.
    name: &'static str,
    /// Head of its column.
    head: &'static str,
    /// Factor from the JSON's unit to the column's.
    scale: f64,
    of: fn(&Seen) -> Option<f64>,
    /// The number of all rounds.
    over_rounds: fn(Spread) -> f64,
}

const NUMBERS: [Number; 5] = [
    Number {
        name: "latency_p50_ns",
        head: "median us",
        scale: 1e-3,
        of: |seen| seen.sample.p50_ns,
        over_rounds: median,
    },
    Number {
        name: "latency_p99_ns",
        head: "p99 us",
        scale: 1e-3,
        of: |seen| seen.sample.p99_ns,
        over_rounds: median,
    },
    Number {
        name: "latency_max_ns",
        head: "longest us",
        scale: 1e-3,
        of: |seen| seen.sample.max_ns,
        over_rounds: highest,
    },
    Number {
        name: "iops",
        head: "k IOPS",
        scale: 1e-3,
        of: |seen| Some(seen.sample.iops),
        over_rounds: median,
    },
    Number { name: "share", head: "share %", scale: 1e2, of: |seen| seen.share, over_rounds: median },
];

fn median(spread: Spread) -> f64 {
    spread.median
}

fn highest(spread: Spread) -> f64 {
    spread.max
}

impl Number {
    /// The number of a row, in the JSON's unit; none if it was never measured.
    fn measured(&self, row: &Beside) -> Option<f64> {
        Spread::of(row.seen.iter().filter_map(self.of)).map(self.over_rounds)
    }

    /// The number of a row divided by that of the reference.
    fn ratio(&self, row: &Beside, reference: &Beside) -> Option<f64> {
        let (ours, theirs) = (self.measured(row)?, self.measured(reference)?);
        (theirs != 0.0).then(|| ours / theirs)
    }
}

impl Report {
    pub(crate) fn write(&self, form: Form) -> String {
        let tables = [self.facts_table(), self.table()];
        match form {
            Form::Text => tables.map(|table| table.to_text()).join("\n") + &self.notes(),
            Form::Markdown => tables.map(|table| table.to_markdown()).join("\n") + &self.notes(),
            Form::Json => format!("{:#}\n", self.to_json()),
        }
    }

    fn facts_table(&self) -> Table {
        let mut table = Table::new([Column::Words("machine"), Column::Words("setting")]);
        self.facts.iter().for_each(|(name, fact)| table.push([(*name).to_owned(), fact.clone()]));
        table
    }

    /// Rows of each device and depth, one after the other.
    fn sorted(&self) -> Vec<&Beside> {
        let mut rows: Vec<&Beside> = self.rows.iter().collect();
        rows.sort_by_key(|row| [usize::from(row.kind == DiskKind::Memory), row.depth.into()]);
        rows
    }

    fn reference(&self, of: &Beside) -> Option<&Beside> {
        let alike = |row: &&Beside| row.kind == of.kind && row.depth == of.depth;
        self.rows.iter().filter(alike).find(|row| row.is_reference())
    }

    fn table(&self) -> Table {
        let words = ["device", "beside"].map(Column::Words);
        let numbers = NUMBERS.iter().flat_map(|number| [number.head, "ratio"]).map(Column::Number);
        let columns: Vec<Column> = words.into_iter().chain(numbers).collect();
        let mut table = Table::new(columns);
        for row in self.sorted() {
            let place = format!("{} x {}", name_of(row.kind), row.depth);
            let numbers = NUMBERS.iter().flat_map(|number| {
                let ratio = self.reference(row).and_then(|reference| number.ratio(row, reference));
                [number.measured(row).map(|value| value * number.scale), ratio].map(cell)
            });
            table.push_all([place, who(row).to_owned()].into_iter().chain(numbers).collect());
        }
        table
    }

    /// Parts of tenants that are many, refusals and failures, each in lines of its own.
    fn notes(&self) -> String {
        let mut notes = String::new();
        for row in self.sorted() {
            let place = format!("\n{} x {} beside {}", name_of(row.kind), row.depth, who(row));
            if let Some(Evenness { least, most }) = row.evenness() {
                notes += &format!("{place}: {least:.2} to {most:.2} of an equal share for each of these\n");
            }
            if let Some(refusal) = &row.refusal {
                notes += &format!("{place}: refused: {}\n", refusal.trim_end());
            }
            if let Some(failure) = &row.failure {
                notes += &format!("{place}: {}\n", failure.trim_end());
            }
        }
        notes
    }

    pub(crate) fn to_json(&self) -> Value {
        let facts: Value = self.facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect();
        let rows = self.sorted().into_iter().map(|row| self.row_to_json(row)).collect::<Vec<_>>();
        json!({ "machine": facts, "rows": rows })
    }

    fn row_to_json(&self, row: &Beside) -> Value {
        let numbers = NUMBERS.iter().map(|number| {
            let ratio = self.reference(row).and_then(|reference| number.ratio(row, reference));
            (number.name.to_owned(), json!({ "value": number.measured(row), "ratio": ratio }))
        });
        let mut value = json!({ "device": name_of(row.kind), "iodepth": row.depth, "beside": who(row),
            "rounds": row.seen.len(), "refusal": row.refusal, "failure": row.failure,
            "parts_of_equal": row.evenness().map(|it| json!({ "least": it.least, "most": it.most })) });
        if let Value::Object(members) = &mut value {
            members.extend(numbers);
        }
        value
    }
}

const fn name_of(kind: DiskKind) -> &'static str {
    match kind {
        DiskKind::Null => "null",
        DiskKind::Memory => "memory",
    }
}

fn who(row: &Beside) -> &str {
    row.neighbour.as_deref().unwrap_or("nobody")
}

/// A number with three digits or more.
fn cell(value: Option<f64>) -> String {
    match value {
        None => "?".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;
    use luge_qemu_test::neighbours::HONEST;

    fn beside(neighbour: Option<&str>, p50_ns: f64, longest_ns: &[f64]) -> Beside {
        let seen = longest_ns.iter().map(|&max_ns| {
            let sample = Sample {
                iops: 1e6,
                target_ns: 50.0,
                round_trip_ns: None,
                interrupts: None,
                generator_busy: None,
                p50_ns: Some(p50_ns),
                p99_ns: Some(2.0 * p50_ns),
                max_ns: Some(max_ns),
                mean_ns: None,
                p99_99_ns: None,
            };
            Seen { sample, share: Some(0.25), evenness: None }
        });
        let neighbour = neighbour.map(str::to_owned);
        let (seen, refusal, failure) = (seen.collect(), None, None);
        Beside { kind: DiskKind::Null, depth: 1, neighbour, seen, refusal, failure }
    }

    fn report() -> Report {
        let failed = Beside { failure: Some("no answer".to_owned()), ..beside(Some("mute"), 0.0, &[]) };
        let rows = vec![
            beside(None, 500.0, &[1e4]),
            beside(Some(&HONEST[0].name()), 1000.0, &[2e4, 1e4]),
            beside(Some("loud"), 4000.0, &[1e4, 3e4]),
            failed,
        ];
        Report { facts: vec![("load before", "0.1".to_owned())], rows }
    }

    fn cells(text: &str, who: &str) -> Vec<String> {
        let row = text.lines().find(|line| line.contains(&format!("| {who} "))).unwrap();
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    }

    #[test]
    fn a_row_shows_each_number_and_its_ratio_to_the_honest_tenant() {
        let text = report().write(Form::Markdown);
        let numbers = ["4.00", "4.00", "8.00", "4.00", "30.0", "1.50", "1000", "1.00", "25.0", "1.00"];
        assert_eq!(cells(&text, "loud")[2..], numbers);
        assert_eq!(cells(&text, "nobody")[3], "0.50");
    }

    #[test]
    fn a_victim_that_failed_has_no_numbers_and_its_reason_is_told() {
        let text = report().write(Form::Markdown);
        assert_eq!(cells(&text, "mute")[2..4], ["?", "?"]);
        assert!(text.ends_with("\nnull x 1 beside mute: no answer\n"), "{text}");
    }

    #[test]
    fn tenants_that_are_many_have_a_line_of_their_least_and_greatest_parts() {
        let mut report = report();
        let parts = [[0.9, 1.0], [0.97, 1.05]].map(|[least, most]| Some(Evenness { least, most }));
        report.rows[1].seen.iter_mut().zip(parts).for_each(|(seen, parts)| seen.evenness = parts);
        let text = report.write(Form::Markdown);
        let line = "\nnull x 1 beside an honest tenant: 0.90 to 1.05 of an equal share for each of these\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(report.to_json()["rows"][1]["parts_of_equal"], json!({ "least": 0.9, "most": 1.05 }));
    }

    #[test]
    fn json_has_every_number_with_its_ratio() {
        let json: Value = serde_json::from_str(&report().write(Form::Json)).unwrap();
        assert_eq!(json["rows"][2]["latency_max_ns"], json!({ "value": 3e4, "ratio": 1.5 }));
        assert_eq!(json["rows"][2]["share"]["value"], 0.25);
        assert_eq!(json["rows"][3]["failure"], "no answer");
        assert_eq!(json["rows"][3]["iops"]["value"], Value::Null);
        assert_eq!(json["machine"]["load before"], "0.1");
    }
}
