//! A process with few file descriptors: what does not fit is refused, and nobody who has been promised some loses them.

use crate::daemon::{Daemon, LUGE};
use serde_json::{Value, json};
use std::process::Command;

/// Descriptors that are never promised, and those of a core.
const KEPT: u64 = 224 + 6;
/// Descriptors of a disk on a file with one core, and of an endpoint.
const FILE: u64 = 3;
const ENDPOINT: u64 = 16;
/// Descriptors of an SSD with one core.
const SSD: u64 = 18;

/// Number of open file descriptors of a daemon.
fn open_files(luge: &Daemon) -> u64 {
    std::fs::read_dir(format!("/proc/{}/fd", luge.child.id())).unwrap().count() as u64
}

/// Parameters of a disk on a file of 1 MiB in the daemon's folder.
fn file(luge: &Daemon, name: &str) -> Value {
    let path = luge.path(name);
    std::fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
    json!({ "name": name, "filename": path, "block_size": 512 })
}

/// Asserts that a call is refused for want of descriptors.
fn assert_refused(luge: &Daemon, method: &str, params: Value) {
    let error = luge.refusal(method, params);
    assert_eq!(error.code.0, -24, "{error}");
    assert!(error.message.contains("too few file descriptors: "), "{error}");
    assert!(error.message.contains("LimitNOFILE="), "{error}");
}

/// Reads from a disk for a moment.
fn read(luge: &Daemon, ctrlr: &str) {
    let words = ["--rw", "randread", "--runtime", "0.05"];
    let run = Command::new(LUGE).arg("bench").arg(luge.path(ctrlr)).args(words).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn files_of_the_host_beyond_the_descriptors_are_refused_and_taken_when_there_are_some_again() {
    let luge = Daemon::with_descriptors(KEPT + 3 * FILE + 2);
    for name in ["a", "b", "c"] {
        luge.call("bdev_aio_create", file(&luge, name));
    }
    assert_refused(&luge, "bdev_aio_create", file(&luge, "d"));
    luge.call("bdev_null_create", json!({ "name": "n", "num_blocks": 8, "block_size": 512 }));
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null).as_array().unwrap().len(), 4);
    luge.call("bdev_aio_delete", json!({ "name": "b" }));
    luge.call("bdev_aio_create", file(&luge, "d"));
}

#[test]
fn a_disk_on_a_file_takes_no_more_descriptors_than_it_was_promised() {
    let luge = Daemon::start();
    let before = open_files(&luge);
    luge.call("bdev_aio_create", file(&luge, "a"));
    luge.call("vhost_create_blk_controller", json!({ "ctrlr": "v", "dev_name": "a" }));
    read(&luge, "v");
    assert!(open_files(&luge) <= before + FILE + ENDPOINT, "{} before, {} now", before, open_files(&luge));
}

#[test]
fn vms_and_ssds_beyond_the_descriptors_are_refused_before_anything_is_begun() {
    let luge = Daemon::with_descriptors(KEPT + SSD - 1);
    assert_refused(&luge, "vm_create", json!({ "name": "m", "cpus": 1, "memory_mb": 64 }));
    assert_eq!(luge.call("vm_get_vms", Value::Null), json!([]));
    // Nobody listens there: it is not even tried.
    let ssd = json!({ "name": "s", "trtype": "VFIOUSER", "traddr": luge.path("nowhere") });
    assert_refused(&luge, "bdev_nvme_attach_controller", ssd.clone());
    let enough = Daemon::with_descriptors(KEPT + SSD);
    assert_eq!(enough.refusal("bdev_nvme_attach_controller", ssd).code.0, -19);
}
