//! `bdev_*_delete`: deletes a device by name, with the method of its kind only.
//!
//! LUNs of the device are removed before, as SPDK does it: their guests are told. Any other user keeps it.

use crate::control::{Bdev, Control, Sled, Source, Subsystem};
use crate::methods::definition::waiting_method;
use crate::methods::vhost::without_luns;
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
        waiting_method(control, "bdev_aio_delete", "Delete a device that is a file", |control, params| {
            delete(control, params, "bdev_aio_delete")
        }),
        waiting_method(control, "bdev_malloc_delete", "Delete a device in memory", |control, params| {
            delete(control, params, "bdev_malloc_delete")
        }),
        waiting_method(control, "bdev_null_delete", "Delete a null device", |control, params| {
            delete(control, params, "bdev_null_delete")
        }),
    ]
}

/// Deletes a device. Its memory or file is closed on this thread, as that may take long; before, the thread waits for
/// the requests of its LUNs.
fn delete(control: &Arc<Control>, params: Delete, remover: &'static str) -> Result<bool, RpcError> {
    let name = params.name.clone();
    let chosen = move |sled: &mut Sled| Ok(vec![resolve(sled, &name, remover)?]);
    let (name, bdev) = without_luns(control, chosen, move |sled| take(sled, &params.name, remover))?;
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

/// Name of a device that the method deletes.
fn resolve(sled: &Sled, name: &str, remover: &str) -> Result<String, RpcError> {
    let name = sled.bdevs.resolve(name)?;
    let source = &sled.bdevs.get(&name)?.source;
    if source.remover() != remover {
        let (product, remover) = (source.product(), source.remover());
        return Err(RpcError::invalid(format_args!("bdev {name} is a {product}: use {remover}")));
    }
    Ok(name)
}

fn take(sled: &mut Sled, name: &str, remover: &str) -> Result<(String, Bdev), RpcError> {
    let name = resolve(sled, name, remover)?;
    let bdev = sled.bdevs.take(&name)?;
    sled.record.remove(Subsystem::Bdev, &name);
    Ok((name, bdev))
}
