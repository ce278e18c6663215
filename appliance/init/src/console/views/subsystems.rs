//! NVMe subsystems.

use super::row::{Row, cells, joined, list, text};
use serde_json::Value;

/// Row of a subsystem.
pub(super) fn row(value: &Value) -> Option<Row> {
    value["nqn"].as_str()?;
    let namespaces =
        list(value, "namespaces").map(|one| format!("{}={}", one["nsid"], text(one, "bdev_name")));
    let hosts = list(value, "hosts").map(|host| text(host, "nqn"));
    Some(cells([
        ("name", text(value, "nqn")),
        ("namespaces", joined(namespaces)),
        ("hosts", if value["allow_any_host"] == true { "any".to_owned() } else { joined(hosts) }),
        ("listeners", joined(list(value, "listen_addresses").map(|one| text(one, "traddr")))),
        ("serial", text(value, "serial_number")),
        ("model", text(value, "model_number")),
    ]))
}
