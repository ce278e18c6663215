//! Ceph's NVMe gateway: latencies in ticks, and cores that are found by "poll" in their names.

use super::{Orchestrator, python, with_file};
use serde_json::{Value, json};

#[test]
fn the_counts_of_a_disk_are_all_there() {
    let (luge, file) = with_file("image");
    let ceph = Orchestrator { luge: &luge, form: python };
    ceph.call("bdev_aio_create", json!({"name": "bdev_1", "filename": file, "block_size": 4096}));
    let stats = ceph.call("bdev_get_iostat", json!({"name": "bdev_1"}));
    assert!(stats["tick_rate"].as_u64() > Some(0));
    assert!(stats["ticks"].as_u64() > Some(0));
    let disk = &stats["bdevs"][0];
    for count in
        ["bytes_read", "num_read_ops", "bytes_written", "num_write_ops", "bytes_unmapped", "num_unmap_ops"]
    {
        assert_eq!(disk[count], 0, "{count}");
    }
    for kind in ["read", "write", "unmap", "copy"] {
        for count in ["latency_ticks", "max", "min"] {
            let name = if count == "latency_ticks" {
                format!("{kind}_{count}")
            } else {
                format!("{count}_{kind}_latency_ticks")
            };
            assert_eq!(disk[&name], 0, "{name}");
        }
    }
}

#[test]
fn every_core_is_a_thread_that_polls() {
    let (luge, _) = with_file("image");
    let ceph = Orchestrator { luge: &luge, form: python };
    let stats = ceph.call("thread_get_stats", Value::Null);
    assert!(stats["tick_rate"].as_u64() > Some(0));
    let threads = stats["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 1);
    assert!(threads[0]["name"].as_str().unwrap().contains("poll"));
    assert!(threads[0]["busy"].is_u64());
    assert!(threads[0]["idle"].is_u64());
}
