//! `nvmf_create_transport`, `nvmf_get_transports`, and `nvmf_delete_transport`, which SPDK does not have.

use super::address::{TRANSPORT, check_transport};
use super::options::{self, Create};
use super::target::check_target;
use crate::control::{Call, Control, Sled, Subsystem, Transport};
use crate::methods::definition::method;
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
    let transport = Transport { controller: options::controller(&params)? };
    control.ask(move |sled| {
        if sled.nvmf.transport.is_some() {
            let exists = format_args!("Transport type '{TRANSPORT}' already exists: there can be one");
            return Err(RpcError::new(Code::INTERNAL_ERROR, exists));
        }
        sled.nvmf.transport = Some(transport);
        let call = Call::new("nvmf_create_transport", options::call(&transport.controller));
        sled.record.add(Subsystem::Nvmf, record_name(), call);
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
    let fixed = json!({
        "in_capsule_data_size": 0,
        "io_unit_size": transport.controller.transfer_bytes,
        "num_shared_buffers": 0,
        "buf_cache_size": 0,
        "dif_insert_or_strip": false,
        "zcopy": true,
        "abort_timeout_sec": 0,
        "ack_timeout": 0,
    });
    let mut all = options::call(&transport.controller);
    if let (Some(all), Value::Object(fixed)) = (all.as_object_mut(), fixed) {
        all.extend(fixed);
    }
    all
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
