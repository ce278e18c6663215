//! `bdev_split_create` and `_delete`: equal parts of a device, each a linear volume.
//!
//! A part that does not fit whole is left out, as in SPDK: the remaining blocks stay unused.

use crate::control::{Bdev, Call, Control, Sled, Source, Subsystem, User};
use crate::methods::definition::{method, waiting_method};
use crate::methods::vhost::without_luns;
use luge_block::{Blocks, Geometry, Lba};
use luge_rpc::{Method, RpcError, params};
use luge_volume::Volume;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of parts of a device.
const PARTS: u32 = 4096;

params! {
    /// Parameters of `bdev_split_create`.
    struct Create {
        /// Name of the bdev to split
        base_bdev: String,
        /// Number of parts; fewer are made if not so many fit
        split_count: u32,
        /// Size of each part in MiB; as large as possible if 0 or not given
        split_size_mb: Option<u64>,
    }
}

params! {
    /// Parameters of `bdev_split_delete`.
    struct Delete {
        /// Name of the bdev that was split
        base_bdev: String,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "bdev_split_create", "Split a device into equal parts", |control, params| {
            control.ask(move |sled| create(sled, &params))
        }),
        waiting_method(
            control,
            "bdev_split_delete",
            "Delete the parts of a device",
            |control, params: Delete| {
                let base = params.base_bdev.clone();
                let chosen = move |sled: &mut Sled| Ok(parts_of(sled, &base)?.names);
                without_luns(control, chosen, move |sled| delete(sled, &params.base_bdev))
            },
        ),
    ]
}

fn create(sled: &mut Sled, params: &Create) -> Result<Vec<String>, RpcError> {
    let base = sled.bdevs.resolve(&params.base_bdev)?;
    sled.bdevs.check_unused(&base)?;
    let Bdev { volume, uuid, .. } = sled.bdevs.get(&base)?;
    // A part is the same disk again after the configuration has been loaded again.
    let identity = |name: &str, uuid: Uuid| Uuid::new_v5(&uuid, name.as_bytes());
    let (parts, uuid) = (parts(volume, &base, params)?, *uuid);
    for part in &parts {
        sled.bdevs.check_free(&part.name, identity(&part.name, uuid))?;
    }
    sled.bdevs.claim(&base, User::Split)?;
    let call = json!({
        "base_bdev": base,
        "split_count": params.split_count,
        "split_size_mb": params.split_size_mb.unwrap_or(0),
    });
    sled.record.add(Subsystem::Bdev, &record_name(&base), Call::new("bdev_split_create", call));
    let mut names = Vec::new();
    for Part { name, first, volume } in parts {
        let source = Source::Part { base: base.clone(), first };
        sled.bdevs.put(&name, Bdev::new(identity(&name, uuid), source, volume));
        names.push(name);
    }
    Ok(names)
}

/// A part to create.
struct Part {
    name: String,
    first: Lba,
    volume: Volume,
}

/// Parts of a device, one after the other from the start.
fn parts(base: &Volume, name: &str, params: &Create) -> Result<Vec<Part>, RpcError> {
    let (count, geometry) = (params.split_count, base.geometry());
    if !(1..=PARTS).contains(&count) {
        return Err(RpcError::invalid_params(format_args!(
            "parameter `split_count`: a number from 1 to {PARTS}"
        )));
    }
    let blocks = part_blocks(params, &geometry);
    let fitting = match geometry.blocks.0.checked_div(blocks) {
        None => return Err(too_many(name, geometry.blocks)),
        Some(0) => return Err(too_large(name, geometry.bytes())),
        Some(fitting) => fitting,
    };
    if fitting < u64::from(count) {
        tracing::warn!("bdev {name} has room for {fitting} of {count} parts: the others are left out");
    }
    let part = |at: u32| {
        let first = Lba(u64::from(at) * blocks);
        let volume = base.part(first, Blocks(blocks)).map_err(RpcError::invalid)?;
        Ok(Part { name: format!("{name}p{at}"), first, volume })
    };
    (0..count).take_while(|&at| u64::from(at) < fitting).map(part).collect()
}

/// Size of each part: as asked for, or as large as the number of parts allows.
fn part_blocks(params: &Create, geometry: &Geometry) -> u64 {
    match params.split_size_mb.unwrap_or(0) {
        0 => geometry.blocks.0 / u64::from(params.split_count),
        size_mb => size_mb.saturating_mul(1 << 20) / u64::from(geometry.block_bytes),
    }
}

fn too_many(name: &str, blocks: Blocks) -> RpcError {
    RpcError::invalid_params(format_args!("parameter `split_count`: bdev {name} has {blocks} blocks only"))
}

fn too_large(name: &str, bytes: u64) -> RpcError {
    RpcError::invalid_params(format_args!(
        "parameter `split_size_mb`: not one part of that size fits on bdev {name} ({} MiB): make it smaller",
        bytes >> 20
    ))
}

/// A device that is split, and its parts, by name.
struct Parts {
    base: String,
    names: Vec<String>,
}

fn parts_of(sled: &Sled, base: &str) -> Result<Parts, RpcError> {
    let base = sled.bdevs.resolve(base)?;
    if !sled.bdevs.get(&base)?.users.contains(&User::Split) {
        return Err(RpcError::invalid(format_args!("bdev {base} is not split: bdev_split_create splits it")));
    }
    let is_part = |source: &Source| matches!(source, Source::Part { base: of, .. } if *of == base);
    let parts = sled.bdevs.iter().filter(|(_, bdev)| is_part(&bdev.source));
    let names = parts.map(|(name, _)| name.into()).collect();
    Ok(Parts { base, names })
}

fn delete(sled: &mut Sled, base: &str) -> Result<bool, RpcError> {
    let Parts { base, names } = parts_of(sled, base)?;
    for name in &names {
        sled.bdevs.check_unused(name)?;
    }
    for name in &names {
        let part = sled.bdevs.take(name)?;
        sled.bdevs.release(name, part.uuid);
    }
    sled.bdevs.unclaim(&base, &User::Split);
    sled.record.remove(Subsystem::Bdev, &record_name(&base));
    Ok(true)
}

/// Key of a split in the record. A name has no line break, so the key differs from all names of bdevs.
fn record_name(base: &str) -> String {
    format!("split\n{base}")
}
