//! `bdev_get_iostat`: what the block devices have done.

use super::{method, off};
use crate::control::{Bdev, Control, Sled};
use luge_rpc::{Method, RpcError, params};
use luge_volume::Counters;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

params! {
    /// Parameters of `bdev_get_iostat`.
    struct Get {
        /// Names or UUIDs of bdevs; all if not given
        names: Option<Vec<String>>,
        /// Whether to count for each core; then there is one name
        per_channel: Option<bool>,
        /// Not supported: "none" or not given
        reset_mode: Option<ResetMode>,
    }
}

/// What to reset after reading.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResetMode {
    All,
    Maxmin,
    Error,
    #[default]
    None,
}

impl luge_rpc::ParamValue for ResetMode {
    const KIND: &'static str = "all|maxmin|error|none";
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_get_iostat", "Show what the block devices have done", run)]
}

fn run(control: &Arc<Control>, params: Get) -> Result<Value, RpcError> {
    off("reset_mode", params.reset_mode)?;
    let names = params.names.filter(|names| !names.is_empty());
    match (params.per_channel.unwrap_or(false), names) {
        (false, names) => control.ask(move |sled| totals(sled, names)),
        (true, Some(names)) if names.len() == 1 => control.ask(move |sled| by_core(sled, &names.concat())),
        (true, _) => Err(RpcError::invalid_params("parameter `per_channel`: needs one name in `names`")),
    }
}

fn totals(sled: &Sled, names: Option<Vec<String>>) -> Result<Value, RpcError> {
    let names = match names {
        Some(names) => names.iter().map(|name| sled.bdevs.resolve(name)).collect::<Result<_, _>>()?,
        None => sled.bdevs.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
    };
    let mut bdevs = Vec::new();
    for name in &names {
        let bdev = sled.bdevs.get(name)?;
        let mut entry = json!({ "name": name });
        append(&mut entry, counts(bdev, bdev.volume.counters()));
        bdevs.push(entry);
    }
    Ok(json!({ "tick_rate": luge_core::tick_rate(), "ticks": luge_core::ticks(), "bdevs": bdevs }))
}

fn by_core(sled: &Sled, name: &str) -> Result<Value, RpcError> {
    let name = sled.bdevs.resolve(name)?;
    let bdev = sled.bdevs.get(&name)?;
    let channel = |core: &luge_core::CoreHandle| {
        let mut entry = json!({ "thread_id": core.id().0 });
        append(&mut entry, counts(bdev, bdev.volume.stats(core.id()).read()));
        entry
    };
    let channels: Vec<_> = sled.platform.cores.iter().map(channel).collect();
    Ok(json!({
        "tick_rate": luge_core::tick_rate(), "ticks": luge_core::ticks(), "name": name, "channels": channels,
    }))
}

/// The members that clients know. Latencies are not measured: they are zero.
fn counts(bdev: &Bdev, counters: Counters) -> Value {
    let bytes = |blocks: u64| blocks.saturating_mul(u64::from(bdev.volume.geometry().block_bytes));
    json!({
        "bytes_read": bytes(counters.read_blocks),
        "num_read_ops": counters.reads,
        "bytes_written": bytes(counters.written_blocks),
        "num_write_ops": counters.writes,
        "bytes_unmapped": bytes(counters.unmapped_blocks),
        "num_unmap_ops": counters.unmaps,
        "bytes_copied": 0, "num_copy_ops": 0,
        "read_latency_ticks": 0, "max_read_latency_ticks": 0, "min_read_latency_ticks": 0,
        "write_latency_ticks": 0, "max_write_latency_ticks": 0, "min_write_latency_ticks": 0,
        "unmap_latency_ticks": 0, "max_unmap_latency_ticks": 0, "min_unmap_latency_ticks": 0,
        "copy_latency_ticks": 0, "max_copy_latency_ticks": 0, "min_copy_latency_ticks": 0,
    })
}

fn append(entry: &mut Value, members: Value) {
    if let (Some(entry), Value::Object(members)) = (entry.as_object_mut(), members) {
        entry.extend(members);
    }
}
