//! Descriptions of an SSD for clients.

use super::path::trid;
use crate::control::{Ssd, SsdAddress};
use luge_nvme::{Controller, ControllerState, RefusedNamespace, SmartLog};
use serde_json::{Value, json};

/// Kelvin at 0 degrees Celsius, as the specification rounds it.
const FREEZING_KELVIN: i32 = 273;

/// Describes a controller.
pub fn controller(name: &str, ssd: &Ssd) -> Value {
    let state = match ssd.controller.state() {
        ControllerState::Live => "enabled",
        ControllerState::Stuck => "resetting",
        ControllerState::Gone => "failed",
    };
    json!({
        "name": name,
        "ctrlrs": [{
            "state": state,
            "trid": trid(&ssd.address),
            "cntlid": ssd.controller.identity().controller_id,
            "host": { "nqn": "", "addr": "", "svcid": "" },
            "bounced_requests": ssd.controller.bounced(),
            "unusable_namespaces": unusable(&ssd.controller),
        }],
    })
}

/// Describes the namespaces that were refused at bring-up, and those that a reset made unusable.
fn unusable(controller: &Controller) -> Vec<Value> {
    let refused = controller.refused().iter().cloned().chain(controller.unusable());
    refused.map(|refused| json!({ "nsid": refused.id.0, "reason": reason(&refused) })).collect()
}

fn reason(refused: &RefusedNamespace) -> String {
    refused.reason.to_string()
}

/// Describes a namespace, as a part of its block device's description.
pub fn namespace(ssd: &Ssd, id: u32) -> Value {
    let identity = ssd.controller.identity();
    let command = |bit: u16| u16::from(identity.oacs & 1 << bit != 0);
    let mut described = json!({
        "nvme": [{
            "trid": trid(&ssd.address),
            "ctrlr_data": {
                "cntlid": identity.controller_id,
                "vendor_id": format!("0x{:04x}", identity.vendor),
                "model_number": identity.model,
                "serial_number": identity.serial,
                "firmware_revision": identity.firmware,
                "subnqn": identity.subsystem_name,
                "oacs": {
                    "security": command(0), "format": command(1), "firmware": command(2), "ns_manage": command(3),
                },
                "multi_ctrlr": identity.multi_path,
                "ana_reporting": false,
            },
            "vs": { "nvme_version": identity.version.to_string() },
            "ns_data": { "id": id, "can_share": identity.multi_path },
            "unusable": ssd.controller.unusable().iter().find(|refused| refused.id.0 == id).map(reason),
            "bounced_requests": ssd.controller.bounced(),
        }],
        "mp_policy": "active_passive",
    });
    if let (SsdAddress::Pcie(address), Some(nvme)) = (&ssd.address, described["nvme"][0].as_object_mut()) {
        nvme.insert("pci_address".into(), address.to_string().into());
    }
    described
}

/// Describes an SSD's health and the last asynchronous events, oldest first.
pub fn health(controller: &Controller, address: &SsdAddress, log: &SmartLog) -> Value {
    let identity = controller.identity();
    let events: Vec<_> = controller.events().iter().map(ToString::to_string).collect();
    // JSON clients have no use for numbers beyond 64 bits.
    let number = |wide: u128| u64::try_from(wide).unwrap_or(u64::MAX);
    let celsius = |kelvin: u16| i32::from(kelvin) - FREEZING_KELVIN;
    let sensors: Vec<_> = log.temperature_sensors.into_iter().filter(|&t| t > 0).map(celsius).collect();
    json!({
        "model_number": identity.model,
        "serial_number": identity.serial,
        "firmware_revision": identity.firmware,
        "traddr": address.to_string(),
        "critical_warning": log.critical_warning,
        "temperature_celsius": celsius(log.temperature_kelvin()),
        "available_spare_percentage": log.available_spare,
        "available_spare_threshold_percentage": log.available_spare_threshold,
        "percentage_used": log.percentage_used,
        "data_units_read": number(log.data_units_read),
        "data_units_written": number(log.data_units_written),
        "host_read_commands": number(log.host_reads),
        "host_write_commands": number(log.host_writes),
        "controller_busy_time": number(log.busy_minutes),
        "power_cycles": number(log.power_cycles),
        "power_on_hours": number(log.power_on_hours),
        "unsafe_shutdowns": number(log.unsafe_shutdowns),
        "media_errors": number(log.media_errors),
        "num_err_log_entries": number(log.error_log_entries),
        "warning_temperature_time_minutes": log.warning_temperature_minutes,
        "critical_composite_temperature_time_minutes": log.critical_temperature_minutes,
        "temperature_sensors_celsius": sensors,
        "asynchronous_events": events,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_block::{Lba, Operation, Status};
    use luge_core::{Descriptors, Promise};
    use luge_nvme::scripted::{Rig, Script, ScriptedNamespace};
    use luge_spec::nvme::StatusCode;

    fn attached(rig: &Rig) -> Ssd {
        Ssd {
            controller: rig.controller.clone(),
            address: SsdAddress::Pcie("0000:01:00.0".parse().unwrap()),
            bdevs: Vec::new(),
            descriptors: Promise::of_none(&Descriptors::with_limit(0)),
        }
    }

    #[test]
    fn requests_that_were_copied_are_seen_at_the_controller_and_at_its_namespaces() {
        let rig = Rig::new(Script::default());
        let ssd = attached(&rig);
        let count = |value: &Value| value["bounced_requests"].as_u64().unwrap();
        let at_controller = || count(&controller("Nvme0", &ssd)["ctrlrs"][0]);
        let at_namespace = || count(&namespace(&ssd, 1)["nvme"][0]);
        assert_eq!(at_controller(), 0);
        assert_eq!(at_namespace(), 0);
        let odd = [rig.buffer(1, 512)];
        assert_eq!(rig.run(&mut *rig.channel(), Operation::Read, Lba(0), &odd), Status::Success);
        assert_eq!(at_controller(), 1);
        assert_eq!(at_namespace(), 1);
    }

    #[test]
    fn namespaces_that_cannot_be_used_are_shown_with_the_reason() {
        let mut namespaces: Vec<_> = [1, 2, 3].map(|id| ScriptedNamespace::new(id, 9)).into();
        namespaces[2].identify = StatusCode::INVALID_NAMESPACE;
        let rig = Rig::new(Script { namespaces, ..Script::default() });
        let ssd = attached(&rig);
        let shown = || controller("Nvme0", &ssd)["ctrlrs"][0]["unusable_namespaces"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(shown()[0]["nsid"], 3);
        assert!(text(&shown()[0]["reason"]).contains("invalid namespace"));
        rig.ssd.script(|script| script.namespaces[1].identify = StatusCode::NAMESPACE_NOT_READY);
        rig.ssd.fail();
        Rig::until("it was reset", || rig.controller.unusable().len() == 1);
        assert_eq!(shown()[1]["nsid"], 2);
        assert!(text(&namespace(&ssd, 2)["nvme"][0]["unusable"]).contains("not ready"));
        assert_eq!(namespace(&ssd, 1)["nvme"][0]["unusable"], Value::Null);
    }
}
