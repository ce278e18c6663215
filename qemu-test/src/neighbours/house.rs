//! A `luge serve` on one core, with a disk for the victim and disks for a neighbour.

use super::target::{DiskKind, Neighbour, Target};
use crate::daemon::{Daemon, Serve};
use crate::error::TestError;
use crate::lab::Bench;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Size of the victim's disk, and of all the neighbour's together, in MiB.
const DISK_MIB: u64 = 128;

/// Memory of Luge besides its disks, and for the load generator, in MiB.
const LUGE_MIB: u32 = 64;
const GENERATOR_MIB: u32 = 16;

/// Name of the victim's disk.
const VICTIM: &str = "victim";

/// Name of the disk that the neighbour's are parts of.
const BASE: &str = "neighbour";

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
                make_disk(&mut daemon, neighbour.disk_kind(kind), BASE)?;
                let split = json!({ "base_bdev": BASE, "split_count": count });
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

/// Smallest and largest part of tenants, as factors of an equal part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evenness {
    /// Smallest part.
    pub least: f64,
    /// Largest part.
    pub most: f64,
}

/// Numbers of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests of the victim.
    pub victim: u64,
    /// Writes among them. A load that warms up makes none.
    pub victims_writes: u64,
    /// Requests of each of its neighbour's disks, by name.
    pub neighbours: BTreeMap<String, u64>,
}

impl Requests {
    fn of(stats: &Value) -> Self {
        let mut requests = Self::default();
        for bdev in stats["bdevs"].as_array().into_iter().flatten() {
            let number = |name: &str| bdev[name].as_u64().unwrap_or(0);
            let count = number("num_read_ops") + number("num_write_ops") + number("num_unmap_ops");
            match bdev["name"].as_str().unwrap_or_default() {
                VICTIM => {
                    requests.victim += count;
                    requests.victims_writes += number("num_write_ops");
                }
                // It counts nothing that its parts count.
                BASE => {}
                disk => _ = requests.neighbours.insert(disk.to_owned(), count),
            }
        }
        requests
    }

    /// Share of the victim in the requests that have ended since `before`; none if there were none.
    #[must_use]
    pub fn victims_share_since(&self, before: &Self) -> Option<f64> {
        let victim = self.victim - before.victim;
        let neighbour: u64 = self.neighbours_since(before).iter().sum();
        (victim + neighbour > 0).then(|| victim as f64 / (victim + neighbour) as f64)
    }

    /// Numbers of requests of the neighbour's disks that have ended since `before`.
    fn neighbours_since(&self, before: &Self) -> Vec<u64> {
        let earlier = |disk| before.neighbours.get(disk).copied().unwrap_or_default();
        self.neighbours.iter().map(|(disk, count)| count - earlier(disk)).collect()
    }

    /// Smallest and largest part that one of the neighbour's disks had of the requests since `before`, as factors of an
    /// equal part; none for fewer than two disks.
    #[must_use]
    pub fn evenness_since(&self, before: &Self) -> Option<Evenness> {
        let counts = self.neighbours_since(before);
        let sum: u64 = counts.iter().sum();
        let (least, most) = (*counts.iter().min()?, *counts.iter().max()?);
        let of_equal = |count| count as f64 * counts.len() as f64 / sum as f64;
        (counts.len() > 1 && sum > 0).then(|| Evenness { least: of_equal(least), most: of_equal(most) })
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

    fn requests(victim: u64, parts: [u64; 2]) -> Requests {
        Requests::of(&json!({ "bdevs": [
            { "name": "victim", "num_read_ops": victim },
            { "name": "neighbour", "num_read_ops": 0 },
            { "name": "neighbourp0", "num_read_ops": parts[0], "num_unmap_ops": 1 },
            { "name": "neighbourp1", "num_read_ops": parts[1] },
        ] }))
    }

    #[test]
    fn the_share_is_that_of_the_requests_between_two_looks() {
        let before = requests(10, [60, 50]);
        assert_eq!(requests(30, [90, 80]).victims_share_since(&before), Some(0.25));
        assert_eq!(before.victims_share_since(&before), None);
    }

    #[test]
    fn parts_of_the_neighbours_disks_are_compared_with_an_equal_part() {
        let before = requests(0, [100, 100]);
        let evenness = requests(7, [200, 400]).evenness_since(&before);
        assert_eq!(evenness, Some(Evenness { least: 0.5, most: 1.5 }));
        assert_eq!(before.evenness_since(&before), None);
    }
}
