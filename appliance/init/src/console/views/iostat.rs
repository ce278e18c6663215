//! Work of the block devices: rates since the last look, and totals.

use super::row::{Row, View, cells, number, rows, shown, text};
use crate::units;
use serde_json::Value;
use std::collections::BTreeMap;

/// Counters of the last look.
#[derive(Default)]
pub(super) struct Earlier {
    ticks: f64,
    bdevs: BTreeMap<String, Counters>,
}

/// Counters of a block device.
#[derive(Clone, Copy)]
struct Counters {
    read: Operation,
    write: Operation,
    failed: f64,
}

/// Counters of an operation.
#[derive(Clone, Copy)]
struct Operation {
    requests: f64,
    bytes: f64,
    ticks: f64,
}

/// Change of an operation's counters, as texts.
struct Change {
    requests: String,
    bytes: String,
    latency: String,
}

/// View of the totals; `None` for the numbers of single cores.
pub(super) fn view(result: &Value, earlier: &mut Earlier) -> Option<View> {
    let (ticks, rate) = (number(result, "ticks")?, number(result, "tick_rate")?);
    let mut now = Earlier { ticks, bdevs: BTreeMap::new() };
    let rows = rows(&result["bdevs"], |bdev| {
        let (name, counters) = (text(bdev, "name"), Counters::read(bdev)?);
        let before = earlier.bdevs.get(&name);
        let span = Span { ticks: ticks - earlier.ticks, rate };
        now.bdevs.insert(name.clone(), counters);
        Some(row(name, counters, before, span))
    })?;
    let is_first = earlier.bdevs.is_empty() && !rows.is_empty();
    *earlier = now;
    let note = is_first.then(|| "(rates are those since the last look: look again)".to_owned());
    Some(View { note, ..View::table(rows) })
}

/// Time between two looks.
#[derive(Clone, Copy)]
struct Span {
    ticks: f64,
    rate: f64,
}

fn row(name: String, now: Counters, before: Option<&Counters>, span: Span) -> Row {
    let read = now.read.change(before.map(|before| before.read), span);
    let write = now.write.change(before.map(|before| before.write), span);
    cells([
        ("name", name),
        ("reads/s", read.requests),
        ("read/s", read.bytes),
        ("read time", read.latency),
        ("writes/s", write.requests),
        ("written/s", write.bytes),
        ("write time", write.latency),
        ("failed", units::count(now.failed)),
        ("read", units::bytes(now.read.bytes)),
        ("written", units::bytes(now.write.bytes)),
    ])
}

impl Counters {
    fn read(bdev: &Value) -> Option<Self> {
        let operation = |requests, bytes, ticks| {
            Some(Operation {
                requests: number(bdev, requests)?,
                bytes: number(bdev, bytes)?,
                ticks: number(bdev, ticks)?,
            })
        };
        let errors = bdev["io_error"].as_object().into_iter().flat_map(|kinds| kinds.values());
        Some(Self {
            read: operation("num_read_ops", "bytes_read", "read_latency_ticks")?,
            write: operation("num_write_ops", "bytes_written", "write_latency_ticks")?,
            failed: errors.filter_map(Value::as_f64).fold(0.0, |sum, more| sum + more),
        })
    }
}

impl Operation {
    /// Change since the last look. Counters that went back were reset.
    fn change(self, before: Option<Self>, span: Span) -> Change {
        let before = before.filter(|before| before.requests <= self.requests && span.ticks > 0.0);
        let new = before.map(|before| Self {
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
            ticks: self.ticks - before.ticks,
        });
        let per_second = |number: f64| number * span.rate / span.ticks;
        let latency = |new: Self| new.ticks / new.requests / span.rate * 1e9;
        Change {
            requests: shown(new.map(|new| per_second(new.requests)), units::count),
            bytes: shown(new.map(|new| per_second(new.bytes)), units::bytes),
            latency: shown(new.filter(|new| new.requests > 0.0).map(latency), units::microseconds),
        }
    }
}
