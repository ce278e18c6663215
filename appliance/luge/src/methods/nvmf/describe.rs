//! Descriptions of subsystems, in SPDK's shape.

use super::address;
use super::target::DISCOVERY;
use crate::control::NvmfSubsystem;
use luge_nvme_target::NamespaceStatus;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Describes the discovery subsystem. Some clients skip the first subsystem for being that one.
pub fn discovery() -> Value {
    json!({
        "nqn": DISCOVERY, "subtype": "Discovery", "listen_addresses": [], "allow_any_host": true, "hosts": [],
    })
}

/// Describes a subsystem.
pub fn subsystem(nqn: &str, subsystem: &NvmfSubsystem) -> Value {
    let target = &subsystem.target;
    let (first, last) = target.controller_ids().into_inner();
    json!({
        "nqn": nqn,
        "subtype": "NVMe",
        "listen_addresses": addresses(subsystem),
        "allow_any_host": target.allows_any_host(),
        "hosts": target.allowed_hosts().iter().map(|host| json!({ "nqn": host.as_str() })).collect::<Vec<_>>(),
        "serial_number": target.serial(),
        "model_number": target.model(),
        "max_namespaces": target.namespaces_max(),
        "passthrough": false,
        "min_cntlid": first,
        "max_cntlid": last,
        "dmrsl": 0,
        "wzsl": 0,
        "namespaces": target.namespaces().iter().map(namespace).collect::<Vec<_>>(),
    })
}

/// Addresses of all listeners.
fn addresses(subsystem: &NvmfSubsystem) -> Vec<Value> {
    let listeners = subsystem.listeners.iter();
    listeners.map(|(traddr, listener)| address::describe(traddr, &listener.trsvcid)).collect()
}

/// Describes a namespace. SPDK leaves identifiers out that are zero.
fn namespace(status: &NamespaceStatus) -> Value {
    let identity = &status.identity;
    let mut shown = Map::new();
    shown.insert("nsid".into(), status.id.0.into());
    shown.insert("bdev_name".into(), (*status.name).into());
    shown.insert("name".into(), (*status.name).into());
    if identity.nguid != [0; 16] {
        shown.insert("nguid".into(), hex(&identity.nguid).into());
    }
    if identity.eui64 != [0; 8] {
        shown.insert("eui64".into(), hex(&identity.eui64).into());
    }
    shown.insert("uuid".into(), Uuid::from_bytes(identity.uuid).to_string().into());
    shown.into()
}

/// Bytes as capital hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
