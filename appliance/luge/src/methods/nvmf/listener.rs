//! `nvmf_subsystem_add_listener`, `nvmf_subsystem_remove_listener`, `nvmf_subsystem_get_listeners`.

use super::address::{self, ListenAddress};
use super::refusal;
use super::target::{DISCOVERY, check_target};
use crate::control::{Call, Control, Listener, MadeDirectories, Nvmf, Sled, Subsystem, Transport, real};
use crate::methods::definition::{method, off};
use luge_nvme_target::{ControllerConfig, ListenerConfig};
use luge_rpc::{Method, RpcError, params};
use luge_vfio_user::{BackoffLimits, Endpoint, EndpointConfig};
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

params! {
    /// Parameters of `nvmf_subsystem_add_listener`.
    struct Add {
        /// Name of the subsystem
        nqn: String,
        /// trtype VFIOUSER, and as traddr the directory of the socket, which is named cntrl
        listen_address: ListenAddress,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Number of I/O queue pairs of a controller, 1 to 128; that of the transport if not given
        num_io_queues: Option<u16>,
        /// Number of interrupt vectors of a controller, 1 to 2048; 64 if not given
        num_vectors: Option<u16>,
        /// Owner of the controllers: all disks of one owner share its part of a core's time; if not given, all
        /// disks of a virtual machine do
        tenant: Option<String>,
        /// optimized, or not given
        ana_state: Option<String>,
        /// Not supported: false or not given
        secure_channel: Option<bool>,
        /// Not supported: empty or not given
        sock_impl: Option<String>,
        /// Not supported: -1 or not given
        numa_id: Option<i32>,
    }
}

params! {
    /// Parameters of `nvmf_subsystem_remove_listener`.
    struct Remove {
        /// Name of the subsystem
        nqn: String,
        /// Address of the listener
        listen_address: ListenAddress,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

params! {
    /// Parameters of `nvmf_subsystem_get_listeners`.
    struct Get {
        /// Name of the subsystem
        nqn: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "nvmf_subsystem_add_listener", "Serve an NVMe subsystem on a vfio-user socket", add),
        method(
            control,
            "nvmf_subsystem_remove_listener",
            "Stop serving an NVMe subsystem on a socket",
            remove,
        ),
        method(control, "nvmf_subsystem_get_listeners", "List the sockets of an NVMe subsystem", get),
    ]
}

/// Facts that the control thread found for a listener that is being made.
struct Claim {
    target: Arc<luge_nvme_target::Subsystem>,
    controller: ControllerConfig,
}

fn add(control: &Arc<Control>, params: Add) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    check_off(&params)?;
    let directory = real(&params.listen_address.directory()?);
    let (nqn, reserved) = (params.nqn.clone(), directory.clone());
    let Claim { target, controller } = control.ask(move |sled| claim(sled, &nqn, reserved))?;
    let (nqn, reserved) = (params.nqn.clone(), directory.clone());
    let undo = control.undo(move |sled| give_up(sled, &nqn, &reserved));
    let controller = ControllerConfig {
        io_queues: params.num_io_queues.unwrap_or(controller.io_queues),
        vectors: params.num_vectors.unwrap_or(controller.vectors),
        ..controller
    };
    let source = luge_nvme_target::Listener::new(ListenerConfig { subsystem: target, controller });
    let source = source.map_err(RpcError::invalid_params)?;
    let made = MadeDirectories::make(&directory).map_err(|error| no_directory(&directory, &error))?;
    let endpoint = Endpoint::start(EndpointConfig {
        name: params.listen_address.traddr.clone(),
        socket: address::socket(&directory),
        permissions: control.platform().sockets.permissions,
        owner: params.tenant.clone(),
        source: Arc::new(source),
        space: Some(control.platform().space.clone()),
        descriptors: control.platform().descriptors.clone(),
        backoff: BackoffLimits::default(),
    });
    let endpoint = endpoint.map_err(|error| refusal::endpoint(&error))?;
    let trsvcid = params.listen_address.service().to_owned();
    let listener = Listener { endpoint, directory, trsvcid, made };
    control.ask(move |sled| put(sled, &params, listener))?;
    undo.disarm();
    Ok(true)
}

fn check_off(params: &Add) -> Result<(), RpcError> {
    if params.nqn == DISCOVERY {
        return Err(RpcError::invalid_params(
            "parameter `nqn`: the discovery subsystem serves nobody on vfio-user",
        ));
    }
    off("ana_state", params.ana_state.clone().filter(|state| state != "optimized"))?;
    off("secure_channel", params.secure_channel)?;
    off("sock_impl", params.sock_impl.clone())?;
    off("numa_id", params.numa_id.map(|node| node != -1))
}

