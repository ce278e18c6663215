//! An SSD.

use crate::answer;
use crate::health::Health;
use serde_json::Value;

/// An SSD that Luge drives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ssd {
    /// Name of its controller.
    pub name: String,
    /// State, such as `enabled` or `resetting`.
    pub state: Option<String>,
    /// Transport address.
    pub address: Option<String>,
    /// Requests that went through bounce pages since the start.
    pub bounced: Option<u64>,
    /// Number of namespaces that cannot be used.
    pub unusable_namespaces: usize,
    /// Health, where an [`Observer`](crate::Observer) knows it.
    pub health: Option<Health>,
}

impl Ssd {
    /// SSD in an entry of `bdev_nvme_get_controllers`; `None` if it has no name.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let controller = value.pointer("/ctrlrs/0").unwrap_or(&Value::Null);
        Some(Self {
            name: answer::text(value, "name")?,
            state: answer::text(controller, "state"),
            address: controller.get("trid").and_then(|trid| answer::text(trid, "traddr")),
            bounced: answer::number(controller, "bounced_requests"),
            unusable_namespaces: answer::list(controller, "unusable_namespaces").count(),
            health: None,
        })
    }
}
