//! `bdev_reset_iostat`: resets counters of the block devices, for all clients.

use crate::control::{Control, Sled};
use crate::methods::definition::method;
use luge_rpc::{Method, RpcError, params};
use serde::Deserialize;
use std::sync::Arc;

params! {
    /// Parameters of `bdev_reset_iostat`.
    struct Reset {
        /// Name or UUID of the bdev; all if not given
        name: Option<String>,
        /// Counters to reset: "all" if not given, "maxmin", "error" or "none"; "maxmin" is for the latencies
        mode: Option<ResetMode>,
    }
}

/// Counters to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ResetMode {
    All,
    Maxmin,
    Error,
    None,
}

impl luge_rpc::ParamValue for ResetMode {
    const KIND: &'static str = "all|maxmin|error|none";
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_reset_iostat", "Count anew what the block devices do", run)]
}

fn run(control: &Arc<Control>, params: Reset) -> Result<bool, RpcError> {
    let mode = params.mode.unwrap_or(ResetMode::All);
    control.ask(move |sled| {
        let names = match params.name {
            Some(name) => vec![sled.bdevs.resolve(&name)?],
            None => sled.bdevs.iter().map(|(name, _)| name.to_owned()).collect(),
        };
        names.iter().try_for_each(|name| reset(sled, name, mode))?;
        Ok(true)
    })
}

/// Resets counters of a device.
pub(super) fn reset(sled: &mut Sled, name: &str, mode: ResetMode) -> Result<(), RpcError> {
    let bdev = sled.bdevs.get_mut(name)?;
    match mode {
        ResetMode::All => {
            bdev.reset_counters();
            bdev.reset_extremes();
        }
        ResetMode::Error => bdev.reset_failures(),
        ResetMode::Maxmin => bdev.reset_extremes(),
        ResetMode::None => {}
    }
    Ok(())
}
