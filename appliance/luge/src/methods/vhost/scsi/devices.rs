//! `scsi_get_devices`, and what `vhost_get_controllers` shows of a SCSI controller.

use crate::control::{Control, Hba, Lun, LunPresence};
use crate::methods::definition::{listed, method};
use luge_rpc::{Method, NoParams};
use luge_vhost::LunAddress;
use serde_json::{Value, json};
use std::sync::Arc;

pub fn method_of(control: &Arc<Control>) -> Method {
    method(control, "scsi_get_devices", "List the SCSI targets", |control, _: NoParams| {
        control.ask(|sled| {
            let hbas = sled.endpoints.iter().filter_map(|(name, endpoint)| Some((name, endpoint.hba()?)));
            let of_hba = |(ctrlr, hba): (&str, &Hba)| {
                let device = |(target, id)| json!({ "id": id, "device_name": name(target), "ctrlr": ctrlr });
                hba.targets().map(device).collect::<Vec<_>>()
            };
            listed(hbas.flat_map(of_hba).collect::<Vec<_>>())
        })
    })
}

/// Name of a target, as of SPDK.
fn name(target: u8) -> String {
    format!("Target {target}")
}

/// Targets of a controller.
pub fn describe(hba: &Hba) -> Value {
    let target = |(target, id)| {
        let luns = hba.luns().filter(|(address, _)| address.target == target);
        json!({
            "scsi_dev_num": target,
            "id": id,
            "target_name": name(target),
            "luns": luns.map(|(address, lun)| describe_lun(address, lun)).collect::<Vec<_>>(),
        })
    };
    json!({ "scsi": hba.targets().map(target).collect::<Vec<_>>() })
}

fn describe_lun(address: LunAddress, lun: &Lun) -> Value {
    let digits = |byte: &u8| format!("{byte:02x}");
    json!({
        "id": address.lun,
        "bdev_name": lun.bdev,
        "state": match lun.presence {
            LunPresence::Coming => "attaching",
            LunPresence::Here => "live",
            LunPresence::Leaving => "removing",
        },
        "serial": lun.unit.serial(),
        "product": lun.unit.product(),
        "naa": lun.unit.naa().iter().map(digits).collect::<String>(),
    })
}
