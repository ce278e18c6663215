//! Configurations that SPDK's `save_config` writes, and the option methods in them.

use crate::configuration::start_with;
use crate::daemon::{Daemon, LUGE, command};
use serde_json::{Value, json};
use std::fs::File;

/// Configuration with entries of every subsystem, comments, and members that SPDK does not know.
const STOCK: &str = include_str!("fixtures/stock.json");

/// Returns the configuration as plain JSON, as clients send it.
pub fn stock() -> Value {
    let plain: String = STOCK
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("/*"))
        .collect();
    serde_json::from_str(&plain).unwrap()
}

fn names(luge: &Daemon) -> Vec<String> {
    let list = luge.call("bdev_get_bdevs", Value::Null);
    list.as_array().unwrap().iter().map(|bdev| bdev["name"].as_str().unwrap().to_owned()).collect()
}

/// All objects, and the configuration that would be saved.
fn picture(luge: &Daemon) -> Value {
    let methods = ["save_config", "bdev_get_bdevs", "vhost_get_controllers", "vm_get_vms", "log_get_level"];
    methods.map(|method| luge.call(method, Value::Null)).into_iter().collect()
}

#[test]
fn a_stock_configuration_with_comments_is_what_luge_starts_with() {
    let luge = start_with(STOCK);
    assert_eq!(names(&luge), ["Malloc0", "Null0", "Null0p0", "Null0p1"]);
    assert_eq!(luge.call("vhost_get_controllers", Value::Null)[0]["ctrlr"], "vhost.0");
}

#[test]
fn a_stock_configuration_is_loaded_by_call() {
    let luge = Daemon::start();
    assert_eq!(luge.call("load_config", stock()), true);
    assert_eq!(names(&luge), ["Malloc0", "Null0", "Null0p0", "Null0p1"]);
}

#[test]
fn a_stock_configuration_with_comments_is_loaded_from_the_command_line() {
    let luge = Daemon::start();
    std::fs::write(luge.path("stock.json"), STOCK).unwrap();
    let mut load = command(LUGE);
    load.args(["rpc", "-s", &luge.path("rpc.sock"), "load_config", "-"]);
    load.stdin(File::open(luge.path("stock.json")).unwrap());
    assert!(load.status().unwrap().success());
    assert_eq!(names(&luge), ["Malloc0", "Null0", "Null0p0", "Null0p1"]);
}

#[test]
fn a_stock_configuration_whose_last_entry_luge_has_not_leaves_everything_as_it_was() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "mine", "num_blocks": 8, "block_size": 512}));
    let before = picture(&luge);
    let mut config = stock();
    let portals = json!({"method": "iscsi_create_portal_group", "params": {"tag": 1, "portals": []}});
    let subsystems = config["subsystems"].as_array_mut().unwrap();
    subsystems.push(json!({"subsystem": "iscsi", "config": [portals]}));
    let error = luge.refusal("load_config", config);
    assert!(error.message.starts_with("subsystem iscsi, entry 0 (iscsi_create_portal_group): "), "{error}");
    assert_eq!(error.code.0, -32601);
    assert_eq!(picture(&luge), before);
}

#[test]
fn a_stock_configuration_with_an_entry_that_fails_leaves_everything_as_it_was() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "mine", "num_blocks": 8, "block_size": 512}));
    let before = picture(&luge);
    let mut config = stock();
    let vm = json!({"method": "vm_create", "params": {"name": "m", "cpus": 1, "memory_mb": 64, "disks": ["vhost.0"]}});
    let level = json!({"method": "log_set_level", "params": {"level": "DEBUG"}});
    let again =
        json!({"method": "bdev_null_create", "params": {"name": "mine", "num_blocks": 8, "block_size": 512}});
    let last = json!({"subsystem": "last", "config": [vm, level, again]});
    config["subsystems"].as_array_mut().unwrap().push(last);
    let error = luge.refusal("load_config", config.clone());
    assert!(error.message.starts_with("subsystem last, entry 2 (bdev_null_create): "), "{error}");
    assert_eq!(error.code.0, -17);
    assert_eq!(picture(&luge), before);
    config["subsystems"].as_array_mut().unwrap().pop();
    assert_eq!(luge.call("load_config", config), true);
}

