//! `nvmf_create_transport`, `nvmf_get_transports`, and `nvmf_delete_transport`, which SPDK does not have.

use super::address::{TRANSPORT, check_transport};
use super::options::{self, Create};
use super::target::check_target;
use crate::control::{Call, Control, Sled, Subsystem, Transport};
use crate::methods::definition::method;
use luge_nvme_target::ControllerConfig;
use luge_rpc::{Code, Method, RpcError, params};
use serde_json::{Value, json};
use std::sync::Arc;

params! {
    /// Parameters of `nvmf_get_transports`.
    struct Get {
        /// VFIOUSER; all if not given
        trtype: Option<String>,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

params! {
    /// Parameters of `nvmf_delete_transport`.
    struct Delete {
        /// VFIOUSER
        trtype: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "nvmf_create_transport", "Make NVMe subsystems reachable by vfio-user", create),
        method(control, "nvmf_get_transports", "List the transports of NVMe subsystems", get),
        method(control, "nvmf_delete_transport", "Undo nvmf_create_transport", delete),
    ]
}

fn create(control: &Arc<Control>, params: Create) -> Result<bool, RpcError> {
    check_transport("trtype", &params.trtype)?;
    check_target(params.tgt_name.as_deref())?;
    options::check(&params)?;
    let controller = ControllerConfig::default();
    let io_queues = params.max_io_qpairs_per_ctrlr.unwrap_or(controller.io_queues);
    let transport = Transport { controller: ControllerConfig { io_queues, ..controller } };
    transport.controller.check().map_err(|error| {
        RpcError::invalid_params(format_args!("parameter `max_io_qpairs_per_ctrlr`: {error}"))
    })?;
    control.ask(move |sled| {
        if sled.nvmf.transport.is_some() {
            let exists = format_args!("Transport type '{TRANSPORT}' already exists: there can be one");
            return Err(RpcError::new(Code::INTERNAL_ERROR, exists));
        }
        sled.nvmf.transport = Some(transport);
        let call = json!({ "trtype": TRANSPORT, "max_io_qpairs_per_ctrlr": io_queues });
        sled.record.add(Subsystem::Nvmf, record_name(), Call::new("nvmf_create_transport", call));
        Ok(true)
    })
}

fn get(control: &Arc<Control>, params: Get) -> Result<Vec<Value>, RpcError> {
    check_target(params.tgt_name.as_deref())?;
    control.look(move |sled| {
        let wanted = |trtype: &String| trtype.eq_ignore_ascii_case(TRANSPORT);
        match (sled.nvmf.transport, params.trtype.as_ref()) {
            (Some(transport), None) => Ok(vec![describe(&transport)]),
            (Some(transport), Some(trtype)) if wanted(trtype) => Ok(vec![describe(&transport)]),
            (None, None) => Ok(vec![]),
            (_, Some(_)) => Err(RpcError::no_device(
                "there is no transport of that type: nvmf_create_transport creates VFIOUSER",
            )),
        }
    })
}

fn describe(transport: &Transport) -> Value {
    json!({
        "trtype": TRANSPORT,
        "max_queue_depth": options::QUEUE_ENTRIES,
        "max_io_qpairs_per_ctrlr": transport.controller.io_queues,
        "in_capsule_data_size": 0,
        "max_io_size": options::TRANSFER_BYTES,
        "io_unit_size": options::TRANSFER_BYTES,
        "max_aq_depth": options::QUEUE_ENTRIES,
        "num_shared_buffers": 0,
        "buf_cache_size": 0,
        "dif_insert_or_strip": false,
        "zcopy": true,
        "abort_timeout_sec": 0,
        "ack_timeout": 0,
        "disable_mappable_bar0": false,
        "disable_adaptive_irq": false,
        "disable_shadow_doorbells": false,
    })
}

fn delete(control: &Arc<Control>, params: Delete) -> Result<bool, RpcError> {
    check_transport("trtype", &params.trtype)?;
    check_target(params.tgt_name.as_deref())?;
    control.ask(|sled| {
        check_unused(sled)?;
        if sled.nvmf.transport.take().is_none() {
            return Err(RpcError::no_device("there is no transport: nvmf_create_transport creates it"));
        }
        sled.record.remove(Subsystem::Nvmf, record_name());
        Ok(true)
    })
}

fn check_unused(sled: &Sled) -> Result<(), RpcError> {
    match sled.nvmf.listening() {
        Some((directory, nqn)) => Err(RpcError::busy(format_args!(
            "subsystem {nqn} has a listener in {}: remove it first (nvmf_subsystem_remove_listener)",
            directory.display()
        ))),
        None => Ok(()),
    }
}

/// Key of the transport in the record. No subsystem has that name.
const fn record_name() -> &'static str {
    "transport"
}
