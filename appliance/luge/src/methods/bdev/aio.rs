//! `bdev_aio_create`: a file or a block device of the host.

use super::create::{Wanted, create};
use crate::control::{Call, Control, Source};
use crate::methods::definition::{method, off};
use luge_block::{Access, FileDevice, FileError};
use luge_rpc::{Method, RpcError, params};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

params! {
    /// Parameters of `bdev_aio_create`.
    struct Create {
        /// Path of the file or block device
        filename: String,
        /// Name of the bdev
        name: String,
        /// Block size in bytes; the device's own, or 512 for a file, if not given
        block_size: Option<u32>,
        /// Whether it can only be read
        readonly: Option<bool>,
/// Taken for compatibility: blocks are always unmapped where the file system can
        fallocate: Option<bool>,
        /// UUID of the bdev; random if not given
        uuid: Option<Uuid>,
        /// Not supported: false or not given
        nowait: Option<bool>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_aio_create", "Make a device of a file of the host", run)]
}

fn run(control: &Arc<Control>, params: Create) -> Result<String, RpcError> {
    off("nowait", params.nowait)?;
    let filename = PathBuf::from(&params.filename);
    if !filename.is_absolute() {
        return Err(RpcError::invalid_params("parameter `filename`: write an absolute path, from /"));
    }
    let block_size = params.block_size.filter(|&size| size > 0);
    let access = if params.readonly == Some(true) { Access::ReadOnly } else { Access::ReadWrite };
    let wanted = Wanted { name: Some(params.name.clone()), prefix: "Aio", uuid: params.uuid };
    let source = Source::Aio { filename: filename.clone(), block_size_override: block_size.is_some() };
    let make = |_: &str| FileDevice::open(&filename, block_size, access).map_err(|error| refusal(&error));
    create(control, wanted, source, make, |name, uuid| {
        Call::new("bdev_aio_create", call(&params, name, block_size, uuid))
    })
}

/// Error for a file that cannot be served.
pub fn refusal(error: &FileError) -> RpcError {
    match error {
        FileError::NotFound { .. } => RpcError::no_file(error),
        FileError::InUse { .. } => RpcError::busy(error),
        FileError::Denied { source, .. }
        | FileError::IoUring { source, .. }
        | FileError::System { source, .. } => RpcError::kernel(source, error),
        FileError::Directory { .. }
        | FileError::Kind { .. }
        | FileError::BlockBytes { .. }
        | FileError::Size { .. } => RpcError::invalid(error),
    }
}

fn call(params: &Create, name: &str, block_size: Option<u32>, uuid: Uuid) -> Value {
    let readonly = params.readonly.unwrap_or(false);
    let mut call = json!({ "filename": params.filename, "name": name, "readonly": readonly, "uuid": uuid });
    if let (Some(size), Some(call)) = (block_size, call.as_object_mut()) {
        call.insert("block_size".into(), size.into());
    }
    call
}
