//! `nvmf_*`: NVMe subsystems, and their controllers on vfio-user sockets.
//!
//! A call about a subsystem that is not there ends with -32602, as SPDK's do, and not with -19 as elsewhere.

mod address;
mod controllers;
mod describe;
mod host;
mod listener;
mod masked;
mod namespace;
mod options;
mod refusal;
mod statistics;
mod subsystem;
mod target;
mod transport;

use crate::control::Control;
use luge_rpc::Method;
use std::sync::Arc;

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
