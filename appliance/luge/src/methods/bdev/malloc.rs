//! `bdev_malloc_create`: a device in memory, within the budget.

use super::create::{Wanted, check_physical, create, shape};
use crate::control::{Call, Control, Source};
use crate::methods::definition::{method, off};
use luge_block::MemoryDevice;
use luge_memory::NumaNode;
use luge_rpc::{Method, RpcError, params};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Folder of the memory nodes.
const NODES: &str = "/sys/devices/system/node";

params! {
    /// Parameters of `bdev_malloc_create`.
    struct Create {
        /// Number of blocks
        num_blocks: u64,
        /// Block size in bytes
        block_size: u32,
        /// Name of the bdev; Malloc0, Malloc1, ... if not given
        name: Option<String>,
        /// UUID of the bdev; random if not given
        uuid: Option<Uuid>,
        /// Memory node to take the memory from; -1 for any
        numa_id: Option<i32>,
        /// The block size, or not given
        physical_block_size: Option<u32>,
        /// Not supported: 0 or not given
        optimal_io_boundary: Option<u32>,
        /// Not supported: 0 or not given
        md_size: Option<u32>,
        /// Taken for compatibility: without metadata there is nothing to interleave
        md_interleave: Option<bool>,
        /// Not supported: 0 or not given
        dif_type: Option<u32>,
        /// Not supported: false or not given
        dif_is_head_of_md: Option<bool>,
        /// Not supported: 0 or not given
        dif_pi_format: Option<u32>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_malloc_create", "Make a device in memory", run)]
}

fn run(control: &Arc<Control>, params: Create) -> Result<String, RpcError> {
    check_off(&params)?;
    let node = node(params.numa_id)?;
    let shape = shape(params.block_size, params.num_blocks)?;
    let platform = control.platform().clone();
    let bytes = shape.bytes().next_multiple_of(platform.pages.bytes());
    let asked = params.name.clone().unwrap_or_else(|| "the disk".into());
    control.ask(move |sled| sled.budget.take(&asked, bytes))?;
    let undo = control.undo(move |sled| sled.budget.give_back(bytes));
    let wanted = Wanted { name: params.name.clone(), prefix: "Malloc", uuid: params.uuid };
    let make = |_: &str| {
        MemoryDevice::new(&platform.space, shape, platform.pages, node).map_err(RpcError::no_memory)
    };
    let name = create(control, wanted, Source::Malloc { bytes }, make, |name, uuid| {
        let (num_blocks, block_size) = (params.num_blocks, params.block_size);
        let mut call =
            json!({ "name": name, "num_blocks": num_blocks, "block_size": block_size, "uuid": uuid });
        if let (Some(node), Some(call)) = (node, call.as_object_mut()) {
            call.insert("numa_id".into(), node.0.into());
        }
        Call::new("bdev_malloc_create", call)
    })?;
    undo.disarm();
    Ok(name)
}

fn node(id: Option<i32>) -> Result<Option<NumaNode>, RpcError> {
    match id {
        None | Some(-1) => Ok(None),
        Some(id) => match u16::try_from(id) {
            Ok(id) if is_there(id) => Ok(Some(NumaNode(id))),
            _ => Err(RpcError::invalid_params(format_args!(
                "parameter `numa_id`: there is no memory node {id}: {NODES} has those there are; -1 for any"
            ))),
        },
    }
}

/// Whether this machine has a memory node. A machine without NUMA has node 0.
fn is_there(node: u16) -> bool {
    node == 0 || Path::new(NODES).join(format!("node{node}")).exists()
}

fn check_off(params: &Create) -> Result<(), RpcError> {
    check_physical(params.physical_block_size, params.block_size)?;
    off("optimal_io_boundary", params.optimal_io_boundary)?;
    off("md_size", params.md_size)?;
    off("dif_type", params.dif_type)?;
    off("dif_is_head_of_md", params.dif_is_head_of_md)?;
    off("dif_pi_format", params.dif_pi_format)
}
