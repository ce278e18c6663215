//! A `luge serve` on one core, with a disk for the victim and disks for a neighbour.

use super::target::{DiskKind, Neighbour, Target};
use crate::daemon::{Daemon, Serve};
use crate::error::TestError;
use crate::lab::Bench;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Size of the victim's disk, and of all the neighbour's together, in MiB.
const DISK_MIB: u64 = 128;

/// Memory of Luge besides its disks, and for the load generator, in MiB.
const LUGE_MIB: u32 = 64;
const GENERATOR_MIB: u32 = 16;

/// Name of the victim's disk.
const VICTIM: &str = "victim";

/// The daemon with its disks.
pub struct House {
    daemon: Daemon,
    target: Target,
}

impl House {
    /// Starts a daemon on CPU `cpu`, with a disk of `kind` for the victim, and those that `neighbour` needs.
    ///
    /// # Errors
    /// If the daemon does not start, or a disk cannot be made.
    pub fn start(
        bench: &Bench<'_>,
        cpu: u16,
        kind: DiskKind,
        neighbour: Option<&dyn Neighbour>,
    ) -> Result<Self, TestError> {
        let memory_mib = LUGE_MIB + 2 * u32::try_from(DISK_MIB).unwrap_or(u32::MAX);
        let cpu_mask = format!("[{cpu}]");
        let serve = Serve { cpu_mask, memory_mib, spare_memory_mib: GENERATOR_MIB, ..Serve::default() };
        let mut daemon = serve.start(bench)?;
        make_disk(&mut daemon, kind, VICTIM)?;
        serve_disk(&mut daemon, VICTIM)?;
        let count = neighbour.map_or(0, Neighbour::disks);
        let parts = match neighbour {
            Some(neighbour) if count > 0 => {
                make_disk(&mut daemon, neighbour.disk_kind(kind), "neighbour")?;
                let split = json!({ "base_bdev": "neighbour", "split_count": count });
                names(&daemon.rpc.call("bdev_split_create", split)?)
            }
            _ => Vec::new(),
        };
        parts.iter().try_for_each(|part| serve_disk(&mut daemon, part))?;
        let disks = parts.iter().map(|part| daemon.socket(part)).collect();
        let sectors = (DISK_MIB << 11) / u64::from(count.max(1));
        let rpc = daemon.socket("rpc.sock");
        Ok(Self { daemon, target: Target { disks, sectors, rpc } })
    }

    /// Socket of the victim's disk.
    #[must_use]
    pub fn victim(&self) -> PathBuf {
        self.daemon.socket(VICTIM)
    }

    /// Sockets for the neighbour.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// Whether the daemon still runs.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn is_running(&mut self) -> Result<bool, TestError> {
        self.daemon.process.is_running()
    }

    /// Requests that ended so far.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub fn requests(&mut self) -> Result<Requests, TestError> {
        // A neighbour may have had our idle connection closed.
        let stats = match self.daemon.rpc.call("bdev_get_iostat", json!({})) {
            Ok(stats) => stats,
            Err(_) => self.daemon.connect()?.call("bdev_get_iostat", json!({}))?,
        };
        Ok(Requests::of(&stats))
    }
}

/// Numbers of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests of the victim.
    pub victim: u64,
    /// Writes among them. A load that warms up makes none.
    pub victims_writes: u64,
    /// Requests of its neighbour.
    pub neighbour: u64,
}

impl Requests {
    fn of(stats: &Value) -> Self {
        let mut requests = Self::default();
        for bdev in stats["bdevs"].as_array().into_iter().flatten() {
            let number = |name: &str| bdev[name].as_u64().unwrap_or(0);
            let count = number("num_read_ops") + number("num_write_ops") + number("num_unmap_ops");
            // A base bdev counts nothing that its parts count.
            if bdev["name"] == VICTIM {
                requests.victim += count;
                requests.victims_writes += number("num_write_ops");
            } else {
                requests.neighbour += count;
            }
        }
        requests
    }

    /// Share of the victim in the requests that have ended since `before`; none if there were none.
    #[must_use]
    pub fn victims_share_since(self, before: Self) -> Option<f64> {
        let (victim, neighbour) = (self.victim - before.victim, self.neighbour - before.neighbour);
        (victim + neighbour > 0).then(|| victim as f64 / (victim + neighbour) as f64)
    }
}

fn make_disk(daemon: &mut Daemon, kind: DiskKind, name: &str) -> Result<(), TestError> {
    let method = match kind {
        DiskKind::Null => "bdev_null_create",
        DiskKind::Memory => "bdev_malloc_create",
    };
    let params = json!({ "name": name, "num_blocks": DISK_MIB << 11, "block_size": 512 });
    daemon.rpc.call(method, params).map(drop)
}

fn serve_disk(daemon: &mut Daemon, name: &str) -> Result<(), TestError> {
    let params = json!({ "ctrlr": name, "dev_name": name });
    daemon.rpc.call("vhost_create_blk_controller", params).map(drop)
}

/// Names in a list that a method returned.
fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_requests_between_two_looks() {
        let stats = |victim: u64, part: u64| {
            Requests::of(&json!({ "bdevs": [
                { "name": "victim", "num_read_ops": victim },
                { "name": "neighbourp0", "num_read_ops": part, "num_unmap_ops": 1 },
            ] }))
        };
        assert_eq!(stats(30, 170).victims_share_since(stats(10, 110)), Some(0.25));
        assert_eq!(stats(1, 1).victims_share_since(stats(1, 1)), None);
    }
}
