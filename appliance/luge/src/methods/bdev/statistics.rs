//! `bdev_get_iostat`: counters of the block devices, with their shortest and longest latencies.

use super::reset_iostat::{ResetMode, reset};
use crate::control::{Bdev, Control, Sled, Source};
use crate::methods::definition::{listed, method};
use luge_block::CoreId;
use luge_core::CoreHandle;
use luge_rpc::{Method, RpcError, params};
use luge_volume::{Counters, Histogram, LatencyClass, TimedOperation};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

params! {
    /// Parameters of `bdev_get_iostat`.
    struct Get {
        /// Names or UUIDs of bdevs; all if not given
        names: Option<Vec<String>>,
        /// Name or UUID of one bdev, instead of `names`
        name: Option<String>,
        /// Whether to count for each core; then there is one name
        per_channel: Option<bool>,
        /// Counters to reset after reading: "all", "maxmin" or "error"; "maxmin" is for the latencies
        reset_mode: Option<ResetMode>,
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "bdev_get_iostat", "Show what the block devices have done", run)]
}

fn run(control: &Arc<Control>, params: Get) -> Result<Box<RawValue>, RpcError> {
    let reset = params.reset_mode.unwrap_or(ResetMode::None);
    let names = names(params.names, params.name)?;
    match (params.per_channel.unwrap_or(false), names) {
        (false, names) => control.ask(move |sled| listed(totals(sled, names, reset)?)),
        (true, Some(names)) if names.len() == 1 => {
            control.ask(move |sled| listed(by_core(sled, &names.concat(), reset)?))
        }
        (true, _) => Err(RpcError::invalid_params(
            "parameter `per_channel`: it needs one name, in `names` or as `name`",
        )),
    }
}

/// Names of the requested bdevs; none for all.
fn names(names: Option<Vec<String>>, name: Option<String>) -> Result<Option<Vec<String>>, RpcError> {
    match (names.filter(|names| !names.is_empty()), name) {
        (Some(_), Some(_)) => {
            Err(RpcError::invalid_params("parameter `name`: either that or `names`, not both"))
        }
        (names, None) => Ok(names),
        (None, Some(name)) => Ok(Some(vec![name])),
    }
}

fn totals(sled: &mut Sled, names: Option<Vec<String>>, mode: ResetMode) -> Result<Value, RpcError> {
    let names = match names {
        Some(names) => names.iter().map(|name| sled.bdevs.resolve(name)).collect::<Result<_, _>>()?,
        None => sled.bdevs.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
    };
    let mut bdevs = Vec::new();
    for name in &names {
        let bdev = sled.bdevs.get(name)?;
        let mut entry = json!({ "name": name });
        append(&mut entry, counts(sled, bdev, &bdev.volume.counting_cores()));
        bdevs.push(entry);
    }
    names.iter().try_for_each(|name| reset(sled, name, mode))?;
    Ok(json!({ "tick_rate": luge_core::tick_rate(), "ticks": luge_core::ticks(), "bdevs": bdevs }))
}

fn by_core(sled: &mut Sled, name: &str, mode: ResetMode) -> Result<Value, RpcError> {
    let name = sled.bdevs.resolve(name)?;
    let bdev = sled.bdevs.get(&name)?;
    let channel = |core: CoreId| {
        let mut entry = json!({ "thread_id": core.0 });
        append(&mut entry, counts(sled, bdev, &[core]));
        entry
    };
    let channels: Vec<_> = cores(sled, bdev).into_iter().map(channel).collect();
    reset(sled, &name, mode)?;
    Ok(json!({
        "tick_rate": luge_core::tick_rate(), "ticks": luge_core::ticks(), "name": name, "channels": channels,
    }))
}

/// The sled's cores, and background cores that serve the device or have served it.
fn cores(sled: &Sled, bdev: &Bdev) -> BTreeSet<CoreId> {
    sled.platform.cores.iter().map(CoreHandle::id).chain(bdev.volume.counting_cores()).collect()
}

