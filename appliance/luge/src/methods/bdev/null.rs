//! `bdev_null_create`: a device that stores nothing.

use super::create::{Wanted, check_physical, create, shape};
use crate::control::{Call, Control, Source};
use crate::methods::definition::{method, off};
use luge_block::NullDevice;
use luge_rpc::{Method, RpcError, params};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

params! {
    /// Parameters of `bdev_null_create`.
    struct Create {
        /// Name of the bdev
        name: String,
        /// Number of blocks
        num_blocks: u64,
        /// Block size in bytes
        block_size: u32,
        /// UUID of the bdev; random if not given
        uuid: Option<Uuid>,
        /// The block size, or not given
        physical_block_size: Option<u32>,
        /// Not supported: 0 or not given
        md_size: Option<u32>,
        /// Not supported: 0 or not given
        dif_type: Option<u32>,
        /// Not supported: false or not given
        dif_is_head_of_md: Option<bool>,
        /// Not supported: 0 or not given
        dif_pi_format: Option<u32>,
        /// Not supported: 0 or not given
        preferred_write_alignment: Option<u32>,
        /// Not supported: 0 or not given
        preferred_write_granularity: Option<u32>,
        /// Not supported: 0 or not given
        optimal_write_size: Option<u32>,
        /// Not supported: 0 or not given
        preferred_unmap_alignment: Option<u32>,
        /// Not supported: 0 or not given
        preferred_unmap_granularity: Option<u32>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_null_create", "Make a device that discards writes", run)]
}

fn run(control: &Arc<Control>, params: Create) -> Result<String, RpcError> {
    check_off(&params)?;
    let shape = shape(params.block_size, params.num_blocks)?;
    let wanted = Wanted { name: Some(params.name), prefix: "Null", uuid: params.uuid };
    create(
        control,
        wanted,
        Source::Null,
        |_| Ok(NullDevice::new(shape)),
        |name, uuid| {
            let (num_blocks, block_size) = (params.num_blocks, params.block_size);
            let params =
                json!({ "name": name, "num_blocks": num_blocks, "block_size": block_size, "uuid": uuid });
            Call::new("bdev_null_create", params)
        },
    )
}

fn check_off(params: &Create) -> Result<(), RpcError> {
    check_physical(params.physical_block_size, params.block_size)?;
    off("md_size", params.md_size)?;
    off("dif_type", params.dif_type)?;
    off("dif_is_head_of_md", params.dif_is_head_of_md)?;
    off("dif_pi_format", params.dif_pi_format)?;
    off("preferred_write_alignment", params.preferred_write_alignment)?;
    off("preferred_write_granularity", params.preferred_write_granularity)?;
    off("optimal_write_size", params.optimal_write_size)?;
    off("preferred_unmap_alignment", params.preferred_unmap_alignment)?;
    off("preferred_unmap_granularity", params.preferred_unmap_granularity)
}
