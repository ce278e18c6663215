//! A trace as text: a line for each event, for people or as JSON.

use super::time::rfc3339;
use luge_trace::{Kind, Record, Source, Trace};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Escape sequences of a terminal for errors, for warnings, for times, and back.
pub(super) struct Colours {
    error: &'static str,
    warning: &'static str,
    time: &'static str,
    off: &'static str,
}

pub(super) const PLAIN: Colours = Colours { error: "", warning: "", time: "", off: "" };
pub(super) const COLOURED: Colours =
    Colours { error: "\x1b[31m", warning: "\x1b[33m", time: "\x1b[2m", off: "\x1b[0m" };

impl Colours {
    fn of(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::ERROR | Kind::PANIC => self.error,
            Kind::WARNING | Kind::LONG_TURN | Kind::LONG_VISIT => self.warning,
            _ => "",
        }
    }
}

/// A line for each event: time, source, kind, and what belongs to it, in columns.
pub(super) fn lines(trace: &Trace, colours: &Colours) -> String {
    let mut text = String::new();
    for record in &trace.records {
        let Colours { time, off, .. } = colours;
        let (at, source, kind) = (rfc3339(record.time_ns), record.source.to_string(), kind_name(record.kind));
        let (colour, detail) = (colours.of(record.kind), detail(record));
        let end = if colour.is_empty() { "" } else { off };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{time}{at}{off}  {source:<10}  {colour}{kind:<15}  {detail}{end}");
    }
    text
}

/// A JSON object for each event, on a line of its own.
pub(super) fn json(trace: &Trace) -> String {
    trace.records.iter().map(|record| event(record).to_string() + "\n").collect()
}

/// An event as a JSON object.
#[must_use]
pub fn event(record: &Record) -> Value {
    let core = match record.source {
        Source::Core(core) => Some(core),
        Source::Others => None,
    };
    let kind = kind_word(record.kind);
    let Record { time_ns, number, text, .. } = record;
    json!({"time_ns": time_ns, "core": core, "kind": kind, "number": number, "text": text})
}

/// An event in one piece, without its time.
pub(super) fn piece(record: &Record) -> String {
    let place = match record.source {
        Source::Core(core) => format!("core {core}: "),
        Source::Others => String::new(),
    };
    format!("{place}{}: {}", kind_name(record.kind), detail(record))
}

/// Name of a kind in JSON.
pub(super) fn kind_word(kind: Kind) -> String {
    kind_name(kind).replace(' ', "_")
}

fn kind_name(kind: Kind) -> String {
    kind.name().map_or_else(|| format!("kind {}", kind.0), str::to_owned)
}

/// Number and text of an event, without characters that a terminal obeys.
fn detail(record: &Record) -> String {
    let Record { kind, number, text, .. } = record;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match *kind {
        Kind::LONG_TURN => microseconds(*number),
        Kind::LONG_VISIT => format!("{} of {text}", microseconds(*number)),
        Kind::SESSION_STARTED | Kind::SESSION_STOPPED => number.to_string(),
        _ => text,
    }
}

fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{:03} us", nanoseconds / 1000, nanoseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(kind: Kind, number: u64, text: &str) -> Trace {
        let record = Record { time_ns: 0, source: Source::Core(3), kind, number, text: text.into() };
        Trace { process: 1, records: vec![record], missing_bytes: 0 }
    }

    #[test]
    fn events_are_in_columns() {
        let text = lines(&trace(Kind::LONG_VISIT, 1_500_250, "vm7"), &PLAIN);
        assert_eq!(text, "1970-01-01T00:00:00.000000Z  core 3      long visit       1500.250 us of vm7\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let text = lines(&trace(Kind::NOTICE, 0, "a\x1b[2Jb\nc"), &PLAIN);
        assert!(text.ends_with("notice           a [2Jb c\n"), "{text:?}");
    }

    #[test]
    fn errors_are_coloured_at_a_terminal() {
        assert!(lines(&trace(Kind::ERROR, 0, "x"), &COLOURED).contains("\x1b[31m"));
        assert!(!lines(&trace(Kind::ERROR, 0, "x"), &PLAIN).contains('\x1b'));
    }

    #[test]
    fn json_has_an_object_for_each_event() {
        let text = json(&trace(Kind(77), 5, "\"quoted\""));
        let event: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(event["core"], 3);
        assert_eq!(event["kind"], "kind_77");
        assert_eq!(event["text"], "\"quoted\"");
    }

    #[test]
    fn an_event_in_one_piece_names_its_core_if_it_has_one() {
        let of = |source| Record { time_ns: 0, source, kind: Kind::NOTICE, number: 0, text: "a\nb".into() };
        assert_eq!(piece(&of(Source::Core(7))), "core 7: notice: a b");
        assert_eq!(piece(&of(Source::Others)), "notice: a b");
    }
}