/// Counters of these cores under the names that clients know.
fn counts(sled: &Sled, bdev: &Bdev, cores: &[CoreId]) -> Value {
    let counters =
        cores.iter().map(|&core| bdev.counters(core)).fold(Counters::default(), |sum, more| sum + more);
    let bytes = |blocks: u64| blocks.saturating_mul(u64::from(bdev.volume.geometry().block_bytes));
    let [read, write, unmap] = [TimedOperation::Read, TimedOperation::Write, TimedOperation::Unmap]
        .map(|operation| latencies(bdev, operation, cores));
    json!({
        "bytes_read": bytes(counters.read_blocks),
        "num_read_ops": counters.reads,
        "bytes_written": bytes(counters.written_blocks),
        "num_write_ops": counters.writes,
        "bytes_unmapped": bytes(counters.unmapped_blocks),
        "num_unmap_ops": counters.unmaps,
        "bytes_copied": 0, "num_copy_ops": 0,
        "read_latency_ticks": counters.read_ticks,
        "max_read_latency_ticks": read.longest(), "min_read_latency_ticks": read.shortest(),
        "write_latency_ticks": counters.write_ticks,
        "max_write_latency_ticks": write.longest(), "min_write_latency_ticks": write.shortest(),
        "unmap_latency_ticks": counters.unmap_ticks,
        "max_unmap_latency_ticks": unmap.longest(), "min_unmap_latency_ticks": unmap.shortest(),
        "copy_latency_ticks": 0, "max_copy_latency_ticks": 0, "min_copy_latency_ticks": 0,
        "io_error": io_error(sled, &bdev.source, counters),
    })
}

/// Latencies of an operation on these cores.
fn latencies(bdev: &Bdev, operation: TimedOperation, cores: &[CoreId]) -> Histogram {
    let mut sum = Histogram::default();
    for &core in cores {
        let stats = bdev.volume.stats(core);
        for class in LatencyClass::all().filter(|class| class.operation == operation) {
            sum.add(&stats.latencies().read(class));
        }
    }
    sum
}

/// Numbers of failed requests by the kinds that clients know; kinds without failures are left out.
fn io_error(sled: &Sled, source: &Source, counters: Counters) -> Map<String, Value> {
    let kinds = [(failure_of(sled, source), counters.failed), ("aborted", counters.aborted)];
    kinds
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| (kind.into(), count.into()))
        .collect()
}

/// Name under which failures are reported: for a part, that of its base device.
fn failure_of(sled: &Sled, source: &Source) -> &'static str {
    match source {
        Source::Namespace { .. } => "nvme_error",
        Source::Aio { .. } => "aio_error",
        Source::Malloc { .. } | Source::Null => "failed",
        Source::Part { base, .. } => {
            sled.bdevs.get(base).map_or("failed", |base| failure_of(sled, &base.source))
        }
    }
}

fn append(entry: &mut Value, members: Value) {
    if let (Some(entry), Value::Object(members)) = (entry.as_object_mut(), members) {
        entry.extend(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::control;
    use luge_block::{Blocks, NullDevice, Shape, Status};
    use luge_rpc::Dispatcher;
    use luge_volume::Volume;
    use uuid::Uuid;

    /// Number of a background core.
    const BACKGROUND: CoreId = CoreId(1 << 15);

    /// Methods of a sled whose device `n` has failed a request on a background core.
    fn failed_in_the_background() -> Dispatcher {
        let control = control();
        let device = NullDevice::new(Shape::new(512, Blocks(8)).unwrap());
        let volume = Volume::whole(Arc::new(device));
        volume.stats(BACKGROUND).fail(Status::MediaError);
        let bdev = Bdev::new(Uuid::new_v4(), Source::Null, volume);
        control
            .ask(move |sled| {
                sled.bdevs.put("n", bdev);
                Ok(())
            })
            .unwrap();
        let dispatcher = Dispatcher::new(crate::methods::bdev::methods(&control));
        dispatcher.enter(luge_rpc::Stage::Runtime);
        dispatcher
    }

    #[test]
    fn what_background_cores_did_is_counted_shown_by_core_and_reset() {
        let luge = failed_in_the_background();
        let stats = || luge.dispatch("bdev_get_iostat", json!({ "name": "n" })).unwrap();
        assert_eq!(stats()["bdevs"][0]["io_error"], json!({ "failed": 1 }));
        let by_core = luge.dispatch("bdev_get_iostat", json!({ "name": "n", "per_channel": true })).unwrap();
        assert_eq!(by_core["channels"][0]["thread_id"], BACKGROUND.0);
        assert_eq!(by_core["channels"][0]["io_error"], json!({ "failed": 1 }));
        luge.dispatch("bdev_reset_iostat", Value::Null).unwrap();
        assert_eq!(stats()["bdevs"][0]["io_error"], json!({}));
    }
}
