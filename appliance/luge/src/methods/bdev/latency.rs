//! `luge_get_latency`: latencies of the block devices, by operation and size, since they were made.
//!
//! The control thread tells only which devices there are; the counts of the cores are read here.

use crate::control::{Control, Sled};
use crate::methods::definition::{listed, method};
use luge_rpc::{Method, RpcError, params};
use luge_volume::{Histogram, LatencyClass, TimedOperation, Volume, tick_rate};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

params! {
    /// Parameters of `luge_get_latency`.
    struct Get {
        /// Name or UUID of the bdev; all if not given
        name: Option<String>,
    }
}

/// Latencies of a block device.
#[derive(Serialize)]
struct BdevLatencies {
    name: String,
    operations: Vec<ClassLatencies>,
}

/// Latencies of one operation, of requests of one size class. Times are in nanoseconds.
#[derive(Serialize)]
struct ClassLatencies {
    operation: &'static str,
    size_class: &'static str,
    count: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    /// Upper end and number of requests of each bucket that has some.
    buckets: Vec<(u64, u64)>,
}

impl ClassLatencies {
    fn new(class: LatencyClass, histogram: &Histogram) -> Self {
        Self {
            operation: operation_name(class.operation),
            size_class: class.size(),
            count: histogram.count(),
            sum_ns: in_ns(histogram.sum()),
            min_ns: in_ns(histogram.shortest()),
            max_ns: in_ns(histogram.longest()),
            p50_ns: in_ns(histogram.quantile(500)),
            p99_ns: in_ns(histogram.quantile(990)),
            p999_ns: in_ns(histogram.quantile(999)),
            buckets: histogram.used().map(|(end, count)| (in_ns(end), count)).collect(),
        }
    }
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![method(control, "luge_get_latency", "Show how long requests of the block devices take", run)]
}

fn run(control: &Arc<Control>, params: Get) -> Result<Box<RawValue>, RpcError> {
    let bdevs = control.ask(move |sled| volumes(sled, params.name.as_deref()))?;
    let latencies =
        bdevs.into_iter().map(|(name, volume)| BdevLatencies { name, operations: classes(&volume) });
    listed(latencies.collect::<Vec<_>>())
}

/// Volumes of a device, or of all, by their names.
fn volumes(sled: &Sled, name: Option<&str>) -> Result<Vec<(String, Arc<Volume>)>, RpcError> {
    let Some(name) = name else {
        return Ok(sled.bdevs.iter().map(|(name, bdev)| (name.to_owned(), bdev.volume.clone())).collect());
    };
    let name = sled.bdevs.resolve(name)?;
    let volume = sled.bdevs.get(&name)?.volume.clone();
    Ok(vec![(name, volume)])
}

/// Latencies of the classes that have had requests.
fn classes(volume: &Volume) -> Vec<ClassLatencies> {
    let all = LatencyClass::all().map(|class| (class, volume.latencies(class)));
    let used = all.filter(|(_, histogram)| histogram.count() > 0);
    used.map(|(class, histogram)| ClassLatencies::new(class, &histogram)).collect()
}

const fn operation_name(operation: TimedOperation) -> &'static str {
    match operation {
        TimedOperation::Read => "read",
        TimedOperation::Write => "write",
        TimedOperation::Unmap => "unmap",
        TimedOperation::Flush => "flush",
    }
}

/// Ticks of the time stamp counter in nanoseconds.
fn in_ns(ticks: u64) -> u64 {
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(tick_rate());
    u64::try_from(ns).unwrap_or(u64::MAX)
}
