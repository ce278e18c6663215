//! Tests of the console's tables, as a batch prints them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_init::{Commands, Console, MethodError, MethodHelp, ParameterHelp, PowerSwitch, Terminal};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Methods with prepared results; a second passes with each call.
#[derive(Default)]
struct Sled {
    seconds: AtomicU64,
    results: Mutex<Vec<(&'static str, Value)>>,
}

/// Counters after a number of seconds: 1000 reads of 4 KiB a second, of 100 us each.
fn iostat(seconds: u64) -> Value {
    let reads = 1000 * seconds;
    json!({ "tick_rate": 1_000_000_000, "ticks": seconds * 1_000_000_000, "bdevs": [{
        "name": "m0", "num_read_ops": reads, "bytes_read": reads * 4096, "read_latency_ticks": reads * 100_000,
        "num_write_ops": 0, "bytes_written": 0, "write_latency_ticks": 0, "io_error": { "aborted": 2 },
    }] })
}

impl Commands for Sled {
    fn methods(&self) -> Vec<MethodHelp> {
        let name = ParameterHelp {
            name: "name".into(),
            kind: "string".into(),
            required: false,
            help: String::new(),
        };
        let names = self.results.lock().unwrap().iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let names = names.into_iter().chain(["bdev_get_iostat"]);
        let method = |method: &str| MethodHelp {
            name: method.into(),
            help: String::new(),
            parameters: vec![name.clone()],
        };
        names.map(method).collect()
    }

    fn call(&self, method: &str, _: Value) -> Result<Value, MethodError> {
        if method == "bdev_get_iostat" {
            return Ok(iostat(self.seconds.fetch_add(1, Ordering::Relaxed)));
        }
        let results = self.results.lock().unwrap();
        Ok(results.iter().find(|(name, _)| *name == method).unwrap().1.clone())
    }

    fn top(&self, _: &Terminal) -> Result<(), String> {
        Ok(())
    }
}

/// Output of a batch of commands, of which one has a prepared result.
fn printed(lines: &str, method: &'static str, result: Value) -> String {
    let (input, mut keyboard) = std::io::pipe().unwrap();
    let (mut screen, output) = std::io::pipe().unwrap();
    keyboard.write_all(lines.as_bytes()).unwrap();
    drop(keyboard);
    let sled = Sled { results: Mutex::new(vec![(method, result)]), ..Sled::default() };
    let terminal = Terminal::new(input.into(), output.into()).unwrap();
    Console::new(terminal, Arc::new(sled), PowerSwitch::new().0).unwrap().run();
    let mut text = String::new();
    screen.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn sizes_are_in_gibibytes_and_the_kind_comes_before_the_uuid() {
    let bdevs = json!([
        { "name": "m0", "block_size": 512, "num_blocks": 131_072, "uuid": "u", "claimed": true,
          "product_name": "Malloc disk", "driver_specific": {} },
        { "name": "nvme0n1", "block_size": 4096, "num_blocks": 976_754_646, "uuid": "v", "claimed": false,
          "product_name": "NVMe disk",
          "driver_specific": { "nvme": [{ "trid": { "traddr": "0000:3b:00.0" } }] } },
    ]);
    let expected = "\
NAME         SIZE     BLOCK  USED  KIND         ON            UUID
m0       0.06 GiB     512 B  yes   Malloc disk  -             u
nvme0n1  3726 GiB  4.00 KiB  no    NVMe disk    0000:3b:00.0  v
";
    assert_eq!(printed("bdev_get_bdevs\n", "bdev_get_bdevs", bdevs), expected);
}

#[test]
fn rates_are_those_since_the_last_look() {
    let text = printed("bdev_get_iostat\nbdev_get_iostat\n", "x", json!([]));
    let expected = "\
NAME  READS/S  READ/S  READ TIME  WRITES/S  WRITTEN/S  WRITE TIME  FAILED  READ
m0    -        -       -          -         -          -                2   0 B
(1 more columns: add --json)
(rates are those since the last look: look again)
NAME  READS/S    READ/S  READ TIME  WRITES/S  WRITTEN/S  WRITE TIME  FAILED
m0      1.00k  3.91 MiB     100 us         0        0 B  -                2
(2 more columns: add --json)
";
    assert_eq!(text, expected);
}

#[test]
fn json_keeps_the_units_of_the_field() {
    let text = printed("bdev_get_iostat --json\n", "x", json!([]));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), iostat(0));
}

