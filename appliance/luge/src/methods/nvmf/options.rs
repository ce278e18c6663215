//! Parameters of `nvmf_create_transport`, and the check of those that only have one value here.
//!
//! Limits are those of the controllers. Pools of buffers, and what is for networks, do not exist: options that size
//! them change nothing, and are taken; those that switch something on are refused.

use super::address::TRANSPORT;
use super::masked;
use crate::methods::definition::off;
use luge_nvme_target::{ControllerConfig, ControllerConfigError, MaskedCommands};
use luge_rpc::{RpcError, params};
use serde_json::{Value, json};

params! {
    /// Parameters of `nvmf_create_transport`.
    pub struct Create {
        /// VFIOUSER
        trtype: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Most I/O queue pairs of a controller, 1 to 128; 31 if not given: with more, doorbells share cache lines
        max_io_qpairs_per_ctrlr: Option<u16>,
        /// Most entries of an I/O queue, 2 to 4096; 4096 if not given
        max_queue_depth: Option<u32>,
        /// Most entries of an admin queue, 2 to 4096; 4096 if not given. A guest with longer ones finds no disk
        max_aq_depth: Option<u32>,
        /// Most bytes of a command's data, a power of two from 8192 to 1048576; 1048576 if not given
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
        /// Whether clients have to send their doorbells by messages
        disable_mappable_bar0: Option<bool>,
        /// Whether a host gets interrupts also while it has still to look at one
        disable_adaptive_irq: Option<bool>,
        /// Whether Doorbell Buffer Config is not offered
        disable_shadow_doorbells: Option<bool>,
        /// Whether Compare, and Compare and Write, are not offered
        disable_compare: Option<bool>,
        /// Taken for compatibility: no command is passed through
        disable_command_passthru: Option<bool>,
        /// Not supported: 0 or not given
        kas: Option<u16>,
        /// Not supported: 0 or not given
        min_kato: Option<u32>,
        /// Commands that are not offered: nvmcmps (Compare), nvmdsmsv (Dataset Management), nvmwzsv (Write Zeroes), reservs
        /// (reservations), nvmcpys (Copy)
        masked_oncs: Option<Vec<String>>,
        /// Fused commands that are not offered: fcws (Compare and Write)
        masked_fuses: Option<Vec<String>>,
    }
}

/// Checks the options that only have one value.
///
/// # Errors
/// -32602 or -95, with the option's name.
pub fn check(params: &Create) -> Result<(), RpcError> {
    off("in_capsule_data_size", params.in_capsule_data_size)?;
    off("dif_insert_or_strip", params.dif_insert_or_strip)?;
    off("no_srq", params.no_srq)?;
    off("sock_priority", params.sock_priority)?;
    off("no_wr_batching", params.no_wr_batching)?;
    off("kas", params.kas)?;
    off("min_kato", params.min_kato)
}

/// Controllers that the options describe.
///
/// # Errors
/// -32602, with the option's name.
pub fn controller(params: &Create) -> Result<ControllerConfig, RpcError> {
    let default = ControllerConfig::default();
    let comparisons = masked::comparisons(params.disable_compare);
    let stays = |disabled: Option<bool>| !disabled.unwrap_or(false);
    let controller = ControllerConfig {
        io_queues: params.max_io_qpairs_per_ctrlr.unwrap_or(default.io_queues),
        vectors: default.vectors,
        queue_entries: params.max_queue_depth.unwrap_or(default.queue_entries),
        admin_queue_entries: params.max_aq_depth.unwrap_or(default.admin_queue_entries),
        transfer_bytes: params.max_io_size.unwrap_or(default.transfer_bytes),
        mappable_doorbells: stays(params.disable_mappable_bar0),
        shadow_doorbells: stays(params.disable_shadow_doorbells),
        adaptive_interrupts: stays(params.disable_adaptive_irq),
        masked: MaskedCommands {
            oncs: comparisons.oncs | masked::oncs(params.masked_oncs.as_deref())?,
            fuses: comparisons.fuses | masked::fuses(params.masked_fuses.as_deref())?,
        },
    };
    controller.check().map_err(|error| {
        let name = match error {
            ControllerConfigError::Queues(_) | ControllerConfigError::Vectors(_) => "max_io_qpairs_per_ctrlr",
            ControllerConfigError::Entries(_) => "max_queue_depth",
            ControllerConfigError::AdminEntries(_) => "max_aq_depth",
            ControllerConfigError::Transfer(_) => "max_io_size",
        };
        RpcError::invalid_params(format_args!("parameter `{name}`: {error}"))
    })?;
    Ok(controller)
}

/// Options by which a transport with such controllers is created again.
pub fn call(controller: &ControllerConfig) -> Value {
    json!({
        "trtype": TRANSPORT,
        "max_io_qpairs_per_ctrlr": controller.io_queues,
        "max_queue_depth": controller.queue_entries,
        "max_aq_depth": controller.admin_queue_entries,
        "max_io_size": controller.transfer_bytes,
        "disable_mappable_bar0": !controller.mappable_doorbells,
        "disable_adaptive_irq": !controller.adaptive_interrupts,
        "disable_shadow_doorbells": !controller.shadow_doorbells,
        "disable_compare": masked::disables_compare(controller.masked),
        "masked_oncs": masked::oncs_names(controller.masked),
        "masked_fuses": masked::fuses_names(controller.masked),
    })
}
