//! `bdev_nvme_reset_controller`: resets an SSD.

use crate::control::Control;
use luge_nvme::ErrorKind;
use luge_rpc::{RpcError, params};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for an SSD: longer than CAP.TO lets it take, twice.
const TIMEOUT: Duration = Duration::from_secs(300);

params! {
    /// Parameters of `bdev_nvme_reset_controller`.
    pub struct Reset {
        /// Name of the controller
        name: String,
        /// Controller identifier (CNTLID), or not given
        cntlid: Option<u16>,
    }
}

/// Resets an SSD. Waits on this thread.
pub fn run(control: &Arc<Control>, params: Reset) -> Result<bool, RpcError> {
    let Reset { name, cntlid } = params;
    let wanted = name.clone();
    let controller = control.look(move |sled| Ok(sled.ssds.get(&wanted)?.controller.clone()))?;
    let have = controller.identity().controller_id;
    if let Some(id) = cntlid.filter(|id| *id != have) {
        return Err(RpcError::no_device(format_args!(
            "parameter `cntlid`: NVMe controller {name} has no controller {id}: it has {have}"
        )));
    }
    controller.reset(TIMEOUT).map(|()| true).map_err(|error| match error.kind {
        ErrorKind::Gone => RpcError::no_device(error),
        _ => RpcError::errno(Errno::IO, error),
    })
}