fn claim(sled: &mut Sled, nqn: &str, directory: PathBuf) -> Result<Claim, RpcError> {
    sled.nvmf.find(nqn)?;
    let Some(Transport { controller }) = sled.nvmf.transport else {
        return Err(RpcError::invalid_params(
            "parameter `listen_address.trtype`: there is no such transport yet: nvmf_create_transport creates it",
        ));
    };
    sled.nvmf.reserve(directory, nqn)?;
    let target = sled.nvmf.begin_change(nqn)?.target.clone();
    Ok(Claim { target, controller })
}

fn give_up(sled: &mut Sled, nqn: &str, directory: &Path) {
    sled.nvmf.release(directory);
    sled.nvmf.end_change(nqn);
}

fn no_directory(directory: &Path, error: &io::Error) -> RpcError {
    RpcError::invalid_params(format_args!(
        "parameter `listen_address.traddr`: the directory {} cannot be made: {error}; make it, or choose another",
        directory.display()
    ))
}

fn put(sled: &mut Sled, params: &Add, listener: Listener) -> Result<(), RpcError> {
    let traddr = &params.listen_address.traddr;
    let mut call = json!({ "nqn": params.nqn, "listen_address": call_address(traddr, &listener.trsvcid) });
    if let Some(queues) = params.num_io_queues {
        call["num_io_queues"] = queues.into();
    }
    if let Some(vectors) = params.num_vectors {
        call["num_vectors"] = vectors.into();
    }
    if let Some(tenant) = &params.tenant {
        call["tenant"] = tenant.as_str().into();
    }
    let subsystem = sled.nvmf.subsystems.get_mut(&params.nqn)?;
    let name = record_name(&params.nqn, &listener.directory);
    subsystem.listeners.insert(traddr.clone(), listener);
    sled.nvmf.end_change(&params.nqn);
    sled.record.add(Subsystem::Nvmf, &name, Call::new("nvmf_subsystem_add_listener", call));
    Ok(())
}

fn call_address(traddr: &str, trsvcid: &str) -> Value {
    json!({ "trtype": address::TRANSPORT, "traddr": traddr, "trsvcid": trsvcid })
}

/// Removes a listener. Its client is cut off on this thread.
fn remove(control: &Arc<Control>, params: Remove) -> Result<bool, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    let directory = real(&params.listen_address.directory()?);
    let nqn = params.nqn.clone();
    let listener = control.ask(move |sled| take(sled, &nqn, &directory))?;
    let directory = listener.directory.clone();
    listener.end();
    control.ask(move |sled| {
        give_up(sled, &params.nqn, &directory);
        Ok(true)
    })
}

fn take(sled: &mut Sled, nqn: &str, directory: &Path) -> Result<Listener, RpcError> {
    let listeners = &sled.nvmf.find(nqn)?.listeners;
    let traddr = listeners.iter().find(|(_, listener)| listener.directory == directory);
    let traddr = traddr.map(|(traddr, _)| traddr.clone()).ok_or_else(|| none_there(nqn, directory))?;
    Nvmf::check_no_vm(&sled.platform.vms, std::iter::once(&traddr))?;
    let listener = sled.nvmf.begin_change(nqn)?.listeners.remove(&traddr);
    sled.record.remove(Subsystem::Nvmf, &record_name(nqn, directory));
    listener.ok_or_else(|| none_there(nqn, directory))
}

fn none_there(nqn: &str, directory: &Path) -> RpcError {
    RpcError::invalid_params(format_args!(
        "parameter `listen_address`: subsystem {nqn} has no listener in {}: nvmf_subsystem_get_listeners lists those \
         there are",
        directory.display()
    ))
}

/// Key of a listener in the record. A name has no line break, so the key differs from those of subsystems.
fn record_name(nqn: &str, directory: &Path) -> String {
    format!("{nqn}\nlistener {}", directory.display())
}

fn get(control: &Arc<Control>, params: Get) -> Result<Vec<Value>, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    control.look(move |sled| {
        if params.nqn == DISCOVERY {
            return Ok(vec![]);
        }
        let listeners = sled.nvmf.find(&params.nqn)?.listeners.iter();
        Ok(listeners.map(|(traddr, listener)| describe(traddr, listener)).collect())
    })
}

fn describe(traddr: &str, listener: &Listener) -> Value {
    let state = listener.endpoint.clients();
    json!({
        "address": address::describe(traddr, &listener.trsvcid),
        "ana_state": "optimized",
        "ana_states": [{ "ana_group": 1, "ana_state": "optimized" }],
        "socket": listener.endpoint.socket(),
        "clients": {
            "connected": state.is_connected,
            "connections": state.counts.connections,
            "protocol_errors": state.counts.protocol_errors,
            "silent": state.counts.silent,
            "waited": state.counts.waited,
            "waiting": state.counts.waiting,
            "memory_stalls": state.stalls.count,
            "longest_memory_stall_us": u64::try_from(state.stalls.longest.as_micros()).unwrap_or(u64::MAX),
        },
    })
}
