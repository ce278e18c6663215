//! The machine: its CPUs, its SSDs, and what is to be done about both.

use super::super::table::clean;
use super::row::{Row, View, cells, list, number, shown, text};
use crate::units;
use serde_json::{Map, Value, json};

/// View of the machine.
pub(super) fn view(result: &Value) -> Option<View> {
    let rows = list(result, "ssds").map(row).collect();
    let note: Vec<String> =
        list(result, "advice").filter_map(Value::as_str).map(|line| format!("- {}", clean(line))).collect();
    let note = if note.is_empty() { "nothing is to be done".to_owned() } else { note.join("\n") };
    Some(View { pairs: pairs(result)?, rows, note: Some(note) })
}

fn pairs(result: &Value) -> Option<Map<String, Value>> {
    let cpus = result.get("cpus")?;
    let size = |pages: &str| {
        let pools = list(result, "hugepages");
        let pool = |pool: &Value| Some(number(pool, pages)? * number(pool, "page_kib")? * 1024.0);
        units::bytes(pools.filter_map(pool).sum())
    };
    let cpus_where = |key| Some(text(cpus, key)).filter(|list| !list.is_empty()).unwrap_or("-".to_owned());
    let pairs = json!({
        "CPUs that serve": cpus_where("serving"),
        "isolated": cpus_where("isolated"),
        "without a tick": cpus_where("tickless"),
        "with interrupts": cpus_where("interrupted"),
        "longest wake-up": shown(number(cpus, "idle_exit_us"), |us| format!("{us} us")),
        "hugepages": format!("{} free of {}", size("free"), size("total")),
    });
    pairs.as_object().cloned()
}

fn row(ssd: &Value) -> Row {
    cells([
        ("ssd", text(ssd, "address")),
        ("state", text(ssd, "state")),
        ("driver", text(ssd, "driver")),
        ("node", shown(number(ssd, "node"), units::count)),
        ("group", shown(number(ssd, "iommu_group"), units::count)),
        ("model", text(ssd, "model")),
    ])
}
