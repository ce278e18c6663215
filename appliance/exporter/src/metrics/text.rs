//! Writer of Prometheus' text format, version 0.0.4.
//!
//! Invariant: no two samples of a family have equal labels, or Prometheus would take none of all metrics. Of several, the
//! first stays.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

/// Media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Type of a metric family.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Total that only grows, until a restart.
    Counter,
    /// Value that goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels of a sample: names and values.
pub type Labels<'a> = [(&'a str, &'a str)];

/// Text with all families so far.
#[derive(Debug, Default)]
pub struct Text(String);

/// Family that samples are added to.
#[derive(Debug)]
pub struct Family<'t> {
    text: &'t mut Text,
    name: &'static str,
    /// Labels of the samples so far.
    labels: BTreeSet<String>,
}

impl Text {
    /// Begins a family. Its samples have to follow at once.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        self.line(format_args!("# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n")));
        self.line(format_args!("# TYPE {name} {}", kind.word()));
        Family { text: self, name, labels: BTreeSet::new() }
    }

    /// Text of all families.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: impl Display) {
        // Strings take everything.
        let _ = writeln!(self.0, "{line}");
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        if self.labels.insert(written(labels)) {
            self.line("", labels, value);
        }
    }

    /// Adds a histogram. `buckets` are cumulative, by their bounds in seconds; the last one has no bound.
    pub fn histogram(&mut self, labels: &Labels<'_>, buckets: &[Cumulative], sum: f64) {
        if !self.labels.insert(written(labels)) {
            return;
        }
        for bucket in buckets {
            let bound = bucket.bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let with_bound: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line("_bucket", &with_bound, bucket.count);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, buckets.last().map_or(0, |all| all.count));
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, value: impl Display) {
        self.text.line(format_args!("{}{suffix}{} {value}", self.name, written(labels)));
    }
}

/// Labels as the format has them behind a name; nothing without labels.
fn written(labels: &Labels<'_>) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

/// Bucket of a histogram with all that is below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cumulative {
    /// Upper bound; none for the last one.
    pub bound: Option<f64>,
    /// Values up to the bound.
    pub count: u64,
}

/// Value of a label, as the format quotes it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_a_type_and_samples() {
        let mut text = Text::default();
        text.family("a_bytes_total", Kind::Counter, "Bytes\nof \\ all").sample(&[("v", "x\"\\\n")], 3);
        assert_eq!(
            text.finish(),
            "# HELP a_bytes_total Bytes\\nof \\\\ all\n# TYPE a_bytes_total counter\na_bytes_total{v=\"x\\\"\\\\\\n\"} 3\n"
        );
    }

    #[test]
    fn of_samples_with_equal_labels_the_first_stays() {
        let mut text = Text::default();
        let mut family = text.family("a", Kind::Gauge, "A");
        for (label, value) in [("x", 1), ("y", 2), ("x", 3)] {
            family.sample(&[("v", label)], value);
        }
        for sum in [4.0, 5.0] {
            family.histogram(&[("v", "z")], &[], sum);
        }
        let samples = "a{v=\"x\"} 1\na{v=\"y\"} 2\na_sum{v=\"z\"} 4\na_count{v=\"z\"} 0\n";
        assert!(text.finish().ends_with(samples));
    }

    #[test]
    fn a_histogram_ends_with_all_values_their_sum_and_their_count() {
        let mut text = Text::default();
        let buckets = [Cumulative { bound: Some(0.5), count: 1 }, Cumulative { bound: None, count: 3 }];
        text.family("a_seconds", Kind::Histogram, "A").histogram(&[], &buckets, 2.25);
        let samples = "a_seconds_bucket{le=\"0.5\"} 1\na_seconds_bucket{le=\"+Inf\"} 3\na_seconds_sum 2.25\na_seconds_count 3\n";
        assert!(text.finish().ends_with(samples));
    }
}
