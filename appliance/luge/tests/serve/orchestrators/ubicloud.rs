//! ubicloud: code -19 means that an object is gone, -17 that it exists; a VM may be leaving.

use super::{Orchestrator, request, with_file};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

fn form(method: &str, params: &Value) -> String {
    let members = json!({"jsonrpc": "2.0", "method": method, "id": 7_654_321});
    request(members, params).to_string() + "\n"
}

#[test]
fn a_disk_is_made_served_and_purged() {
    let (luge, file) = with_file("disk.raw");
    let ubicloud = Orchestrator { luge: &luge, form };
    let aio = json!({"name": "vm1_0_aio", "filename": file, "block_size": 512, "readonly": false});
    assert_eq!(ubicloud.call("bdev_aio_create", aio), "vm1_0_aio");
    let controller = json!({"ctrlr": "vm1_0", "dev_name": "vm1_0_aio"});
    assert_eq!(ubicloud.call("vhost_create_blk_controller", controller), true);
    assert!(std::fs::exists(luge.path("vm1_0")).unwrap());
    assert_eq!(ubicloud.call("vhost_delete_controller", json!({"ctrlr": "vm1_0"})), true);
    assert_eq!(ubicloud.call("bdev_aio_delete", json!({"name": "vm1_0_aio"})), true);
}

#[test]
fn what_is_there_or_gone_already_is_told_by_the_code() {
    let (luge, file) = with_file("disk.raw");
    let ubicloud = Orchestrator { luge: &luge, form };
    let aio = json!({"name": "a", "filename": file, "block_size": 512, "readonly": false});
    ubicloud.call("bdev_aio_create", aio.clone());
    assert_eq!(ubicloud.refusal("bdev_aio_create", aio).0, -17);
    ubicloud.call("vhost_create_blk_controller", json!({"ctrlr": "c", "dev_name": "a"}));
    let again = ubicloud.refusal("vhost_create_blk_controller", json!({"ctrlr": "c", "dev_name": "a"}));
    assert_eq!(again.0, -17);
    assert_eq!(ubicloud.refusal("vhost_delete_controller", json!({"ctrlr": "gone"})).0, -19);
    assert_eq!(ubicloud.refusal("bdev_aio_delete", json!({"name": "gone"})).0, -19);
}

#[test]
fn a_controller_whose_vm_stays_is_refused_as_busy() {
    let (luge, file) = with_file("disk.raw");
    let ubicloud = Orchestrator { luge: &luge, form };
    ubicloud.call("bdev_aio_create", json!({"name": "a", "filename": file, "block_size": 512}));
    ubicloud.call("vhost_create_blk_controller", json!({"ctrlr": "c", "dev_name": "a"}));
    let _vm = UnixStream::connect(luge.path("c")).unwrap();
    crate::daemon::eventually("the session", || {
        ubicloud.call("vhost_get_controllers", Value::Null)[0]["sessions"] != json!([])
    });
    let (code, message) = ubicloud.refusal("vhost_delete_controller", json!({"ctrlr": "c"}));
    assert_eq!(code, -16);
    assert!(message.contains("Device or resource busy"), "{message}");
}

#[test]
fn a_limit_is_refused_and_no_limit_is_taken() {
    let (luge, file) = with_file("disk.raw");
    let ubicloud = Orchestrator { luge: &luge, form };
    ubicloud.call("bdev_aio_create", json!({"name": "a", "filename": file, "block_size": 512}));
    let limits = |read, write| json!({"name": "a", "rw_ios_per_sec": 0, "r_mbytes_per_sec": read, "w_mbytes_per_sec": write});
    let (code, message) = ubicloud.refusal("bdev_set_qos_limit", limits(100, 100));
    assert_eq!(code, -95);
    assert!(message.starts_with("Operation not supported"), "{message}");
    assert_eq!(ubicloud.call("bdev_set_qos_limit", limits(0, 0)), true);
}
