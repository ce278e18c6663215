//! `bdev_nvme_*`: SSDs.

mod attach;
mod bring_up;
mod describe;
mod detach;
#[cfg(test)]
mod forced;
#[cfg(test)]
mod hanging;
mod identity;
#[cfg(test)]
mod luns;
#[cfg(test)]
mod machine;
mod new_ssd;
mod path;
mod reset;
#[cfg(test)]
mod start;
#[cfg(test)]
mod tests;
mod timeouts;
#[cfg(test)]
mod transports;

use super::definition::{method, waiting_method};
use crate::control::Control;
use luge_rpc::{Method, RpcError, params};
use serde_json::Value;
use std::sync::Arc;

pub use describe::namespace;

params! {
    /// Parameters of `bdev_nvme_get_controllers`.
    struct Get {
        /// Name of one controller; all if not given
        name: Option<String>,
    }
}

params! {
    /// Parameters of `bdev_nvme_get_controller_health_info`.
    struct Health {
        /// Name of the controller
        name: String,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "bdev_nvme_attach_controller", "Take an SSD over", attach::run),
        waiting_method(control, "bdev_nvme_detach_controller", "Give an SSD up", detach::run),
        method(control, "bdev_nvme_get_controllers", "List the SSDs", get),
        waiting_method(control, "bdev_nvme_reset_controller", "Reset an SSD", reset::run),
        method(control, "bdev_nvme_get_controller_health_info", "Show an SSD's health", health),
    ]
}

fn get(control: &Arc<Control>, params: Get) -> Result<Vec<Value>, RpcError> {
    control.ask(move |sled| match params.name {
        Some(name) => Ok(vec![describe::controller(&name, sled.ssds.get(&name)?)]),
        None => Ok(sled.ssds.iter().map(|(name, ssd)| describe::controller(name, ssd)).collect()),
    })
}

/// Shows the health of an SSD, which is read on this thread, as the SSD may be slow.
fn health(control: &Arc<Control>, params: Health) -> Result<Value, RpcError> {
    let (controller, address) = control.ask(move |sled| {
        let ssd = sled.ssds.get(&params.name)?;
        Ok((ssd.controller.clone(), ssd.address.clone()))
    })?;
    let log = controller.smart().map_err(|error| RpcError::errno(rustix::io::Errno::IO, error))?;
    Ok(describe::health(&controller, &address, &log))
}
