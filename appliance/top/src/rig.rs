//! A source with the answers of a sled that has one of each kind of thing.

use luge_observe::{Snapshot, Source, SourceError};
use serde_json::{Value, json};

/// Number of looks that have been answered decides the counters.
pub(crate) struct Sled {
    /// Seconds since the start.
    pub(crate) seconds: u64,
}

impl Sled {
    /// Snapshot at a time.
    pub(crate) fn at(seconds: u64) -> Snapshot {
        Snapshot::take(&mut Self { seconds }).unwrap()
    }

    /// Counters of a volume that reads 4 KiB so many times a second, each in 100 us.
    fn counters(&self, name: &str, iops: u64) -> Value {
        let reads = iops * self.seconds;
        json!({ "name": name, "num_read_ops": reads, "bytes_read": reads * 4096,
            "read_latency_ticks": reads * 100_000 })
    }
}

impl Source for Sled {
    fn call(&mut self, method: &str, _: Value) -> Result<Value, SourceError> {
        let reads = 1000 * self.seconds;
        Ok(match method {
            "spdk_get_version" => json!({ "version": "Luge v0.1.0" }),
            "framework_get_reactors" => json!({ "pid": 7, "reactors": [{
                "lcore": 3, "busy": self.seconds * 25, "idle": self.seconds * 75, "in_interrupt": false,
                "rings": 2, "numa_node": 0, "longest_turn_us": 42,
                "tenants": [{ "tenant": "vm1", "work": self.seconds * 10 }],
            }] }),
            "bdev_nvme_get_controllers" => json!([{ "name": "nvme0", "ctrlrs": [{
                "state": "enabled", "trid": { "traddr": "0000:3b:00.0" }, "bounced_requests": 0,
            }] }]),
            "bdev_get_bdevs" => json!([
                { "name": "nvme0n1", "uuid": "a", "block_size": 512, "num_blocks": 7_814_037_168_u64,
                  "driver_specific": { "nvme": [{ "trid": { "traddr": "0000:3b:00.0" } }] } },
                { "name": "scratch", "uuid": "b", "block_size": 4096, "num_blocks": 262_144,
                  "product_name": "Malloc disk", "driver_specific": {} },
            ]),
            "vhost_get_controllers" => json!([
                { "ctrlr": "vm1.disk", "socket": "/run/vm1.disk", "front_ends": { "waiting": 2 },
                  "sessions": [{ "started": true, "max_queues": 4, "inflight_task_cnt": 9 }],
                  "backend_specific": { "block": { "bdev": "nvme0n1" } } },
            ]),
            "vm_get_vms" => json!([{ "name": "vm1", "state": "running", "cpus": 4, "memory_mib": 2048,
                "disks": ["vm1.disk"] }]),
            "bdev_get_iostat" => json!({
                "ticks": self.seconds * 1_000_000_000, "tick_rate": 1_000_000_000,
                "bdevs": [self.counters("nvme0n1", 1000), self.counters("scratch", 20)],
            }),
            "luge_get_latency" => json!([{ "name": "nvme0n1", "operations": [{
                "operation": "read", "size_class": "4KiB", "sum_ns": 1,
                "buckets": [[90_000, reads * 9 / 10], [250_000, reads / 10]],
            }] }]),
            _ => json!([]),
        })
    }
}
