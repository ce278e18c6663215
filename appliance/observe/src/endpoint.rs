//! An endpoint: a socket at which front ends get volumes.

use crate::answer::{flag, list, number, text};
use serde_json::Value;

/// Kind of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EndpointKind {
    /// vhost-user-blk disk.
    Blk,
    /// vhost-user-scsi host bus adapter.
    Scsi,
    /// NVMe subsystem over vfio-user.
    Nvme,
}

impl EndpointKind {
    /// Short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blk => "blk",
            Self::Scsi => "scsi",
            Self::Nvme => "nvme",
        }
    }
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Name of the vhost controller, or of the NVMe subsystem.
    pub name: String,
    /// Kind.
    pub kind: EndpointKind,
    /// Paths of its sockets, or of the folders of its sockets.
    pub sockets: Vec<String>,
    /// Names of its volumes.
    pub volumes: Vec<String>,
    /// Number of front ends that are served.
    pub front_ends: Option<u64>,
    /// Number of queues of these.
    pub queues: Option<u64>,
    /// Number of requests in flight.
    pub in_flight: Option<u64>,
    /// Number of front ends that wait to be served.
    pub waiting: Option<u64>,
    /// Times that a core waited for the front ends' memory, since they connected.
    pub memory_stalls: Option<u64>,
    /// Pause left, in milliseconds, before a front end that broke the protocol is served again.
    pub pause_left_ms: Option<u64>,
}

impl Endpoint {
    /// Endpoint in an entry of `vhost_get_controllers`; `None` if it has no name.
    pub(crate) fn read_vhost(value: &Value) -> Option<Self> {
        let device = value.get("backend_specific").unwrap_or(&Value::Null);
        let front_ends = value.get("front_ends").unwrap_or(&Value::Null);
        let sessions = || list(value, "sessions");
        let sum = |key: &str| {
            sessions().filter_map(|one| number(one, key)).reduce(u64::saturating_add).unwrap_or(0)
        };
        let has_sessions = value.get("sessions").is_some_and(Value::is_array);
        let kind = if device.get("scsi").is_some() { EndpointKind::Scsi } else { EndpointKind::Blk };
        Some(Self {
            name: text(value, "ctrlr")?,
            kind,
            sockets: text(value, "socket").into_iter().collect(),
            volumes: vhost_volumes(device),
            front_ends: has_sessions.then(|| started(sessions())),
            queues: has_sessions.then(|| sum("max_queues")),
            in_flight: has_sessions.then(|| sum("inflight_task_cnt")),
            memory_stalls: has_sessions.then(|| sum("memory_stalls")),
            waiting: number(front_ends, "waiting"),
            pause_left_ms: number(front_ends, "pause_left_ms"),
        })
    }

    /// Endpoint in an entry of `nvmf_get_subsystems`; `None` for the discovery subsystem.
    pub(crate) fn read_subsystem(value: &Value) -> Option<Self> {
        if text(value, "subtype")? != "NVMe" {
            return None;
        }
        Some(Self {
            name: text(value, "nqn")?,
            kind: EndpointKind::Nvme,
            sockets: list(value, "listen_addresses").filter_map(|address| text(address, "traddr")).collect(),
            volumes: list(value, "namespaces").filter_map(|one| text(one, "bdev_name")).collect(),
            front_ends: None,
            queues: None,
            in_flight: None,
            waiting: None,
            memory_stalls: None,
            pause_left_ms: None,
        })
    }

    /// Adds the answer of `nvmf_subsystem_get_controllers`.
    pub(crate) fn add_controllers(&mut self, controllers: &Value) {
        let all = || crate::answer::entries(controllers);
        self.front_ends = Some(all().fold(0, |count: u64, _| count.saturating_add(1)));
        let queues = all().filter_map(|one| number(one, "num_io_qpairs"));
        self.queues = Some(queues.fold(0, u64::saturating_add));
    }
}

/// Number of sessions that were started.
fn started<'a>(sessions: impl Iterator<Item = &'a Value>) -> u64 {
    sessions.filter(|one| flag(one, "started") == Some(true)).fold(0, |count, _| count.saturating_add(1))
}

/// Names of the volumes of a vhost controller.
fn vhost_volumes(device: &Value) -> Vec<String> {
    let disk = device.get("block").and_then(|block| text(block, "bdev"));
    let luns = list(device, "scsi").flat_map(|target| list(target, "luns"));
    disk.into_iter().chain(luns.filter_map(|lun| text(lun, "bdev_name"))).collect()
}
