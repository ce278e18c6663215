//! `bdev_set_qos_limit`: rate limits, of which Luge has none yet. The limit 0, which means none, is taken.

use crate::control::Control;
use crate::methods::definition::method;
use luge_rpc::{Method, RpcError, params};
use std::sync::Arc;

params! {
    /// Parameters of `bdev_set_qos_limit`.
    struct SetLimit {
        /// Name or UUID of the bdev
        name: String,
        /// Requests per second: 0 for no limit, other limits are not supported
        rw_ios_per_sec: Option<u64>,
        /// MB per second, read and written: 0 for no limit, other limits are not supported
        rw_mbytes_per_sec: Option<u64>,
        /// MB per second, read: 0 for no limit, other limits are not supported
        r_mbytes_per_sec: Option<u64>,
        /// MB per second, written: 0 for no limit, other limits are not supported
        w_mbytes_per_sec: Option<u64>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_set_qos_limit", "Take away the rate limits of a device", run)]
}

fn run(control: &Arc<Control>, params: SetLimit) -> Result<bool, RpcError> {
    let limits = [
        ("rw_ios_per_sec", params.rw_ios_per_sec),
        ("rw_mbytes_per_sec", params.rw_mbytes_per_sec),
        ("r_mbytes_per_sec", params.r_mbytes_per_sec),
        ("w_mbytes_per_sec", params.w_mbytes_per_sec),
    ];
    let name = params.name;
    let name = control.look(move |sled| sled.bdevs.resolve(&name))?;
    if limits.iter().all(|(_, limit)| limit.is_none()) {
        return Err(RpcError::invalid("there is no limit in the call: give one of the four"));
    }
    match limits.iter().find(|(_, limit)| limit.is_some_and(|limit| limit > 0)) {
        Some((limit, _)) => Err(RpcError::unsupported(format_args!(
            "parameter `{limit}`: Luge limits no rates, and bdev {name} stays without limits: give 0, or leave it out"
        ))),
        None => Ok(true),
    }
}
