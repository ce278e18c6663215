//! `nvmf_subsystem_get_controllers` and `nvmf_subsystem_get_qpairs`.

use super::address;
use super::target::{DISCOVERY, check_target};
use crate::control::{Control, NvmfSubsystem};
use crate::methods::definition::method;
use luge_nvme_target::{ControllerPhase, ControllerStatus, QueueStatus};
use luge_rpc::{Method, RpcError, params};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

params! {
    /// Parameters of `nvmf_subsystem_get_controllers` and `nvmf_subsystem_get_qpairs`.
    struct Get {
        /// Name of the subsystem
        nqn: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(
            control,
            "nvmf_subsystem_get_controllers",
            "List the controllers of an NVMe subsystem",
            |control, params| list(control, params, |_, controller| vec![describe(controller)]),
        ),
        method(
            control,
            "nvmf_subsystem_get_qpairs",
            "List the queue pairs of an NVMe subsystem",
            |control, params| list(control, params, queues),
        ),
    ]
}

/// Lists what `describe` says of each controller.
fn list(
    control: &Arc<Control>,
    params: Get,
    describe: fn(&NvmfSubsystem, &ControllerStatus) -> Vec<Value>,
) -> Result<Vec<Value>, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    control.look(move |sled| {
        if params.nqn == DISCOVERY {
            return Ok(vec![]);
        }
        let subsystem = sled.nvmf.find(&params.nqn)?;
        let controllers = subsystem.target.controllers();
        Ok(controllers.iter().flat_map(|controller| describe(subsystem, controller)).collect())
    })
}

fn describe(controller: &ControllerStatus) -> Value {
    json!({
        "cntlid": controller.id,
        "cntrltype": "io",
        "hostnqn": "",
        "hostid": Uuid::from_bytes(controller.host_id),
        "num_io_qpairs": controller.queues.iter().filter(|queue| queue.id.0 > 0).count(),
        "state": phase(controller.phase),
        "traddr": &*controller.listener,
        "connection": controller.connection,
    })
}

const fn phase(phase: ControllerPhase) -> &'static str {
    match phase {
        ControllerPhase::Disabled => "disabled",
        ControllerPhase::Ready => "ready",
        ControllerPhase::Stopping => "stopping",
        ControllerPhase::ShutDown => "shut_down",
        ControllerPhase::Failed => "failed",
    }
}

fn queues(subsystem: &NvmfSubsystem, controller: &ControllerStatus) -> Vec<Value> {
    let trsvcid =
        subsystem.listeners.get(&*controller.listener).map_or("", |listener| listener.trsvcid.as_str());
    let describe = |queue: &QueueStatus| {
        json!({
            "cntlid": controller.id,
            "qid": queue.id.0,
            "state": "enabled",
            "thread": format!("poll_{}", queue.core.0),
            "hostnqn": "",
            "listen_address": address::describe(&controller.listener, trsvcid),
            "entries": queue.entries,
            "cqid": queue.completion_queue.0,
        })
    };
    controller.queues.iter().map(describe).collect()
}
