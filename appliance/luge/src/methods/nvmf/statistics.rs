//! `nvmf_get_stats`: the queue pairs of each core.

use super::address::TRANSPORT;
use super::target::check_target;
use crate::control::{Control, Sled};
use crate::methods::definition::method;
use luge_nvme_target::QueueStatus;
use luge_rpc::{Method, RpcError, params};
use luge_volume::tick_rate;
use serde_json::{Value, json};
use std::sync::Arc;

params! {
    /// Parameters of `nvmf_get_stats`.
    struct Get {
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "nvmf_get_stats", "Show how many NVMe queue pairs each core serves", run)]
}

fn run(control: &Arc<Control>, params: Get) -> Result<Value, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    control.look(|sled| {
        let queues = queues(sled);
        let groups = sled
            .platform
            .cores
            .iter()
            .map(|core| describe(core.id().0, &queues, sled.nvmf.transport.is_some()));
        Ok(json!({ "tick_rate": tick_rate(), "poll_groups": groups.collect::<Vec<_>>() }))
    })
}

/// Queue pairs of all controllers.
fn queues(sled: &Sled) -> Vec<QueueStatus> {
    let controllers = sled.nvmf.subsystems.iter().flat_map(|(_, subsystem)| subsystem.target.controllers());
    controllers.flat_map(|controller| controller.queues).collect()
}

/// Describes a core as SPDK's poll group. Only queue pairs that exist are counted.
fn describe(core: u16, queues: &[QueueStatus], has_transport: bool) -> Value {
    let here = || queues.iter().filter(|queue| queue.core.0 == core);
    let admin = here().filter(|queue| queue.id.0 == 0).count();
    let io = here().filter(|queue| queue.id.0 > 0).count();
    let transports = if has_transport { vec![json!({ "trtype": TRANSPORT })] } else { vec![] };
    json!({
        "name": format!("poll_{core}"),
        "admin_qpairs": admin,
        "io_qpairs": io,
        "current_admin_qpairs": admin,
        "current_io_qpairs": io,
        "transports": transports,
    })
}
