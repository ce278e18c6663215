//! `vhost_scsi_controller_remove_target`: takes a LUN away from a running guest.

use super::add_target::lun_number;
use super::removal::Leaving;
use crate::control::Control;
use crate::methods::definition::waiting_method;
use luge_rpc::{Method, RpcError, params};
use luge_vhost::LunAddress;
use std::sync::Arc;

params! {
    /// Parameters of `vhost_scsi_controller_remove_target`.
    struct Remove {
        /// Name of the controller
        ctrlr: String,
        /// Number of the target, 0 to 255
        scsi_target_num: u32,
        /// Logical unit number on the target; 0 if not given
        lun: Option<u32>,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    let help = "Remove a LUN from a SCSI controller, live";
    waiting_method(control, "vhost_scsi_controller_remove_target", help, remove)
}

/// Removes a LUN. Waits on this thread for its requests in flight.
fn remove(control: &Arc<Control>, params: Remove) -> Result<bool, RpcError> {
    let address = LunAddress { target: target(params.scsi_target_num)?, lun: lun_number(params.lun)? };
    let leaving = control.ask(move |sled| Leaving::one(sled, &params.ctrlr, address))?;
    leaving.drain();
    control.ask(move |sled| {
        leaving.forget(sled);
        Ok(true)
    })
}

fn target(number: u32) -> Result<u8, RpcError> {
    u8::try_from(number).map_err(|_| {
        RpcError::invalid_params(format_args!(
            "parameter `scsi_target_num`: a number from 0 to 255, not {number}"
        ))
    })
}
