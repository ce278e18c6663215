//! `bdev_enable_histogram`, `bdev_get_histogram` and `bdev_get_histogram_borders`: latencies of a block device in the field's layout.
//!
//! Latencies are always counted. Enabling a histogram notes the counts at that time, which are taken off later.
//!
//! Layout: ranges of 2^granularity buckets, from `min_range` to `max_range`, each bucket a 64-bit number, little-endian,
//! all in base64. Range 0 has the times below 2^granularity ticks; each further range is a doubling.

use crate::control::{Control, HistogramStart, Sled};
use crate::methods::definition::method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use luge_rpc::{Method, RpcError, params};
use luge_volume::{Histogram, TimedOperation, Volume, tick_rate};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

params! {
    /// Parameters of `bdev_enable_histogram`.
    struct Enable {
        /// Name or UUID of the bdev
        name: String,
        /// Whether to count from now on, or not at all
        enable: bool,
        /// The only operation to be counted; all if not given
        opc: Option<Operation>,
        /// Bits of a time within its doubling: 3, which is all that Luge counts with
        granularity: Option<u32>,
        /// Shortest time to be told apart: 0, other values are not supported
        min_nsec: Option<u64>,
        /// Longest time to be told apart: not supported
        max_nsec: Option<u64>,
    }
}

params! {
    /// Parameters of `bdev_get_histogram`.
    struct Get {
        /// Name or UUID of the bdev
        name: String,
    }
}

params! {
    /// Parameters of `bdev_get_histogram_borders`.
    struct GetBorders {
        /// Name or UUID of the bdev
        name: String,
        /// Times in microseconds, ascending; for each, the requests that took less are counted
        borders: Vec<u64>,
    }
}

/// Operation of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Read,
    Write,
    Unmap,
    Flush,
}

impl luge_rpc::ParamValue for Operation {
    const KIND: &'static str = "read|write|unmap|flush";
}

impl From<Operation> for TimedOperation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::Write => Self::Write,
            Operation::Unmap => Self::Unmap,
            Operation::Flush => Self::Flush,
        }
    }
}

/// Result of `bdev_get_histogram`.
#[derive(Serialize)]
struct Encoded {
    histogram: String,
    granularity: u32,
    min_range: u32,
    max_range: u32,
    tsc_rate: u64,
}

/// Result of `bdev_get_histogram_borders`.
#[derive(Serialize)]
struct Counted {
    /// Number of requests that took less than each border; at last, that of all requests.
    borders_count: Vec<u64>,
}

pub fn methods(control: &Arc<Control>) -> Vec<Method> {
    vec![
        method(control, "bdev_enable_histogram", "Count latencies of a block device from now on", enable),
        method(control, "bdev_get_histogram", "Show the latencies since that, encoded", get),
        method(
            control,
            "bdev_get_histogram_borders",
            "Count requests since that by their latency",
            get_borders,
        ),
    ]
}

fn enable(control: &Arc<Control>, params: Enable) -> Result<bool, RpcError> {
    check(&params)?;
    control.ask(move |sled| {
        let name = sled.bdevs.resolve(&params.name)?;
        let bdev = sled.bdevs.get_mut(&name)?;
        let operation = params.opc.map(TimedOperation::from);
        let before = of_operation(&bdev.volume, operation);
        bdev.histogram = params.enable.then_some(HistogramStart { operation, before });
        Ok(true)
    })
}

/// Refuses what Luge does not count with.
fn check(params: &Enable) -> Result<(), RpcError> {
    if params.granularity.is_some_and(|bits| bits != Histogram::BITS) {
        return Err(RpcError::unsupported("parameter `granularity`: Luge has 3, leave it out"));
    }
    if params.min_nsec.is_some_and(|ns| ns > 0) {
        return Err(RpcError::unsupported("parameter `min_nsec`: Luge counts from 0 on, leave it out"));
    }
    if params.max_nsec.is_some_and(|ns| ns > 0) {
        return Err(RpcError::unsupported("parameter `max_nsec`: Luge has one longest time, leave it out"));
    }
    Ok(())
}

fn get(control: &Arc<Control>, params: Get) -> Result<Encoded, RpcError> {
    let histogram = control.ask(move |sled| since_enabled(sled, &params.name))?;
    let max_range = ranges(&histogram);
    let words = layout(&histogram, max_range);
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    Ok(Encoded {
        histogram: STANDARD.encode(bytes),
        granularity: Histogram::BITS,
        min_range: 0,
        max_range,
        tsc_rate: tick_rate(),
    })
}

/// Counts the requests of the buckets that end at a border or below: a border within a bucket counts nothing of it.
fn get_borders(control: &Arc<Control>, params: GetBorders) -> Result<Counted, RpcError> {
    if !params.borders.is_sorted() {
        return Err(RpcError::invalid_params("parameter `borders`: give them in ascending order"));
    }
    let histogram = control.ask(move |sled| since_enabled(sled, &params.name))?;
    let below = |border: u64| {
        let ticks = u128::from(border) * u128::from(tick_rate()) / 1_000_000;
        histogram.used().filter(|&(end, _)| u128::from(end) <= ticks).map(|(_, count)| count).sum()
    };
    Ok(Counted { borders_count: params.borders.into_iter().map(below).chain([histogram.count()]).collect() })
}

/// Latencies of a device since its histogram was enabled.
fn since_enabled(sled: &Sled, name: &str) -> Result<Histogram, RpcError> {
    let name = sled.bdevs.resolve(name)?;
    let bdev = sled.bdevs.get(&name)?;
    let Some(HistogramStart { operation, before }) = &bdev.histogram else {
        return Err(RpcError::invalid_state(format_args!(
            "bdev {name} has no histogram: call bdev_enable_histogram first"
        )));
    };
    Ok(of_operation(&bdev.volume, *operation).since(before))
}

/// Latencies of all requests of an operation, or of all operations.
fn of_operation(volume: &Volume, operation: Option<TimedOperation>) -> Histogram {
    volume.latencies_where(|class| operation.is_none_or(|operation| operation == class.operation))
}

/// Place of a time in the layout.
const fn place(ticks: u64) -> usize {
    let range = (ticks | 1 << Histogram::BITS).ilog2() - Histogram::BITS;
    let range = if ticks < 1 << Histogram::BITS { 0 } else { range + 1 };
    let shift = range.saturating_sub(1);
    let mask = (1 << Histogram::BITS) - 1;
    #[expect(clippy::cast_possible_truncation, reason = "the mask has a few bits")]
    let within = (ticks >> shift & mask) as usize;
    ((range as usize) << Histogram::BITS) + within
}

/// Number of ranges up to the last one that has requests. Clients do not look at the range of that number.
fn ranges(histogram: &Histogram) -> u32 {
    let last = histogram.used().last().map_or(0, |(end, _)| place(end - 1));
    u32::try_from(last >> Histogram::BITS).unwrap_or(0) + 1
}

/// The counts of all buckets, up to and with the range `max_range`.
fn layout(histogram: &Histogram, max_range: u32) -> Vec<u64> {
    let mut words = vec![0; (max_range as usize + 1) << Histogram::BITS];
    for (end, count) in histogram.used() {
        if let Some(word) = words.get_mut(place(end - 1)) {
            *word += count;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_place_in_the_range_of_its_doubling() {
        for (ticks, index) in [(0, 0), (7, 7), (8, 8), (15, 15), (16, 16), (17, 16), (31, 23), (32, 24)] {
            assert_eq!(place(ticks), index, "{ticks} ticks");
        }
        assert_eq!(place((1 << 37) - 1) >> 3, 34);
    }
}
