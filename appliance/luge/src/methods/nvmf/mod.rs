//! `nvmf_*`: NVMe subsystems, and their controllers on vfio-user sockets.
//!
//! A call about a subsystem that is not there ends with -32602, as SPDK's do, and not with -19 as elsewhere.

mod address;
mod controllers;
mod describe;
mod host;
mod listener;
mod namespace;
mod options;
mod refusal;
mod statistics;
mod subsystem;
mod transport;

use crate::control::Control;
use luge_rpc::{Code, Method, RpcError};
use std::sync::Arc;

/// Name of the only target, as SPDK's.
const TARGET: &str = "nvmf_tgt";

/// Name of the discovery subsystem, which is listed and serves nobody.
const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let families = [
        transport::methods(control),
        subsystem::methods(control),
        namespace::methods(control),
        listener::methods(control),
        host::methods(control),
        controllers::methods(control),
        statistics::methods(control),
    ];
    families.into_iter().flatten().collect()
}

/// Checks the name of the target.
fn check_target(name: Option<&str>) -> Result<(), RpcError> {
    match name {
        None | Some(TARGET) => Ok(()),
        Some(_) => Err(RpcError::new(
            Code::INTERNAL_ERROR,
            format_args!(
                "parameter `tgt_name`: Unable to find a target of that name: {TARGET} is the one that Luge has"
            ),
        )),
    }
}
