//! Creation of a block device: the steps and checks that its kinds share.

use crate::control::{Bdev, Call, Control, Source, Subsystem};
use crate::methods::definition::off;
use luge_block::{Device, Shape};
use luge_rpc::RpcError;
use luge_volume::Volume;
use std::sync::Arc;
use uuid::Uuid;

/// Name and identity of a device that is being created.
pub struct Wanted {
    /// Name, if given.
    pub name: Option<String>,
    /// Prefix of a generated name.
    pub prefix: &'static str,
    /// UUID, if given.
    pub uuid: Option<Uuid>,
}

/// Creates a device on this thread. The control thread reserves its name before, and adds the device after.
pub fn create<D: Device + 'static>(
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
    let platform = control.platform();
    let descriptors = platform.promise_descriptors(source.descriptors(platform.cores.len() as u64))?;
    let volume = Volume::whole(Arc::new(make(&name)?));
    let bdev = Bdev::new(uuid, source, volume).with_descriptors(descriptors);
    let (made, call) = (name.clone(), call(&name, uuid));
    control.ask(move |sled| {
        sled.record.add(Subsystem::Bdev, &made, call);
        sled.bdevs.put(&made, bdev);
        Ok(())
    })?;
    undo.disarm();
    Ok(name)
}

/// Checks the size of a device and of its blocks.
pub fn shape(block_size: u32, num_blocks: u64) -> Result<Shape, RpcError> {
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
pub fn check_physical(physical_block_size: Option<u32>, block_size: u32) -> Result<(), RpcError> {
    match physical_block_size {
        None | Some(0) => Ok(()),
        Some(size) if size == block_size => Ok(()),
        Some(_) => off("physical_block_size", physical_block_size),
    }
}
