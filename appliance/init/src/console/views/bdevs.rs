//! Block devices, and the SSDs beneath them.

use super::row::{Row, cells, list, number, shown, text};
use crate::units;
use serde_json::Value;

/// Row of a block device.
pub(super) fn row(value: &Value) -> Option<Row> {
    value["name"].as_str()?;
    let block = number(value, "block_size");
    let size = block.zip(number(value, "num_blocks")).map(|(block, blocks)| block * blocks);
    Some(cells([
        ("name", text(value, "name")),
        ("size", shown(size, units::gibibytes)),
        ("block", shown(block, units::bytes)),
        ("used", if value["claimed"] == true { "yes" } else { "no" }.to_owned()),
        ("kind", text(value, "product_name")),
        ("on", place(&value["driver_specific"])),
        ("uuid", text(value, "uuid")),
    ]))
}

/// Place of a block device: its base, file, or SSD.
fn place(details: &Value) -> String {
    let places = [
        details.pointer("/split/base_bdev"),
        details.pointer("/aio/filename"),
        details.pointer("/nvme/0/trid/traddr"),
    ];
    let place = places.into_iter().flatten().find_map(Value::as_str);
    place.unwrap_or(units::ABSENT).to_owned()
}

/// Row of an SSD.
pub(super) fn ssd(value: &Value) -> Option<Row> {
    value["name"].as_str()?;
    let controller = list(value, "ctrlrs").next()?;
    let unusable = list(controller, "unusable_namespaces").count();
    Some(cells([
        ("name", text(value, "name")),
        ("state", text(controller, "state")),
        ("address", text(&controller["trid"], "traddr")),
        ("bounced", shown(number(controller, "bounced_requests"), units::count)),
        ("unusable namespaces", unusable.to_string()),
    ]))
}
