//! `vhost_scsi_controller_add_target`: a block device as a LUN.

use super::removal::remove_luns_of_ssd;
use super::start::record_start;
use crate::control::{Call, Control, Server, Sled, Subsystem, UnitNames, User, WantedTarget};
use crate::methods::definition::method;
use luge_block::OpenError;
use luge_core::AttachError;
use luge_nvme::ControllerState;
use luge_rpc::{Method, RpcError, params};
use luge_scsi::LogicalUnit;
use luge_vhost::{LunAddress, LunError, ScsiHba};
use rustix::io::Errno;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

params! {
    /// Parameters of `vhost_scsi_controller_add_target`.
    struct Add {
        /// Name of the controller
        ctrlr: String,
        /// Number of the target, 0 to 255; -1 for the first that has no LUN
        scsi_target_num: i32,
        /// Name or UUID of the bdev
        bdev_name: String,
        /// Logical unit number on the target, 0 to 255; 0 if not given
        lun: Option<u32>,
        /// Serial number of the volume, 1 to 36 characters; its UUID if not given
        serial: Option<String>,
        /// Product name of the volume, 1 to 16 characters
        product: Option<String>,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    let help = "Add a LUN to a SCSI controller, live";
    method(control, "vhost_scsi_controller_add_target", help, add)
}

/// Facts that the control thread found for a LUN that is being added.
struct Claim {
    bdev: String,
    address: LunAddress,
    device: Arc<ScsiHba>,
    unit: Arc<LogicalUnit>,
}

/// Adds a LUN; returns the number of its target. The volume is opened on this thread, as an SSD may be slow.
fn add(control: &Arc<Control>, params: Add) -> Result<u8, RpcError> {
    let ctrlr = params.ctrlr.clone();
    let claim = control.ask(move |sled| claim(sled, params))?;
    let Claim { address, .. } = claim;
    let (name, bdev) = (ctrlr.clone(), claim.bdev.clone());
    let undo = control.undo(move |sled| give_up(sled, &name, address, &bdev));
    let blocks = claim.unit.volume().geometry().blocks;
    claim.device.add_lun(address, &claim.unit).map_err(|error| refusal(&error))?;
    let (device, unit) = (claim.device.clone(), claim.unit.clone());
    let pulled = control.ask(move |sled| Ok(put(sled, &ctrlr, &claim)))?;
    undo.disarm();
    // It may have been resized, or its SSD pulled, before the LUN was in the table.
    if unit.volume().geometry().blocks != blocks {
        device.resized(&unit);
    }
    pulled.iter().for_each(|ssd| remove_luns_of_ssd(control, ssd));
    Ok(address.target)
}

fn claim(sled: &mut Sled, params: Add) -> Result<Claim, RpcError> {
    let Add { ctrlr, scsi_target_num, bdev_name, lun, serial, product } = params;
    let target = target(scsi_target_num)?;
    let lun = lun_number(lun)?;
    let id = free_id(sled);
    sled.endpoints.get_mut(&ctrlr)?.hba_mut(&ctrlr)?;
    let bdev = sled.bdevs.resolve(&bdev_name)?;
    check_present(sled, &bdev)?;
    let hba = sled.endpoints.get_mut(&ctrlr)?.hba_mut(&ctrlr)?;
    let address = hba.place(target, lun, &bdev)?;
    let user = User::Lun(ctrlr.clone());
    sled.bdevs.claim(&bdev, user.clone())?;
    let unit = match sled.bdevs.get_mut(&bdev)?.unit(hba.pr_owner.as_ref(), UnitNames { serial, product }) {
        Ok(unit) => unit,
        Err(error) => {
            sled.bdevs.unclaim(&bdev, &user);
            return Err(error);
        }
    };
    hba.begin_add(address, &bdev, unit.clone(), id);
    Ok(Claim { bdev, address, device: hba.device.clone(), unit })
}

fn target(number: i32) -> Result<WantedTarget, RpcError> {
    match (number, u8::try_from(number)) {
        (-1, _) => Ok(WantedTarget::Free),
        (_, Ok(number)) => Ok(WantedTarget::Number(number)),
        (_, Err(_)) => Err(RpcError::invalid_params(format_args!(
            "parameter `scsi_target_num`: a number from 0 to 255, or -1 for one that is free, not {number}"
        ))),
    }
}

/// Logical unit number that is asked for.
///
/// # Errors
/// -32602 if there is no such number.
pub fn lun_number(lun: Option<u32>) -> Result<u8, RpcError> {
    let lun = lun.unwrap_or(0);
    u8::try_from(lun).map_err(|_| {
        RpcError::invalid_params(format_args!("parameter `lun`: a number from 0 to 255, not {lun}"))
    })
}

/// Lowest identifier that no target has.
fn free_id(sled: &Sled) -> u32 {
    let hbas = sled.endpoints.iter().filter_map(|(_, endpoint)| endpoint.hba());
    let taken: BTreeSet<u32> = hbas.flat_map(|hba| hba.targets().map(|(_, id)| id)).collect();
    (0..u32::MAX).find(|id| !taken.contains(id)).unwrap_or(u32::MAX)
}

/// Refuses a device of an SSD that is gone.
fn check_present(sled: &Sled, bdev: &str) -> Result<(), RpcError> {
    match gone_ssd(sled, bdev) {
        Some(ssd) => Err(RpcError::errno(
            Errno::IO,
            format_args!(
                "bdev {bdev} is on SSD {ssd}, which is gone: detach it (bdev_nvme_detach_controller)"
            ),
        )),
        None => Ok(()),
    }
}

/// SSD that a device is on, if that is gone.
fn gone_ssd(sled: &Sled, bdev: &str) -> Option<String> {
    let ssd = sled.ssd_of(bdev)?;
    let is_gone = sled.ssds.get(&ssd).is_ok_and(|ssd| ssd.controller.state() == ControllerState::Gone);
    is_gone.then_some(ssd)
}

fn give_up(sled: &mut Sled, ctrlr: &str, address: LunAddress, bdev: &str) {
    let hba = sled.endpoints.get_mut(ctrlr).and_then(|endpoint| endpoint.hba_mut(ctrlr));
    hba.into_iter().for_each(|hba| drop(hba.forget(address)));
    sled.bdevs.unclaim(bdev, &User::Lun(ctrlr.into()));
}

/// Adds the LUN to the table; returns its SSD if that is gone.
fn put(sled: &mut Sled, ctrlr: &str, claim: &Claim) -> Option<String> {
    let Claim { bdev, address, unit, .. } = claim;
    let LunAddress { target, lun } = *address;
    let call = json!({
        "ctrlr": ctrlr, "scsi_target_num": target, "bdev_name": bdev, "lun": lun, "serial": unit.serial(),
        "product": unit.product(),
    });
    let call = Call::new("vhost_scsi_controller_add_target", call);
    sled.record.set_detail(Subsystem::VhostScsi, ctrlr, &address.to_string(), call);
    if let Ok(endpoint) = sled.endpoints.get_mut(ctrlr) {
        let listens = matches!(endpoint.server, Server::Listening(_));
        endpoint.hba_mut(ctrlr).into_iter().for_each(|hba| hba.end_add(*address));
        if listens {
            record_start(sled, ctrlr);
        }
    }
    gone_ssd(sled, bdev)
}

fn refusal(error: &LunError) -> RpcError {
    match error {
        LunError::Exists(_) | LunError::Twice { .. } => RpcError::exists(error),
        LunError::Absent(_) => RpcError::no_device(error),
        LunError::Attaching(_) | LunError::Removing(_) | LunError::Stopping(_) => RpcError::busy(error),
        LunError::Gone(_) => RpcError::errno(Errno::IO, error),
        LunError::Attach { source, .. } => match source {
            AttachError::Open(OpenError::NoQueue { .. }) => RpcError::busy(error),
            AttachError::Open(OpenError::Device { .. }) => RpcError::errno(Errno::IO, error),
            AttachError::Open(OpenError::Memory { .. }) | AttachError::Full(_) => RpcError::no_memory(error),
        },
    }
}
