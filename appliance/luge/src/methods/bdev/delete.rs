//! `bdev_*_delete`: deletes a device by name, with the method of its kind only.

use crate::control::{Bdev, Control, Sled, Source, Subsystem};
use crate::methods::definition::method;
use luge_rpc::{Method, RpcError, params};
use std::sync::Arc;

params! {
    /// Parameters of the methods that delete a device.
    struct Delete {
        /// Name of the bdev
        name: String,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "bdev_aio_delete", "Delete a device that is a file", |control, params| {
            delete(control, params, "bdev_aio_delete")
        }),
        method(control, "bdev_malloc_delete", "Delete a device in memory", |control, params| {
            delete(control, params, "bdev_malloc_delete")
        }),
        method(control, "bdev_null_delete", "Delete a null device", |control, params| {
            delete(control, params, "bdev_null_delete")
        }),
    ]
}

/// Deletes a device. Its memory or file is closed on this thread, as that may take long.
fn delete(control: &Arc<Control>, params: Delete, remover: &'static str) -> Result<bool, RpcError> {
    let (name, bdev) = control.ask(move |sled| take(sled, &params.name, remover))?;
    let uuid = bdev.uuid;
    let bytes = match bdev.source {
        Source::Malloc { bytes } => bytes,
        _ => 0,
    };
    drop(bdev);
    control.ask(move |sled| {
        sled.bdevs.release(&name, uuid);
        sled.budget.give_back(bytes);
        Ok(true)
    })
}

fn take(sled: &mut Sled, name: &str, remover: &str) -> Result<(String, Bdev), RpcError> {
    let name = sled.bdevs.resolve(name)?;
    let source = &sled.bdevs.get(&name)?.source;
    if source.remover() != remover {
        let (product, remover) = (source.product(), source.remover());
        return Err(RpcError::invalid(format_args!("bdev {name} is a {product}: use {remover}")));
    }
    let bdev = sled.bdevs.take(&name)?;
    sled.record.remove(Subsystem::Bdev, &name);
    Ok((name, bdev))
}
