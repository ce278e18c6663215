//! A disk of one process that another one attaches by vfio-user, and the load generator as an NVMe host.

use crate::daemon::{Daemon, LUGE, command, eventually};
use serde_json::{Value, json};
use std::process::Output;

const NQN: &str = "nqn.2016-06.io.spdk:cnode1";

/// A daemon with a memory device behind an NVMe controller in the directory `d`.
fn target() -> Daemon {
    let luge = Daemon::start();
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 32768, "block_size": 512}));
    luge.call("nvmf_create_transport", json!({"trtype": "VFIOUSER"}));
    luge.call("nvmf_create_subsystem", json!({"nqn": NQN, "allow_any_host": true, "serial_number": "S1"}));
    luge.call("nvmf_subsystem_add_ns", json!({"nqn": NQN, "namespace": {"bdev_name": "m"}}));
    let address = json!({"trtype": "VFIOUSER", "traddr": luge.path("d"), "trsvcid": "0"});
    luge.call("nvmf_subsystem_add_listener", json!({"nqn": NQN, "listen_address": address}));
    luge
}

/// Parameters that attach the disk of `target`.
fn attach(target: &Daemon) -> Value {
    json!({"name": "Nvme0", "trtype": "VFIOUSER", "traddr": target.path("d")})
}

/// A daemon that serves the disk of `target` over vhost-user-blk.
fn initiator(target: &Daemon) -> Daemon {
    let luge = Daemon::start();
    assert_eq!(luge.call("bdev_nvme_attach_controller", attach(target)), json!(["Nvme0n1"]));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "Nvme0n1"}));
    luge
}

fn bench(disk: &str, words: &str) -> Output {
    command(LUGE).arg("bench").arg(disk).args(words.split(' ')).output().unwrap()
}

/// Asserts that a load succeeds; returns its report.
fn report(disk: &str, words: &str) -> Value {
    let run = bench(disk, &format!("{words} --json"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn a_guest_reads_what_it_wrote_to_the_disk_of_another_process() {
    let target = target();
    let luge = initiator(&target);
    let report =
        report(&luge.path("v"), "--rw randrw --bs 4k --iodepth 16 --queues 2 --runtime 0.3 --verify crc32c");
    assert!(report["verified"].as_u64().unwrap() > 0, "{report}");
    let stats = &target.call("bdev_get_iostat", json!({"names": ["m"]}))["bdevs"][0];
    assert!(stats["num_write_ops"].as_u64().unwrap() >= report["writes"].as_u64().unwrap(), "{stats}");
    let shown = luge.call("bdev_nvme_get_controllers", json!({"name": "Nvme0"}));
    assert_eq!(shown[0]["ctrlrs"][0]["trid"], json!({"trtype": "VFIOUSER", "traddr": target.path("d")}));
    assert_eq!(shown[0]["ctrlrs"][0]["bounced_requests"], 0);
    let bdev = &luge.call("bdev_get_bdevs", json!({"name": "Nvme0n1"}))[0];
    assert_eq!(bdev["driver_specific"]["nvme"][0]["ctrlr_data"]["serial_number"], "S1");
    assert_eq!(bdev["driver_specific"]["nvme"][0].get("pci_address"), None);
}

/// Number of open file descriptors of a daemon.
fn open_files(luge: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", luge.child.id())).unwrap().count()
}

#[test]
fn an_attached_disk_takes_no_more_descriptors_than_were_promised() {
    let target = target();
    let luge = Daemon::start();
    let before = open_files(&luge);
    luge.call("bdev_nvme_attach_controller", attach(&target));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "Nvme0n1"}));
    assert!(bench(&luge.path("v"), "--rw randread --runtime 0.05").status.success());
    // An SSD with one core, and an endpoint.
    assert!(open_files(&luge) <= before + 18 + 16, "{} before, {} now", before, open_files(&luge));
}

#[test]
fn a_saved_configuration_attaches_the_disk_of_another_process_again() {
    let target = target();
    let luge = initiator(&target);
    let saved = luge.call("save_config", Value::Null);
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    assert_eq!(luge.call("bdev_nvme_detach_controller", json!({"name": "Nvme0"})), true);
    drop(luge);
    let again = Daemon::start();
    again.call("load_config", saved);
    assert_eq!(again.call("bdev_nvme_get_controllers", Value::Null)[0]["name"], "Nvme0");
    assert!(bench(&again.path("v"), "--rw randread --runtime 0.05").status.success());
}

#[test]
fn a_target_that_is_killed_under_load_fails_the_disk_and_nothing_else() {
    let mut target = target();
    let luge = initiator(&target);
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 4096, "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "other", "dev_name": "n"}));
    std::thread::scope(|scope| {
        let loaded = scope.spawn(|| bench(&luge.path("v"), "--rw randread --runtime 30"));
        eventually("some reads", || {
            let stats = luge.call("bdev_get_iostat", json!({"names": ["Nvme0n1"]}));
            stats["bdevs"][0]["num_read_ops"].as_u64().unwrap() > 1000
        });
        target.child.kill().unwrap();
        target.child.wait().unwrap();
        let said = String::from_utf8_lossy(&loaded.join().unwrap().stderr).into_owned();
        assert!(said.contains("the server failed"), "requests end with an error: {said}");
    });
    let state = || luge.call("bdev_nvme_get_controllers", Value::Null)[0]["ctrlrs"][0]["state"].clone();
    eventually("it is seen to have failed", || state() == "failed");
    assert!(bench(&luge.path("other"), "--runtime 0.05").status.success());
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    assert_eq!(luge.call("bdev_nvme_detach_controller", json!({"name": "Nvme0"})), true);
    let error = luge.refusal("bdev_nvme_attach_controller", attach(&target));
    assert!(error.message.contains("start the server first"), "{error}");
}

#[test]
fn a_controller_of_its_own_is_refused() {
    let target = target();
    let error = target.refusal("bdev_nvme_attach_controller", attach(&target));
    assert_eq!(error.code.0, -22);
    assert!(error.message.contains("of this process"), "{error}");
    let address = json!({"nqn": NQN});
    assert_eq!(target.call("nvmf_subsystem_get_controllers", address), json!([]));
}

#[test]
fn the_load_generator_is_a_host_of_a_controller() {
    let target = target();
    let report = report(
        &target.path("d"),
        "--rw randrw --bs 4k --iodepth 16 --queues 2 --runtime 0.3 --verify crc32c",
    );
    assert!(report["verified"].as_u64().unwrap() > 0, "{report}");
    assert!(report["target_ns_per_io"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["options"]["disks"], json!([target.path("d")]));
    let said = bench(&target.path("d"), "--bs 100 --runtime 0.1");
    assert_eq!(said.status.code(), Some(1));
}
