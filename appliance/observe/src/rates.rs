//! Rates: the change between two snapshots.

use crate::histogram::{self, Bucket, Histogram, Operation};
use crate::snapshot::{Core, Snapshot};
use crate::volume::{Counters, OperationCounters, Volume};
use std::collections::BTreeMap;

/// Rates of one operation of a volume.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct OperationRates {
    /// Completed requests per second.
    pub iops: f64,
    /// Bytes per second.
    pub bytes_per_s: f64,
    /// Outstanding requests, on average: by Little's law, the sum of the latencies per time.
    pub queue_depth: f64,
}

/// Rates of a volume. Of several volumes: their sum, with the longest of their latencies.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct VolumeRates {
    /// Reads.
    pub read: OperationRates,
    /// Writes.
    pub write: OperationRates,
    /// Unmaps.
    pub unmap: OperationRates,
    /// Failed requests per second.
    pub failed_per_s: f64,
    /// Median latency of reads and writes in nanoseconds; `None` if there were none, or if latencies are not
    /// measured.
    pub p50_ns: Option<u64>,
    /// Latency of reads and writes in nanoseconds that one in a hundred exceeds.
    pub p99_ns: Option<u64>,
}

impl VolumeRates {
    /// Requests per second of all operations.
    #[must_use]
    pub fn iops(&self) -> f64 {
        self.read.iops + self.write.iops + self.unmap.iops
    }

    /// Bytes per second that were read and written.
    #[must_use]
    pub fn bytes_per_s(&self) -> f64 {
        self.read.bytes_per_s + self.write.bytes_per_s
    }

    /// Outstanding requests of all operations, on average.
    #[must_use]
    pub fn queue_depth(&self) -> f64 {
        self.read.queue_depth + self.write.queue_depth + self.unmap.queue_depth
    }

    fn add(&mut self, more: &Self) {
        let pairs =
            [(&mut self.read, &more.read), (&mut self.write, &more.write), (&mut self.unmap, &more.unmap)];
        for (sum, more) in pairs {
            sum.iops += more.iops;
            sum.bytes_per_s += more.bytes_per_s;
            sum.queue_depth += more.queue_depth;
        }
        self.failed_per_s += more.failed_per_s;
        self.p50_ns = self.p50_ns.max(more.p50_ns);
        self.p99_ns = self.p99_ns.max(more.p99_ns);
    }
}

/// Rates of a core.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct CoreRates {
    /// Share of the time in turns that found work, from 0 to 1.
    pub busy: Option<f64>,
    /// Share of the core's work that each tenant got, from 0 to 1, the greatest first.
    pub tenants: Vec<(String, f64)>,
}

/// Change between two snapshots.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Rates {
    /// Time between them in seconds.
    pub seconds: f64,
    volumes: BTreeMap<String, VolumeRates>,
    cores: BTreeMap<u64, CoreRates>,
}

impl Rates {
    /// Rates between two snapshots of one process; `None` if it was started again between them, or if no
    /// time passed.
    #[must_use]
    pub fn between(before: &Snapshot, now: &Snapshot) -> Option<Self> {
        if before.pid != now.pid {
            return None;
        }
        let ticks = now.ticks?.checked_sub(before.ticks?).filter(|ticks| *ticks > 0)?;
        let seconds = real(ticks) / real(now.tick_rate?);
        let earlier: BTreeMap<&str, &Volume> =
            before.volumes.iter().map(|volume| (volume.name.as_str(), volume)).collect();
        let of_volume = |volume: &Volume| {
            let rates = volume_rates(earlier.get(volume.name.as_str())?, volume, Span { ticks, seconds })?;
            Some((volume.name.clone(), rates))
        };
        let of_core = |core: &Core| {
            let earlier = before.cores.iter().find(|other| other.id == core.id)?;
            Some((core.id, core_rates(earlier, core)))
        };
        Some(Self {
            seconds,
            volumes: now.volumes.iter().filter_map(of_volume).collect(),
            cores: now.cores.iter().filter_map(of_core).collect(),
        })
    }

