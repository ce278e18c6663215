//! Virtual machines.

use super::row::{Row, cells, joined, list, number, shown, text};
use crate::units;
use serde_json::Value;

/// Row of a virtual machine.
pub(super) fn row(value: &Value) -> Option<Row> {
    value["name"].as_str()?;
    let memory = number(value, "memory_mib").map(|mib| mib * f64::from(1 << 20));
    let disks = list(value, "disks").filter_map(Value::as_str).map(str::to_owned);
    Some(cells([
        ("name", text(value, "name")),
        ("state", text(value, "state")),
        ("cpus", shown(number(value, "cpus"), units::count)),
        ("memory", shown(memory, units::gibibytes)),
        ("disks", joined(disks)),
        ("boot", text(value, "boot")),
        ("ending", text(&value["ending"], "reason")),
    ]))
}
