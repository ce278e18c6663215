//! Cores: the share of their time with work, since the last look.

use super::View;
use super::row::{Row, cells, list, number, rows, shown};
use crate::units;
use serde_json::Value;
use std::collections::BTreeMap;

/// Times of the last look, by CPU.
#[derive(Default)]
pub(super) struct Earlier(BTreeMap<u64, Times>);

/// Time of a core in ticks.
#[derive(Clone, Copy, Default)]
struct Times {
    busy: f64,
    idle: f64,
}

/// View of the cores.
pub(super) fn view(result: &Value, earlier: &mut Earlier) -> Option<View> {
    let mut now = BTreeMap::new();
    let rows = rows(&result["reactors"], |core| {
        let id = core["lcore"].as_u64()?;
        let times = Times { busy: number(core, "busy")?, idle: number(core, "idle")? };
        now.insert(id, times);
        // Before the first look it did nothing, so that its share is that since the start.
        Some(row(core, id, share(times, earlier.0.get(&id).copied().unwrap_or_default())))
    })?;
    earlier.0 = now;
    Some(View::table(rows))
}

fn share(now: Times, before: Times) -> Option<f64> {
    let (busy, idle) = (now.busy - before.busy, now.idle - before.idle);
    (busy >= 0.0 && idle >= 0.0 && busy + idle > 0.0).then(|| busy / (busy + idle))
}

fn row(core: &Value, id: u64, busy: Option<f64>) -> Row {
    let longest = number(core, "longest_turn_us").map(|us| us * 1000.0);
    cells([
        ("cpu", id.to_string()),
        ("busy", shown(busy, units::percent)),
        ("rings", shown(number(core, "rings"), units::count)),
        ("tenants", list(core, "tenants").count().to_string()),
        ("longest turn", shown(longest, units::microseconds)),
        ("numa node", shown(number(core, "numa_node"), units::count)),
        ("asleep", if core["in_interrupt"] == true { "yes" } else { "no" }.to_owned()),
        ("sleeps", shown(number(core, "sleeps"), units::count)),
    ])
}
