//! Options of `nvmf_create_transport` that only have one value here.
//!
//! Limits are those of the controllers. Pools of buffers, and what is for networks, do not exist: options that size
//! them change nothing, and are taken; those that switch something on are refused.

use super::transport::Create;
use crate::methods::definition::off;
use luge_rpc::RpcError;

/// Entries of the queues of a controller, at most.
pub const QUEUE_ENTRIES: u32 = 4096;

/// Bytes of a command's data, at most (MDTS).
pub const TRANSFER_BYTES: u32 = 1 << 20;

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
