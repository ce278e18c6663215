//! Picture of the sled: all that the page and the metrics show, at one moment.
//!
//! Counters are totals since the start of Luge; whoever looks twice has the rates. Names are those of the
//! RPC methods, and arrows from VMs to SSDs are names, too.

use serde::Serialize;

/// The sled at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Picture {
    /// Version of Luge.
    pub version: String,
    /// Cores that serve disks.
    pub cores: Vec<Core>,
    /// SSDs, and everything else that keeps data.
    pub stores: Vec<Store>,
    /// Block devices.
    pub volumes: Vec<Volume>,
    /// Disks and controllers that front ends connect to.
    pub endpoints: Vec<Endpoint>,
    /// VMs that Luge runs.
    pub vms: Vec<Vm>,
}

/// A core.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Core {
    /// Number of its CPU.
    pub id: u64,
    /// Time in which it did work.
    pub busy_s: f64,
    /// Time in which it polled for nothing, or slept.
    pub idle_s: f64,
    /// Number of times it went to sleep.
    pub sleeps: u64,
    /// Rings that it serves.
    pub rings: u64,
    /// Longest turn.
    pub longest_turn_s: f64,
}

/// Kind of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// NVMe SSD.
    #[default]
    Ssd,
    /// File of the host.
    File,
    /// Memory of Luge, or nothing at all.
    Memory,
}

impl StoreKind {
    /// Word for the kind.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ssd => "ssd",
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// An SSD, or something else that keeps data.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Store {
    /// Name of the controller, or a word for the others.
    pub name: String,
    /// Kind.
    pub kind: StoreKind,
    /// State as the driver says it: `enabled`, `resetting`, `failed`.
    pub state: String,
    /// PCI address, or path of the file.
    pub address: String,
    /// Model, if there is one.
    pub model: String,
    /// Serial number, if there is one.
    pub serial: String,
}

/// Totals of one operation of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Requests.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
    /// Sum of the latencies.
    pub seconds: f64,
}

/// A block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// UUID.
    pub uuid: String,
    /// Product name.
    pub product: String,
    /// Size.
    pub size_bytes: u64,
    /// Block device that it is a part of.
    pub base: Option<String>,
    /// Store of its data.
    pub store: String,
    /// Reads.
    pub read: Totals,
    /// Writes.
    pub write: Totals,
    /// Discards.
    pub unmap: Totals,
    /// Requests that failed.
    pub failed: u64,
    /// Latencies by operation and size.
    pub latencies: Vec<Latency>,
}

/// Latencies of one operation and size class of a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// `read`, `write`, `unmap` or `flush`.
    pub operation: String,
    /// Size class, such as `4KiB`.
    pub size_class: String,
    /// Sum of the latencies.
    pub sum_s: f64,
    /// Buckets with requests, in order of their bounds.
    pub buckets: Vec<Bucket>,
}

/// Bucket of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Upper bound, in nanoseconds.
    pub upper_ns: u64,
    /// Requests in this bucket alone.
    pub count: u64,
}

/// Kind of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum EndpointKind {
    /// vhost-user-blk disk.
    #[default]
    #[serde(rename = "vhost-blk")]
    Blk,
    /// vhost-user-scsi host bus adapter.
    #[serde(rename = "vhost-scsi")]
    Scsi,
    /// Listener of an NVMe subsystem, over vfio-user.
    #[serde(rename = "nvme")]
    Nvme,
}

impl EndpointKind {
    /// Word for the kind.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blk => "vhost-blk",
            Self::Scsi => "vhost-scsi",
            Self::Nvme => "nvme",
        }
    }
}

/// A disk or controller that front ends connect to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Endpoint {
    /// Name of the vhost controller, or directory of the NVMe listener.
    pub name: String,
    /// Kind.
    pub kind: EndpointKind,
    /// Block devices behind it.
    pub volumes: Vec<String>,
    /// Front ends that are connected.
    pub front_ends: u64,
    /// Requests that have not ended, where that is known.
    pub in_flight: Option<u64>,
    /// Front ends that have connected, where that is counted.
    pub connections: Option<u64>,
    /// Front ends that broke their protocol, where that is counted.
    pub protocol_errors: Option<u64>,
}

/// A VM that Luge runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Vm {
    /// Name.
    pub name: String,
    /// State.
    pub state: String,
    /// Virtual CPUs.
    pub cpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Names of the endpoints that are its disks.
    pub endpoints: Vec<String>,
}