/// A SCSI controller with two LUNs.
fn hba() -> Value {
    let lun = |id: u64, bdev: &str| {
        json!({ "id": id, "bdev_name": bdev, "state": "live", "serial": "s",
        "product": bdev, "naa": "6e0" })
    };
    json!([{ "ctrlr": "hba", "socket": "/run/hba", "sessions": [], "front_ends": { "waiting": 0 },
        "backend_specific": { "scsi": [
            { "scsi_dev_num": 0, "luns": [lun(0, "a"), lun(200, "b")] },
            { "scsi_dev_num": 17, "luns": [lun(0, "c")] },
        ] } }])
}

#[test]
fn a_scsi_controller_shows_a_table_of_its_luns() {
    let text = printed("vhost_get_controllers name=hba\n", "vhost_get_controllers", hba());
    let expected = "\
TARGET  LUN  VOLUME  STATE  SERIAL  PRODUCT  NAA
     0    0  a       live   s       a        6e0
     0  200  b       live   s       b        6e0
    17    0  c       live   s       c        6e0
";
    assert!(text.starts_with("ctrlr       hba\n"), "{text}");
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn controllers_are_listed_with_their_volumes_first() {
    let mut list = hba();
    list.as_array_mut().unwrap().push(json!({ "ctrlr": "disk", "socket": "/run/disk",
        "sessions": [{ "started": true, "inflight_task_cnt": 3, "memory_stalls": 0 }],
        "front_ends": { "waiting": 1 }, "backend_specific": { "block": { "bdev": "m0" } } }));
    let expected = "\
NAME  KIND  VOLUMES  GUESTS  IN FLIGHT  WAITING  STALLS  SOCKET
hba   scsi  3 LUNs        0          0        0       0  /run/hba
disk  blk   m0            1          3        1       0  /run/disk
";
    assert_eq!(printed("vhost_get_controllers\n", "vhost_get_controllers", list), expected);
}

#[test]
fn latencies_are_in_microseconds() {
    let latency = json!([{ "name": "m0", "operations": [{ "operation": "read", "size_class": "4KiB",
        "count": 10, "sum_ns": 1_000_000, "min_ns": 850, "max_ns": 1_234_567, "p50_ns": 90_000,
        "p99_ns": 250_000, "p999_ns": 250_000, "buckets": [] }] }]);
    let text = printed("luge_get_latency\n", "luge_get_latency", latency);
    assert!(
        text.contains("m0    read       4KiB        10  100 us  90.0 us  250 us  250 us  1235 us"),
        "{text}"
    );
}

#[test]
fn a_result_of_an_unknown_shape_is_printed_all_the_same() {
    for (method, shown) in [("bdev_get_bdevs", "7"), ("vm_get_vms", "a  1"), ("bdev_get_bdevs", "a  1")] {
        let odd = if shown == "7" { json!(7) } else { json!([{ "a": 1 }]) };
        let text = printed(&format!("{method}\n"), method, odd);
        assert_eq!(text.trim_end(), shown, "{method}");
    }
}

#[test]
fn the_machine_is_shown_with_what_is_to_be_done() {
    let cpus =
        json!({ "serving": "1", "isolated": "", "tickless": "1", "interrupted": "0", "idle_exit_us": null });
    let pool = json!({ "node": 0, "page_kib": 2048, "total": 512, "free": 256 });
    let ssd = json!({ "address": "0000:01:00.0", "state": "open", "driver": "vfio-pci", "node": 0, "iommu_group": 7,
                      "model": null });
    let host =
        json!({ "cpus": cpus, "hugepages": [pool], "ssds": [ssd], "advice": ["boot with \u{1b}[2J more"] });
    let text = printed("host\n", "luge_get_host", host);
    for wanted in [
        "CPUs that serve",
        "512 MiB free of 1.00 GiB",
        "0000:01:00.0  open   vfio-pci     0      7  -",
        "- boot with ?[2J more",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}
