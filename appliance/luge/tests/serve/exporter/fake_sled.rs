//! A sled that is not there: an RPC socket with answers of a busy sled, whose counters grow with each call.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Name of a volume that would be a part of a page if it were taken for one.
pub const HOSTILE: &str = "<img src=x onerror=\"document.title='broken'\">\\\"";

/// Times that the counters were asked for.
static LOOKS: AtomicU64 = AtomicU64::new(1);

pub struct FakeSled {
    folder: tempfile::TempDir,
}

impl FakeSled {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("rpc.sock")).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(&stream));
            }
        });
        Self { folder }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("rpc.sock")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Answers requests until the client goes.
fn serve(mut stream: &UnixStream) {
    let mut asked = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        asked.extend_from_slice(&chunk[..read]);
        let Ok(request) = serde_json::from_slice::<Value>(&asked) else { continue };
        asked.clear();
        let result = answer(request["method"].as_str().unwrap_or_default(), &request["params"]);
        let answer = match result {
            Some(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
            None => json!({ "jsonrpc": "2.0", "id": request["id"],
                "error": { "code": -32601, "message": "no such method" } }),
        };
        if stream.write_all(answer.to_string().as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(method: &str, params: &Value) -> Option<Value> {
    Some(match method {
        "spdk_get_version" => json!({ "version": "Luge v9.8.7" }),
        "framework_get_reactors" => reactors(),
        "bdev_nvme_get_controllers" => json!([
            { "name": "Nvme0", "ctrlrs": [{ "state": "enabled", "trid": { "traddr": "0000:3b:00.0" } }] },
            { "name": "Nvme1", "ctrlrs": [{ "state": "resetting", "trid": { "traddr": "0000:3c:00.0" } }] },
            { "name": "Nvme2", "ctrlrs": [{ "state": "enabled", "trid": { "traddr": "0000:3d:00.0" } }] },
        ]),
        "bdev_nvme_get_controller_health_info" => health(params["name"] == "Nvme2"),
        "bdev_get_bdevs" => json!([
            volume("Nvme0n1", &json!({ "nvme": [{ "trid": { "traddr": "0000:3b:00.0" } }] })),
            volume("Nvme0n1p0", &json!({ "split": { "base_bdev": "Nvme0n1" } })),
            volume("Nvme0n1p1", &json!({ "split": { "base_bdev": "Nvme0n1" } })),
            volume("Malloc0", &json!({})),
            volume(HOSTILE, &json!({})),
        ]),
        "bdev_get_iostat" => iostat(),
        "luge_get_latency" => latencies(),
        "vhost_get_controllers" => json!([
            disk("mail.disk", "Nvme0n1p0"),
            disk("database.disk", "Nvme0n1p1"),
            waited_for(disk("elsewhere.disk", "Malloc0")),
        ]),
        "nvmf_get_subsystems" => json!([{
            "nqn": "nqn.2016-06.io.spdk:windows", "subtype": "NVMe",
            "listen_addresses": [{ "traddr": "/run/luge/windows" }],
            "namespaces": [{ "bdev_name": HOSTILE }],
        }]),
        "nvmf_subsystem_get_controllers" => json!([{ "num_io_qpairs": 4 }]),
        "vm_get_vms" => json!([
            { "name": "mail", "state": "running", "cpus": 2, "memory_mib": 4096, "disks": ["mail.disk"] },
            { "name": "database", "state": "running", "cpus": 8, "memory_mib": 32768, "disks": ["database.disk"] },
            { "name": "windows", "state": "running", "cpus": 4, "memory_mib": 8192, "disks": ["/run/luge/windows"] },
        ]),
        _ => return None,
    })
}

/// Health of an SSD, which has warnings or not.
fn health(is_bad: bool) -> Value {
    json!({
        "temperature_celsius": if is_bad { 83 } else { 36 }, "percentage_used": 4,
        "available_spare_percentage": 97, "available_spare_threshold_percentage": 10,
        "critical_warning": if is_bad { 0b10 } else { 0 }, "media_errors": 0,
        "data_units_written": 1_000_000, "power_on_hours": 4321,
    })
}

fn reactors() -> Value {
    let looks = LOOKS.load(Ordering::Relaxed);
    let core = |id: u64| {
        json!({ "lcore": id, "busy": looks * 300, "idle": looks * 700, "rings": 4, "longest_turn_us": 180,
            "in_interrupt": false })
    };
    json!({ "pid": 77, "tick_rate": 1000, "reactors": [core(2), core(3)] })
}

fn volume(name: &str, details: &Value) -> Value {
    json!({
        "name": name, "uuid": name, "product_name": "Malloc disk", "block_size": 512, "num_blocks": 1 << 24,
        "driver_specific": details,
    })
}

fn disk(name: &str, volume: &str) -> Value {
    json!({
        "ctrlr": name, "backend_specific": { "block": { "bdev": volume } }, "front_ends": { "waiting": 0 },
        "sessions": [{ "started": true, "max_queues": 2, "inflight_task_cnt": 3, "memory_stalls": 0 }],
    })
}

/// A disk with one more front end that waits.
fn waited_for(mut disk: Value) -> Value {
    disk["front_ends"]["waiting"] = 1.into();
    disk
}

/// Volumes that are used, each with its requests in a look.
const USED: [(&str, u64); 4] =
    [("Nvme0n1p0", 4000), ("Nvme0n1p1", 90_000), ("Malloc0", 700), (HOSTILE, 12_000)];

fn iostat() -> Value {
    let looks = LOOKS.fetch_add(1, Ordering::Relaxed);
    let counters = |(name, each): (&str, u64)| {
        json!({
            "name": name, "num_read_ops": looks * each, "bytes_read": looks * each * 4096,
            "num_write_ops": looks * each / 3, "bytes_written": looks * each * 4096 / 3,
            "num_unmap_ops": 0, "bytes_unmapped": 0, "read_latency_ticks": looks * each / 20,
            "write_latency_ticks": looks * each / 40, "io_error": {},
        })
    };
    let unused = ("Nvme0n1", 0);
    let all: Vec<_> = USED.into_iter().chain([unused]).map(counters).collect();
    json!({ "tick_rate": 1000, "ticks": looks * 1000, "bdevs": all })
}

/// Latencies around 16 us, and a few around 500 us.
fn latencies() -> Value {
    let looks = LOOKS.load(Ordering::Relaxed);
    let operation = |name: &str, each: u64| {
        let buckets = [(10_240, 10), (14_336, 40), (16_384, 60), (20_480, 45), (28_672, 12), (524_288, 1)];
        let grown = |(upper, share): (u64, u64)| {
            let wobble = 100 + (looks * share) % 40;
            json!([upper, looks * each * share * wobble / 16_800])
        };
        json!({ "operation": name, "size_class": "4KiB", "sum_ns": looks * each * 18_000,
            "buckets": buckets.map(grown) })
    };
    let of = |(name, each): (&str, u64)| json!({ "name": name, "operations": [operation("read", each), operation("write", each / 3)] });
    json!(USED.map(of))
}
