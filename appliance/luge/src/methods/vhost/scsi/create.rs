//! `vhost_create_scsi_controller`: a SCSI host bus adapter without LUNs, on a socket.

use super::start::{self, record_start};
use crate::control::{
    Call, Control, Delayed, Endpoint, Hba, Place, PrScope, Server, Sled, Subsystem, VhostDevice,
};
use crate::cpus::Cpus;
use crate::methods::definition::method;
use luge_core::CoreHandle;
use luge_rpc::{Method, RpcError, params};
use luge_scsi::PortGroup;
use luge_vhost::{Coalescing, HbaConfig, HbaError, ScsiHba};
use serde_json::{Value, json};
use std::sync::Arc;

/// Number of queues for requests where none is given: a guest with more CPUs shares them.
const QUEUES: u16 = 32;

/// Longest transition of a path group where none is given, in seconds.
const TRANSITION_S: u32 = 30;

params! {
    /// Parameters of `vhost_create_scsi_controller`.
    struct Create {
        /// Name of the controller, and of its socket
        ctrlr: String,
        /// Mask of the cores that serve the controller; all if not given
        cpumask: Option<String>,
        /// Whether its socket is made later, by vhost_start_scsi_controller
        delay: Option<bool>,
        /// Number of request queues that guests may use, 1 to 254; 32 if not given
        num_queues: Option<u16>,
        /// Owner of the controller: all disks of one owner share its part of a core's time; if not given, all disks of
        /// a virtual machine do
        tenant: Option<String>,
        /// Users that share the reservations of its volumes: volume for all, vm for the controllers of its tenant; as
        /// the option --pr-scope says if not given
        pr_scope: Option<PrScope>,
        /// Path group, 1 to 65535: its paths are in transition until all controllers of the group have a front end;
        /// none if not given
        group: Option<u16>,
        /// Longest time for that in seconds, 1 to 255; 30 if not given
        transition_s: Option<u32>,
    }
}

pub fn method_of(control: &Arc<Control>) -> Method {
    let help = "Serve a SCSI host bus adapter on a vhost-user socket";
    method(control, "vhost_create_scsi_controller", help, create)
}

fn create(control: &Arc<Control>, params: Create) -> Result<bool, RpcError> {
    let platform = control.platform();
    let cores = platform.cores_of(params.cpumask.as_deref())?;
    let socket = platform.sockets.socket(&params.ctrlr)?;
    let group = group(control, &params)?;
    let cpus: Cpus = cores.iter().map(CoreHandle::id).collect();
    let call = Call::new("vhost_create_scsi_controller", call(&params, &cpus));
    let name = params.ctrlr.clone();
    control.ask(move |sled| sled.endpoints.reserve(&name))?;
    let name = params.ctrlr.clone();
    let undo = control.undo(move |sled| sled.endpoints.release(&name));
    let request_queues = params.num_queues.unwrap_or(QUEUES);
    let config = HbaConfig { name: params.ctrlr.clone(), cores, request_queues, group };
    let device = Arc::new(ScsiHba::open(config).map_err(|error| refusal(&error))?);
    let scope = params.pr_scope.unwrap_or(platform.pr_scope);
    let owner = scope.owner(&params.ctrlr, params.tenant.as_deref());
    let place = Place { name: params.ctrlr.clone(), socket, tenant: params.tenant };
    let delayed = Delayed { place, coalescing: Coalescing::default() };
    let is_delayed = params.delay.unwrap_or(false);
    let server =
        if is_delayed { Server::Delayed(delayed) } else { start::listen(platform, delayed, &device)? };
    let endpoint = Endpoint { server, device: VhostDevice::Hba(Hba::new(device, request_queues, owner)) };
    let name = params.ctrlr;
    control.ask(move |sled| {
        put(sled, &name, endpoint, call);
        Ok(())
    })?;
    undo.disarm();
    Ok(true)
}

/// Adds the controller. It is saved as one that is delayed, and started after its LUNs, so that a front end that
/// connects again finds all of them.
fn put(sled: &mut Sled, name: &str, endpoint: Endpoint, call: Call) {
    sled.record.add(Subsystem::VhostScsi, name, call);
    let listens = matches!(endpoint.server, Server::Listening(_));
    sled.endpoints.put(name, endpoint);
    if listens {
        record_start(sled, name);
    }
}

/// Path group of the controller.
fn group(control: &Control, params: &Create) -> Result<Arc<PortGroup>, RpcError> {
    let groups = &control.platform().port_groups;
    match (params.group, params.transition_s) {
        (None, None) => Ok(groups.free().clone()),
        (None, Some(_)) => {
            Err(RpcError::invalid_params("parameter `transition_s`: it works only together with `group`"))
        }
        (Some(number), seconds) => groups
            .declare(number, seconds.unwrap_or(TRANSITION_S).into())
            .map_err(|error| RpcError::invalid_params(format_args!("parameter `group`: {error}"))),
    }
}

/// Parameters by which the controller is created again.
fn call(params: &Create, cpus: &Cpus) -> Value {
    let mut call = json!({
        "ctrlr": params.ctrlr, "cpumask": cpus.mask(), "delay": true, "num_queues": params.num_queues,
        "tenant": params.tenant, "pr_scope": params.pr_scope, "group": params.group,
        "transition_s": params.transition_s,
    });
    if let Some(members) = call.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    call
}

fn refusal(error: &HbaError) -> RpcError {
    match error {
        HbaError::Queues(_) => RpcError::invalid_params(format_args!("parameter `num_queues`: {error}")),
        HbaError::NoCores | HbaError::Thread(_) => RpcError::internal(error),
    }
}