/// All members that SPDK writes for an SSD on PCIe. The only error is that there is no such SSD.
#[test]
fn a_stock_entry_for_an_ssd_gets_as_far_as_the_ssd() {
    let luge = Daemon::start();
    let params = json!({
        "name": "Nvme0", "trtype": "PCIe", "traddr": "ffff:ff:1f.7",
        "prchk_reftag": false, "prchk_guard": false,
        "ctrlr_loss_timeout_sec": 0, "reconnect_delay_sec": 0, "fast_io_fail_timeout_sec": 0,
        "hostnqn": "nqn.2014-08.org.nvmexpress:uuid:6a3c1f2e-55f0-4c0b-8d59-0d8c1b6f1a03",
        "hdgst": false, "ddgst": false, "multipath": "multipath",
        "fabrics_connect_timeout_us": 0, "num_io_queues": 1024, "disable_sq_flow_control": false,
        "multipath_opts": {"policy": "active_passive"},
    });
    let entry = json!({"method": "bdev_nvme_attach_controller", "params": params});
    let error =
        luge.refusal("load_config", json!({"subsystems": [{"subsystem": "bdev", "config": [entry]}]}));
    assert!(error.message.contains("no PCI device ffff:ff:1f.7"), "{error}");
    assert_eq!(error.code.0, -19);
}

#[test]
fn a_configuration_that_would_unmake_something_is_refused_before_its_first_call() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "mine", "num_blocks": 8, "block_size": 512}));
    let before = picture(&luge);
    for method in ["bdev_null_delete", "load_config", "spdk_kill_instance", "vm_stop"] {
        let make = json!({"method": "bdev_null_create", "params": {"name": "n", "num_blocks": 8, "block_size": 512}});
        let config = json!([make, {"method": method, "params": {"name": "mine"}}]);
        let error =
            luge.refusal("load_config", json!({"subsystems": [{"subsystem": "bdev", "config": config}]}));
        assert!(error.message.starts_with(&format!("subsystem bdev, entry 1 ({method}): ")), "{error}");
        assert_eq!(error.code.0, -22);
        assert_eq!(picture(&luge), before);
    }
}

/// Options that orchestrators set when they start, each taken before and after the start.
const OPTIONS: &[(&str, &str)] = &[
    ("bdev_set_options", r#"{"bdev_io_pool_size": 1, "bdev_io_cache_size": 1}"#),
    ("iobuf_set_options", r#"{"small_pool_count": 8192, "large_pool_count": 1024}"#),
    ("accel_set_options", r#"{"small_cache_size": 128}"#),
    ("accel_assign_opc", r#"{"opname": "copy", "module": "software"}"#),
    ("bdev_nvme_set_options", r#"{"action_on_timeout": "reset", "timeout_us": 30000000}"#),
    ("bdev_nvme_set_hotplug", r#"{"enable": false}"#),
    ("sock_impl_set_options", r#"{"impl_name": "posix"}"#),
    ("sock_set_default_impl", r#"{"impl_name": "posix"}"#),
    ("framework_set_scheduler", r#"{"name": "dynamic"}"#),
    ("nvmf_set_config", "{}"),
    ("nvmf_set_max_subsystems", r#"{"max_subsystems": 8}"#),
    ("log_set_print_level", r#"{"level": "WARNING"}"#),
    ("log_set_flag", r#"{"flag": "nvme"}"#),
    ("log_clear_flag", r#"{"flag": "nvme"}"#),
];

#[test]
fn options_are_taken_before_and_after_the_start() {
    let luge = Daemon::with(&["--wait-for-rpc"]);
    for start in [true, false] {
        for (method, params) in OPTIONS {
            assert_eq!(luge.call(method, serde_json::from_str(params).unwrap()), true, "{method}");
        }
        if start {
            luge.call("framework_start_init", Value::Null);
        }
    }
    assert_eq!(luge.call("log_get_print_level", Value::Null), "WARNING");
    assert_eq!(luge.call("bdev_wait_for_examine", Value::Null), true);
}

#[test]
fn an_option_that_is_passed_over_is_said_once_in_the_log() {
    let (mut log, writer) = std::io::pipe().unwrap();
    let luge = Daemon::with_log(writer);
    for _ in 0..3 {
        luge.call("bdev_set_options", json!({"bdev_io_pool_size": 1}));
    }
    drop(luge);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut log, &mut said).unwrap();
    assert_eq!(said.matches("bdev_set_options").count(), 1, "{said}");
}
