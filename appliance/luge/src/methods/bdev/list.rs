//! `bdev_get_bdevs`: lists the block devices.

use crate::control::{Bdev, Control, Sled, Source, User};
use crate::methods::definition::{RUNTIME, listed};
use crate::methods::nvme;
use luge_block::Geometry;
use luge_rpc::{Caller, Method, RpcError, params};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for a device to appear.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

params! {
    /// Parameters of `bdev_get_bdevs`.
    struct Get {
        /// Name or UUID of one bdev; all if not given
        name: Option<String>,
/// Longest wait for that bdev to appear, in milliseconds
        timeout: Option<u64>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    let control = control.clone();
    let run = move |params, caller: &Caller<'_>| run(&control, params, caller);
    vec![Method::waiting("bdev_get_bdevs", "List the block devices", RUNTIME, run)]
}

fn run(control: &Arc<Control>, params: Get, caller: &Caller<'_>) -> Result<Box<RawValue>, RpcError> {
    let Some(name) = params.name else {
        return control.ask(|sled| {
            listed(sled.bdevs.iter().map(|(name, bdev)| describe(sled, name, bdev)).collect::<Vec<_>>())
        });
    };
    let timeout = Duration::from_millis(params.timeout.unwrap_or(0)).min(TIMEOUT_MAX);
    control.look_until(Instant::now() + timeout, caller, move |sled| {
        let name = sled.bdevs.resolve(&name)?;
        listed([describe(sled, &name, sled.bdevs.get(&name)?)])
    })
}

fn describe(sled: &Sled, name: &str, bdev: &Bdev) -> Value {
    let geometry = bdev.volume.geometry();
    let mut info = json!({
        "name": name,
        "aliases": [bdev.uuid],
        "product_name": bdev.source.product(),
        "block_size": geometry.block_bytes,
        "num_blocks": geometry.blocks.0,
        "uuid": bdev.uuid,
        "assigned_rate_limits": {
            "rw_ios_per_sec": 0, "rw_mbytes_per_sec": 0, "r_mbytes_per_sec": 0, "w_mbytes_per_sec": 0,
        },
        "claimed": !bdev.users.is_empty(),
    });
    if let Some(info) = info.as_object_mut() {
        if let Some(user) = bdev.users.first() {
            info.insert("claim_type".into(), claim_type(user).into());
        }
        info.insert("zoned".into(), false.into());
        info.insert("supported_io_types".into(), io_types(&geometry));
        info.insert("driver_specific".into(), details(sled, bdev));
    }
    info
}

const fn claim_type(user: &User) -> &'static str {
    match user {
        User::Split => "exclusive_write",
        User::Endpoint(_) | User::Lun(_) | User::Subsystem(_) => "read_many_write_shared",
    }
}

/// Kinds of request that clients know, each with whether the device supports it.
fn io_types(geometry: &Geometry) -> Value {
    let writable = !geometry.read_only;
    let taken = |name: &str| match name {
        "read" | "flush" => true,
        "write" => writable,
        "unmap" => writable && geometry.discard_blocks_max > 0,
        "write_zeroes" => writable && geometry.write_zeroes_blocks_max > 0,
        _ => false,
    };
    let names = [
        "read",
        "write",
        "unmap",
        "flush",
        "reset",
        "nvme_admin",
        "nvme_io",
        "nvme_io_md",
        "write_zeroes",
        "zcopy",
        "get_zone_info",
        "zone_management",
        "zone_append",
        "compare",
        "compare_and_write",
        "abort",
        "seek_hole",
        "seek_data",
        "copy",
        "nvme_iov_md",
    ];
    names.into_iter().map(|name| (name.to_owned(), taken(name).into())).collect::<Map<_, _>>().into()
}

fn details(sled: &Sled, bdev: &Bdev) -> Value {
    match &bdev.source {
        Source::Malloc { .. } | Source::Null => json!({}),
        Source::Namespace { ssd, id } => {
            sled.ssds.get(ssd).map_or_else(|_| json!({}), |ssd| nvme::namespace(ssd, *id))
        }
        Source::Aio { filename, block_size_override } => json!({ "aio": {
            "filename": filename,
            "block_size_override": block_size_override,
            "readonly": bdev.volume.geometry().read_only,
            "bounced_requests": bdev.volume.bounced(),
        } }),
        Source::Part { base, first } => json!({ "split": { "base_bdev": base, "offset_blocks": first.0 } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::control;
    use luge_block::{Channel, CoreId, Device, OpenError};
    use luge_volume::Volume;
    use uuid::Uuid;

    /// A file whose requests have been copied three times.
    struct Copying;

    impl Device for Copying {
        fn geometry(&self) -> Geometry {
            luge_block::NullDevice::new(luge_block::Shape::new(512, luge_block::Blocks(8)).unwrap())
                .geometry()
        }

        fn open(&self, _: CoreId) -> Result<Box<dyn Channel>, OpenError> {
            Err(OpenError::NoQueue { device: "copying".into(), core: 0, queues: 0, users: vec![] })
        }

        fn bounced(&self) -> u64 {
            3
        }
    }

    #[test]
    fn requests_to_a_file_that_were_copied_are_seen() {
        let source = Source::Aio { filename: "/file".into(), block_size_override: false };
        let bdev = Bdev::new(Uuid::new_v4(), source, Volume::whole(Arc::new(Copying)));
        let shown = control().ask(move |sled| Ok(describe(sled, "a", &bdev))).unwrap();
        assert_eq!(shown["driver_specific"]["aio"]["bounced_requests"], 3);
    }
}
