//! Definitions of VMs. VMs that run are tested where there is a guest to boot (`qemu-test`).

use crate::daemon::Daemon;
use serde_json::{Value, json};

#[test]
fn vms_are_defined_shown_saved_and_forgotten() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 4096, "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    std::fs::write(luge.path("kernel"), "no kernel").unwrap();
    let params = json!({"name": "one", "cpus": 2, "memory_mb": 64, "disks": ["v"], "kernel": luge.path("kernel"),
        "command_line": "console=ttyS0", "accelerator": "tcg", "console": "log"});
    assert_eq!(luge.call("vm_create", params.clone()), "one");
    assert_eq!(luge.call("vm_create", json!({"name": "two", "cpus": 1, "memory_mb": 32})), "two");
    let list = luge.call("vm_get_vms", Value::Null);
    let one = json!({"name": "one", "state": "created", "cpus": 2, "memory_mib": 64, "disks": ["v"],
        "boot": luge.path("kernel")});
    assert_eq!(list[0], one);
    assert_eq!(list[1]["boot"], "default");
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(luge.call("vm_get_vms", json!({"name": "one"})), json!([one]));

    let config = luge.call("save_config", Value::Null);
    assert_eq!(config["subsystems"][4]["config"][0], json!({"method": "vm_create", "params": params}));
    let other = Daemon::start();
    other.call("load_config", config.clone());
    assert_eq!(other.call("save_config", Value::Null), config);

    assert_eq!(luge.call("vm_delete", json!({"name": "one"})), true);
    assert_eq!(luge.call("vhost_delete_controller", json!({"ctrlr": "v"})), true);
    assert_eq!(luge.call("vm_delete", json!({"name": "two"})), true);
    assert_eq!(luge.call("vm_get_vms", Value::Null), json!([]));
}

#[test]
fn a_vm_whose_disk_is_gone_is_not_started() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 4096, "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    luge.call("vm_create", json!({"name": "one", "cpus": 1, "memory_mb": 64, "disks": ["v"]}));
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    let error = luge.refusal("vm_start", json!({"name": "one"}));
    assert!(error.code.0 == -19 && error.message.contains("vhost controller v"), "{error}");
}

#[test]
fn a_listener_that_is_the_disk_of_a_vm_is_named_by_its_directory() {
    let luge = Daemon::start();
    let nqn = "nqn.2016-06.io.spdk:cnode1";
    let address = json!({"trtype": "VFIOUSER", "traddr": luge.path("nvme")});
    luge.call("nvmf_create_transport", json!({"trtype": "VFIOUSER"}));
    luge.call("nvmf_create_subsystem", json!({"nqn": nqn, "allow_any_host": true}));
    luge.call("nvmf_subsystem_add_listener", json!({"nqn": nqn, "listen_address": address}));
    let disks = json!([luge.path("nvme")]);
    let vm = |name: &str, disks: &Value| json!({"name": name, "cpus": 1, "memory_mb": 64, "disks": disks});
    assert_eq!(luge.call("vm_create", vm("one", &disks)), "one");
    assert_eq!(luge.call("vm_get_vms", Value::Null)[0]["disks"], disks);
    assert_eq!(luge.refusal("vm_create", vm("two", &json!([luge.path("other")]))).code.0, -19);
    let twice = json!([luge.path("nvme"), luge.path("nvme")]);
    assert_eq!(luge.refusal("vm_create", vm("two", &twice)).code.0, -32602);
    luge.call("nvmf_subsystem_remove_listener", json!({"nqn": nqn, "listen_address": address}));
    let error = luge.refusal("vm_start", json!({"name": "one"}));
    assert_eq!(error.code.0, -19);
    assert!(error.message.contains("nvmf_subsystem_add_listener"), "{error}");
}
