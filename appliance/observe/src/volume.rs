//! A volume: a block device, its counters and latencies.

use crate::answer;
use crate::histogram::Histogram;
use serde_json::Value;

/// Counters of one operation since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OperationCounters {
    /// Number of completed requests.
    pub requests: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Sum of their latencies, in ticks of [`Snapshot::tick_rate`](crate::Snapshot::tick_rate).
    pub latency_ticks: u64,
}

/// Counters of a volume since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Reads.
    pub read: OperationCounters,
    /// Writes.
    pub write: OperationCounters,
    /// Unmaps.
    pub unmap: OperationCounters,
    /// Number of failed requests.
    pub failed: u64,
}

/// A volume.
#[derive(Clone, PartialEq, Debug)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// UUID.
    pub uuid: Option<String>,
    /// Kind of the block device, such as `Malloc disk`.
    pub product: Option<String>,
    /// Size of a block in bytes.
    pub block_bytes: Option<u64>,
    /// Size in blocks.
    pub size_blocks: Option<u64>,
    /// Whether something uses it.
    pub is_claimed: Option<bool>,
    /// Name of the volume that this one is a part of.
    pub base: Option<String>,
    /// Transport address of its SSD, also if it is a part of a volume there.
    pub ssd_address: Option<String>,
    /// Counters.
    pub counters: Option<Counters>,
    /// Latencies, per operation and size class; `None` where they are not measured.
    pub latencies: Option<Vec<Histogram>>,
}

impl Volume {
    /// Size in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.block_bytes?.checked_mul(self.size_blocks?)
    }

    /// Volume in the answer of `bdev_get_bdevs`, without numbers; `None` if it has no name.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            name: answer::text(value, "name")?,
            uuid: answer::text(value, "uuid"),
            product: answer::text(value, "product_name"),
            block_bytes: answer::number(value, "block_size"),
            size_blocks: answer::number(value, "num_blocks"),
            is_claimed: answer::flag(value, "claimed"),
            base: value.pointer("/driver_specific/split").and_then(|split| answer::text(split, "base_bdev")),
            ssd_address: value
                .pointer("/driver_specific/nvme/0/trid")
                .and_then(|trid| answer::text(trid, "traddr")),
            counters: None,
            latencies: None,
        })
    }
}

impl Counters {
    /// Counters in an entry of `bdev_get_iostat`.
    pub(crate) fn read(value: &Value) -> Self {
        let number = |key: &str| answer::number(value, key).unwrap_or(0);
        let operation = |bytes: &str, requests: &str, ticks: &str| OperationCounters {
            requests: number(requests),
            bytes: number(bytes),
            latency_ticks: number(ticks),
        };
        let errors = value.get("io_error").and_then(Value::as_object);
        let failed = errors.into_iter().flat_map(|kinds| kinds.values()).filter_map(Value::as_u64);
        Self {
            read: operation("bytes_read", "num_read_ops", "read_latency_ticks"),
            write: operation("bytes_written", "num_write_ops", "write_latency_ticks"),
            unmap: operation("bytes_unmapped", "num_unmap_ops", "unmap_latency_ticks"),
            failed: failed.fold(0, u64::saturating_add),
        }
    }
}
