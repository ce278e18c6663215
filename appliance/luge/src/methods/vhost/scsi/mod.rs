//! `vhost_*_scsi_controller*` and `scsi_get_devices`: SCSI host bus adapters with their LUNs.

mod add_target;
mod create;
mod devices;
mod removal;
mod remove_target;
mod start;

use crate::control::Control;
use luge_rpc::Method;
use std::sync::Arc;

pub use devices::describe;
pub use removal::{remove_luns_of_ssd, without_luns};

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        create::method_of(control),
        start::method_of(control),
        add_target::method_of(control),
        remove_target::method_of(control),
        devices::method_of(control),
    ]
}
