//! vhost controllers, and the LUNs of one of them.

use super::View;
use super::row::{Row, cells, list, number, shown, text};
use crate::units;
use serde_json::Value;

/// Row of a controller.
pub(super) fn row(value: &Value) -> Option<Row> {
    value["ctrlr"].as_str()?;
    let device = &value["backend_specific"];
    let is_scsi = device["scsi"].is_array();
    let sum = |key: &str| {
        list(value, "sessions").filter_map(|one| number(one, key)).fold(0.0, |sum, more| sum + more)
    };
    let guests = list(value, "sessions").filter(|one| one["started"] == true).count();
    Some(cells([
        ("name", text(value, "ctrlr")),
        ("kind", if is_scsi { "scsi" } else { "blk" }.to_owned()),
        ("volumes", if is_scsi { luns(device) } else { text(&device["block"], "bdev") }),
        ("guests", guests.to_string()),
        ("in flight", units::count(sum("inflight_task_cnt"))),
        ("waiting", shown(number(&value["front_ends"], "waiting"), units::count)),
        ("stalls", units::count(sum("memory_stalls"))),
        ("socket", text(value, "socket")),
    ]))
}

/// Number of LUNs.
fn luns(device: &Value) -> String {
    match list(device, "scsi").map(|target| list(target, "luns").count()).sum() {
        1 => "1 LUN".to_owned(),
        count => format!("{count} LUNs"),
    }
}

/// One SCSI controller with a table of its LUNs; `None` for other results.
pub(super) fn with_luns(result: &Value) -> Option<View> {
    let [controller] = result.as_array()?.as_slice() else { return None };
    let targets = controller["backend_specific"]["scsi"].as_array()?;
    let rows = targets.iter().flat_map(|target| list(target, "luns").map(move |lun| lun_row(target, lun)));
    let mut pairs = controller.as_object()?.clone();
    pairs.shift_remove("backend_specific");
    Some(View { pairs, rows: rows.collect(), note: None })
}

fn lun_row(target: &Value, lun: &Value) -> Row {
    cells([
        ("target", shown(number(target, "scsi_dev_num"), units::count)),
        ("lun", shown(number(lun, "id"), units::count)),
        ("volume", text(lun, "bdev_name")),
        ("state", text(lun, "state")),
        ("serial", text(lun, "serial")),
        ("product", text(lun, "product")),
        ("naa", text(lun, "naa")),
    ])
}
