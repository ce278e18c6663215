//! `bdev_*`: block devices that are made, split, shown and deleted.

mod aio;
mod delete;
mod list;
mod malloc;
mod null;
mod split;
mod statistics;

use super::{method, off};
use crate::control::{Bdev, Call, Control, Source, Subsystem};
use luge_block::{Device, Shape};
use luge_rpc::{Method, RpcError};
use luge_volume::Volume;
use std::sync::Arc;
use uuid::Uuid;

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let families = [
        aio::methods(control),
        delete::methods(control),
        list::methods(control),
        malloc::methods(control),
        null::methods(control),
        split::methods(control),
        statistics::methods(control),
    ];
    families.into_iter().flatten().collect()
}

/// The name and identity of a device that is being made.
struct Wanted {
    name: Option<String>,
    prefix: &'static str,
    uuid: Option<Uuid>,
}

/// Makes a device on this thread, between a reservation and the result on the control thread.
fn create<D: Device + 'static>(
    control: &Arc<Control>,
    wanted: Wanted,
    source: Source,
    make: impl FnOnce(&str) -> Result<D, RpcError>,
    call: impl FnOnce(&str, Uuid) -> Call,
) -> Result<String, RpcError> {
    let (name, uuid) =
        control.ask(move |sled| sled.bdevs.reserve(wanted.name, wanted.prefix, wanted.uuid))?;
    let reserved = name.clone();
    let undo = control.undo(move |sled| sled.bdevs.release(&reserved, uuid));
    let bdev = Bdev::new(uuid, source, Volume::whole(Arc::new(make(&name)?)));
    let (made, call) = (name.clone(), call(&name, uuid));
    control.ask(move |sled| {
        sled.record.add(Subsystem::Bdev, &made, call);
        sled.bdevs.put(&made, bdev);
        Ok(())
    })?;
    undo.disarm();
    Ok(name)
}

/// The shape of a device.
fn shape(block_size: u32, num_blocks: u64) -> Result<Shape, RpcError> {
    let error = |error: luge_block::ShapeError| {
        let parameter = match error {
            luge_block::ShapeError::BlockBytes { .. } => "block_size",
            luge_block::ShapeError::Blocks { .. } => "num_blocks",
        };
        RpcError::invalid_params(format_args!("parameter `{parameter}`: {error}"))
    };
    Shape::new(block_size, luge_block::Blocks(num_blocks)).map_err(error)
}

/// Checks a physical block size: Luge's devices have that of their logical blocks.
fn check_physical(physical_block_size: Option<u32>, block_size: u32) -> Result<(), RpcError> {
    match physical_block_size {
        None | Some(0) => Ok(()),
        Some(size) if size == block_size => Ok(()),
        Some(_) => off("physical_block_size", physical_block_size),
    }
}