    /// Rates of a volume.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&VolumeRates> {
        self.volumes.get(name)
    }

    /// Sum of the rates of several volumes, each counted once; `None` if none of them has rates.
    #[must_use]
    pub fn sum<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<VolumeRates> {
        let names: std::collections::BTreeSet<&str> = names.into_iter().collect();
        let mut sum = None;
        for rates in names.into_iter().filter_map(|name| self.volumes.get(name)) {
            sum.get_or_insert_with(VolumeRates::default).add(rates);
        }
        sum
    }

    /// Rates of a core.
    #[must_use]
    pub fn core(&self, id: u64) -> Option<&CoreRates> {
        self.cores.get(&id)
    }
}

/// Time between two snapshots.
#[derive(Clone, Copy)]
struct Span {
    ticks: u64,
    seconds: f64,
}

/// Rates of a volume; `None` without counters, or if they went back: another volume has the name now, or its
/// counters were reset.
fn volume_rates(before: &Volume, now: &Volume, span: Span) -> Option<VolumeRates> {
    if before.uuid != now.uuid {
        return None;
    }
    let (Counters { read, write, unmap, failed }, latest) = (before.counters?, now.counters?);
    let latencies = new_latencies(before, now);
    Some(VolumeRates {
        read: operation_rates(read, latest.read, span)?,
        write: operation_rates(write, latest.write, span)?,
        unmap: operation_rates(unmap, latest.unmap, span)?,
        failed_per_s: real(latest.failed.checked_sub(failed)?) / span.seconds,
        p50_ns: histogram::quantile_ns(&latencies, 500),
        p99_ns: histogram::quantile_ns(&latencies, 990),
    })
}

fn operation_rates(before: OperationCounters, now: OperationCounters, span: Span) -> Option<OperationRates> {
    Some(OperationRates {
        iops: real(now.requests.checked_sub(before.requests)?) / span.seconds,
        bytes_per_s: real(now.bytes.checked_sub(before.bytes)?) / span.seconds,
        queue_depth: real(now.latency_ticks.checked_sub(before.latency_ticks)?) / real(span.ticks),
    })
}

/// Latencies of the reads and writes between two snapshots, of all sizes.
fn new_latencies(before: &Volume, now: &Volume) -> Vec<Bucket> {
    let earlier = before.latencies.as_deref().unwrap_or_default();
    let newer = |histogram: &Histogram| {
        let is_same = |other: &&Histogram| {
            other.operation == histogram.operation && other.size_class == histogram.size_class
        };
        let before = earlier.iter().find(is_same).map_or(&[][..], |found| &found.buckets);
        histogram::since(before, &histogram.buckets)
    };
    let is_transfer =
        |histogram: &&Histogram| matches!(histogram.operation, Operation::Read | Operation::Write);
    let now = now.latencies.as_deref().unwrap_or_default();
    histogram::merged(now.iter().filter(is_transfer).map(newer))
}

fn core_rates(before: &Core, now: &Core) -> CoreRates {
    let change = |now: Option<u64>, before: Option<u64>| now?.checked_sub(before?);
    let busy = change(now.busy_ticks, before.busy_ticks);
    let idle = change(now.idle_ticks, before.idle_ticks);
    let share = |busy: u64, idle: u64| {
        let all = busy.saturating_add(idle);
        (all > 0).then(|| real(busy) / real(all))
    };
    CoreRates {
        busy: busy.zip(idle).and_then(|(busy, idle)| share(busy, idle)),
        tenants: shares(before, now),
    }
}

/// Shares of the tenants that got work between two snapshots.
fn shares(before: &Core, now: &Core) -> Vec<(String, f64)> {
    let earlier: BTreeMap<&str, u64> =
        before.tenants.iter().filter_map(|tenant| Some((tenant.name.as_str(), tenant.work?))).collect();
    let work = now.tenants.iter().filter_map(|tenant| {
        let before = earlier.get(tenant.name.as_str()).copied().unwrap_or(0);
        let work = tenant.work?;
        // A tenant that left and came back counts from zero.
        Some((tenant.name.clone(), work.checked_sub(before).unwrap_or(work)))
    });
    let work: Vec<(String, u64)> = work.filter(|(_, work)| *work > 0).collect();
    let all = work.iter().fold(0_u64, |sum, (_, work)| sum.saturating_add(*work));
    let mut shares: Vec<_> = work.into_iter().map(|(name, work)| (name, real(work) / real(all))).collect();
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    shares
}

/// Nearest floating-point number.
#[expect(clippy::cast_precision_loss, reason = "rates are shown with three digits")]
const fn real(number: u64) -> f64 {
    number as f64
}
