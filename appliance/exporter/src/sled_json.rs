//! The sled as JSON, for the page: VMs, endpoints, volumes, SSDs and cores, with the names that link them.
//!
//! Counters are totals; the page computes rates from two answers. A number that is absent is null.

use crate::lookout::Look;
use luge_observe::{
    Core, Counters, Endpoint, Health, Histogram, OperationCounters, Snapshot, Ssd, Vm, Volume,
};
use serde_json::{Value, json};

/// JSON of a look at the sled.
#[must_use]
pub fn sled_json(look: &Look) -> Value {
    match &look.sled {
        Err(why) => json!({ "up": false, "why": why, "at_ms": look.at_ms }),
        Ok(sled) => json!({
            "up": true,
            "at_ms": look.at_ms,
            "version": sled.version,
            "pid": sled.pid,
            "missing": sled.missing.iter().map(|one| one.method.as_str()).collect::<Vec<_>>(),
            "cores": sled.cores.iter().map(|core| core_json(core, sled)).collect::<Vec<_>>(),
            "ssds": sled.ssds.iter().map(ssd_json).collect::<Vec<_>>(),
            "volumes": sled.volumes.iter().map(|volume| volume_json(volume, sled)).collect::<Vec<_>>(),
            "endpoints": sled.endpoints.iter().map(endpoint_json).collect::<Vec<_>>(),
            "vms": sled.vms.iter().map(|vm| vm_json(vm, sled)).collect::<Vec<_>>(),
        }),
    }
}

fn core_json(core: &Core, sled: &Snapshot) -> Value {
    json!({
        "id": core.id,
        "busy_s": seconds(core.busy_ticks, sled),
        "idle_s": seconds(core.idle_ticks, sled),
        "asleep": core.is_asleep,
        "rings": core.rings,
        "longest_turn_us": core.longest_turn_us,
    })
}

fn ssd_json(ssd: &Ssd) -> Value {
    json!({
        "name": ssd.name,
        "state": ssd.state,
        "address": ssd.address,
        "unusable_namespaces": ssd.unusable_namespaces,
        "health": ssd.health.as_ref().map(health_json),
    })
}

fn health_json(health: &Health) -> Value {
    json!({
        "temperature_celsius": health.temperature_celsius,
        "used_percent": health.used_percent,
        "spare_percent": health.spare_percent,
        "warnings": health.warnings(),
    })
}

fn volume_json(volume: &Volume, sled: &Snapshot) -> Value {
    let totals = |operation: fn(&Counters) -> OperationCounters| {
        volume.counters.as_ref().map(|counters| totals_json(operation(counters), sled))
    };
    json!({
        "name": volume.name,
        "product": volume.product,
        "size_bytes": volume.size_bytes(),
        "base": volume.base,
        "ssd": sled.ssd_of(volume).map(|ssd| ssd.name.as_str()),
        "read": totals(|counters| counters.read),
        "write": totals(|counters| counters.write),
        "unmap": totals(|counters| counters.unmap),
        "failed": volume.counters.as_ref().map(|counters| counters.failed),
        "latencies": volume.latencies.iter().flatten().map(latency_json).collect::<Vec<_>>(),
    })
}

fn totals_json(totals: OperationCounters, sled: &Snapshot) -> Value {
    json!({
        "requests": totals.requests,
        "bytes": totals.bytes,
        "seconds": seconds(Some(totals.latency_ticks), sled),
    })
}

/// Histogram with its buckets as pairs of upper bound and count.
fn latency_json(latency: &Histogram) -> Value {
    let pairs = latency.buckets.iter().map(|bucket| [bucket.upper_ns, bucket.count]);
    json!({
        "operation": latency.operation.name(),
        "size_class": latency.size_class,
        "buckets": pairs.collect::<Vec<_>>(),
    })
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    json!({
        "name": endpoint.name,
        "kind": endpoint.kind.name(),
        "volumes": endpoint.volumes,
        "front_ends": endpoint.front_ends,
        "queues": endpoint.queues,
        "in_flight": endpoint.in_flight,
        "waiting": endpoint.waiting,
    })
}

/// VM with the names of its endpoints; a disk that is the folder of an NVMe listener is that of its subsystem.
fn vm_json(vm: &Vm, sled: &Snapshot) -> Value {
    let endpoint = |disk: &String| {
        let is_it = |endpoint: &&Endpoint| endpoint.name == *disk || endpoint.sockets.contains(disk);
        sled.endpoints.iter().find(is_it).map_or_else(|| disk.clone(), |endpoint| endpoint.name.clone())
    };
    json!({
        "name": vm.name,
        "state": vm.state,
        "cpus": vm.cpus,
        "memory_mib": vm.memory_mib,
        "endpoints": vm.disks.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// Ticks in seconds; null if either is absent.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact enough for a time")]
fn seconds(ticks: Option<u64>, sled: &Snapshot) -> Option<f64> {
    Some(ticks? as f64 / sled.tick_rate? as f64)
}
