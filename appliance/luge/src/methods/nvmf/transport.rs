//! `nvmf_create_transport`, `nvmf_get_transports`, and `nvmf_delete_transport`, which SPDK does not have.

use super::address::{TRANSPORT, check_transport};
use super::{check_target, options};
use crate::control::{Call, Control, Sled, Subsystem, Transport};
use crate::methods::definition::method;
use luge_nvme_target::ControllerConfig;
use luge_rpc::{Code, Method, RpcError, params};
use serde_json::{Value, json};
use std::sync::Arc;

params! {
    /// Parameters of `nvmf_create_transport`.
    pub struct Create {
        /// VFIOUSER
        trtype: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Most I/O queue pairs of a controller, 1 to 128; 63 if not given
        max_io_qpairs_per_ctrlr: Option<u16>,
        /// 4096, or not given
        max_queue_depth: Option<u32>,
        /// 4096, or not given
        max_aq_depth: Option<u32>,
        /// 1048576, or not given
        max_io_size: Option<u32>,
        /// Not supported: 0 or not given
        in_capsule_data_size: Option<u32>,
        /// Taken for compatibility: data is not copied, so there are no units
        io_unit_size: Option<u32>,
        /// Taken for compatibility: there are no pools of buffers
        num_shared_buffers: Option<u32>,
        /// Taken for compatibility: there are no pools of buffers
        buf_cache_size: Option<u32>,
        /// Taken for compatibility: there are no pools of buffers
        iobuf_small_cache_size: Option<u32>,
        /// Taken for compatibility: there are no pools of buffers
        iobuf_large_cache_size: Option<u32>,
        /// Taken for compatibility: data is not copied in any case
        zcopy: Option<bool>,
        /// Not supported: false or not given
        dif_insert_or_strip: Option<bool>,
        /// Taken for compatibility: an abort is answered at once
        abort_timeout_sec: Option<u32>,
        /// Taken for compatibility: nobody polls for clients
        acceptor_poll_rate: Option<u32>,
        /// Taken for compatibility: there is no network
        acceptor_backlog: Option<u32>,
        /// Taken for compatibility: there is no network
        ack_timeout: Option<u32>,
        /// Taken for compatibility: there is no network
        data_wr_pool_size: Option<u32>,
        /// Taken for compatibility: there is no network
        num_cqe: Option<u32>,
        /// Taken for compatibility: there is no network
        max_srq_depth: Option<u32>,
        /// Taken for compatibility: there is no network
        control_msg_num: Option<u32>,
        /// Taken for compatibility: there is no network
        c2h_success: Option<bool>,
        /// Not supported: false or not given
        no_srq: Option<bool>,
        /// Not supported: 0 or not given
        sock_priority: Option<u32>,
        /// Not supported: false or not given
        no_wr_batching: Option<bool>,
        /// Not supported: false or not given
        disable_mappable_bar0: Option<bool>,
        /// Not supported: false or not given
        disable_adaptive_irq: Option<bool>,
        /// Not supported: false or not given
        disable_shadow_doorbells: Option<bool>,
        /// Taken for compatibility: no command is passed through
        disable_command_passthru: Option<bool>,
        /// Not supported: 0 or not given
        kas: Option<u16>,
        /// Not supported: 0 or not given
        min_kato: Option<u32>,
        /// Not supported: empty or not given
        masked_oncs: Option<Vec<String>>,
        /// Not supported: empty or not given
        masked_fuses: Option<Vec<String>>,
    }
}

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
