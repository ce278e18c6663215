//! `bdev_get_resize_status`: which front ends have seen the size of a device. SPDK has no such method.

use crate::control::{Bdev, Control, Disk, Endpoint, Sled};
use crate::methods::definition;
use crate::methods::definition::listed;
use luge_nvme_target::{NamespaceId, Subsystem};
use luge_rpc::{Method, RpcError, params};
use luge_vhost::{ConfigKnowledge, Notice};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

params! {
    /// Parameters of `bdev_get_resize_status`.
    struct Get {
        /// Name or UUID of one bdev; all if not given
        name: Option<String>,
    }
}

pub fn method(control: &Arc<Control>) -> Method {
    definition::method(
        control,
        "bdev_get_resize_status",
        "Show which front ends have seen the size of a device",
        run,
    )
}

fn run(control: &Arc<Control>, params: Get) -> Result<Box<RawValue>, RpcError> {
    control.look(move |sled| match params.name {
        Some(name) => {
            let name = sled.bdevs.resolve(&name)?;
            listed([describe(sled, &name, sled.bdevs.get(&name)?)])
        }
        None => listed(sled.bdevs.iter().map(|(name, bdev)| describe(sled, name, bdev)).collect::<Vec<_>>()),
    })
}

fn describe(sled: &Sled, name: &str, bdev: &Bdev) -> Value {
    let disks = sled.endpoints.iter().filter_map(|(ctrlr, endpoint)| {
        let (disk, server) = endpoint.disk_of(name)?;
        Some(describe_disk(ctrlr, disk, server))
    });
    let luns = sled.endpoints.iter().filter_map(|(ctrlr, endpoint)| describe_lun(ctrlr, endpoint, name));
    let namespaces = sled.nvmf.namespaces_of(name);
    let namespaces = namespaces.map(|(nqn, subsystem, id)| describe_namespace(nqn, subsystem, id));
    let endpoints: Vec<Value> = disks.chain(luns).chain(namespaces).collect();
    json!({
        "name": name,
        "num_blocks": bdev.volume.geometry().blocks.0,
        "resizing": bdev.is_resizing(),
        "endpoints": endpoints,
    })
}

fn describe_disk(ctrlr: &str, disk: &Disk, server: &luge_vhost::Endpoint) -> Value {
    let config = server.status().config;
    json!({
        "type": "vhost_blk",
        "ctrlr": ctrlr,
        "num_blocks": disk.device.blocks().0,
        "connected": config.is_some(),
        "seen": config.map(|ConfigKnowledge { is_current, .. }| is_current),
        "notice": config.map(|ConfigKnowledge { notice, .. }| word(notice)),
    })
}

/// LUN of a block device on a controller, if it has one.
fn describe_lun(ctrlr: &str, endpoint: &Endpoint, bdev: &str) -> Option<Value> {
    let hba = endpoint.hba()?;
    let (address, lun) = hba.lun_of(bdev)?;
    let connected = endpoint.status().front_end.is_some();
    let status = hba.device.luns().into_iter().find(|status| status.address == address);
    let seen = status.map(|status| status.has_seen_size).filter(|_| connected);
    Some(json!({
        "type": "vhost_scsi",
        "ctrlr": ctrlr,
        "scsi_target_num": address.target,
        "lun": address.lun,
        "num_blocks": lun.unit.volume().geometry().blocks.0,
        "connected": connected,
        "seen": seen,
    }))
}

fn describe_namespace(nqn: &str, subsystem: &Subsystem, id: NamespaceId) -> Value {
    let status = subsystem.namespaces().into_iter().find(|namespace| namespace.id == id);
    let controllers = subsystem.controllers();
    let unseen = controllers.iter().filter(|controller| controller.unseen.contains(&id));
    let unseen: Vec<u16> = unseen.map(|controller| controller.id).collect();
    json!({
        "type": "nvmf",
        "nqn": nqn,
        "nsid": id.0,
        "num_blocks": status.map(|status| status.geometry.blocks.0),
        "connected": !controllers.is_empty(),
        "seen": if controllers.is_empty() { None } else { Some(unseen.is_empty()) },
        "unseen_by": unseen,
    })
}

const fn word(notice: Notice) -> &'static str {
    match notice {
        Notice::None => "none",
        Notice::Impossible => "impossible",
        Notice::Sent => "sent",
        Notice::Awaited => "awaited",
        Notice::Acknowledged => "acknowledged",
        Notice::Failed => "failed",
    }
}
