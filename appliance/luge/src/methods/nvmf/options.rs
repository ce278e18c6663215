//! Parameters of `nvmf_create_transport`, and the check of those that only have one value here.
//!
//! Limits are those of the controllers. Pools of buffers, and what is for networks, do not exist: options that size
//! them change nothing, and are taken; those that switch something on are refused.

use crate::methods::definition::off;
use luge_rpc::{RpcError, params};

/// Entries of the queues of a controller, at most.
pub const QUEUE_ENTRIES: u32 = 4096;

/// Bytes of a command's data, at most (MDTS).
pub const TRANSFER_BYTES: u32 = 1 << 20;

params! {
    /// Parameters of `nvmf_create_transport`.
    pub struct Create {
        /// VFIOUSER
        trtype: String,
        /// nvmf_tgt, or not given
        tgt_name: Option<String>,
        /// Most I/O queue pairs of a controller, 1 to 128; 31 if not given: with more, doorbells share cache lines
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

/// Checks the options that only have one value.
///
/// # Errors
/// -32602 or -95, with the option's name.
pub fn check(params: &Create) -> Result<(), RpcError> {
    fixed("max_queue_depth", params.max_queue_depth, QUEUE_ENTRIES)?;
    fixed("max_aq_depth", params.max_aq_depth, QUEUE_ENTRIES)?;
    fixed("max_io_size", params.max_io_size, TRANSFER_BYTES)?;
    off("in_capsule_data_size", params.in_capsule_data_size)?;
    off("dif_insert_or_strip", params.dif_insert_or_strip)?;
    off("no_srq", params.no_srq)?;
    off("sock_priority", params.sock_priority)?;
    off("no_wr_batching", params.no_wr_batching)?;
    off("disable_mappable_bar0", params.disable_mappable_bar0)?;
    off("disable_adaptive_irq", params.disable_adaptive_irq)?;
    off("disable_shadow_doorbells", params.disable_shadow_doorbells)?;
    off("kas", params.kas)?;
    off("min_kato", params.min_kato)?;
    off("masked_oncs", params.masked_oncs.clone())?;
    off("masked_fuses", params.masked_fuses.clone())
}

fn fixed(name: &str, value: Option<u32>, only: u32) -> Result<(), RpcError> {
    match value {
        Some(value) if value != only => {
            Err(RpcError::unsupported(format_args!("parameter `{name}`: Luge has {only}, leave it out")))
        }
        _ => Ok(()),
    }
}
