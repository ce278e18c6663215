//! TrueNAS: names a disk by kind and path, and finds it by path.

use super::{Orchestrator, python};
use crate::daemon::Daemon;
use serde_json::{Value, json};

#[test]
fn a_file_with_a_space_in_its_path_is_served_found_and_deleted() {
    let luge = Daemon::start();
    std::fs::create_dir(luge.path("a b")).unwrap();
    let file = luge.path("a b/disk: 1");
    std::fs::write(&file, vec![0; 1 << 20]).unwrap();
    let name = format!("FILE:{file}");
    let truenas = Orchestrator { luge: &luge, form: python };
    assert_eq!(truenas.call("framework_wait_init", Value::Null), true);
    assert_eq!(truenas.call("bdev_aio_create", json!({"filename": file, "name": name})), name);
    let disks = truenas.call("bdev_get_bdevs", Value::Null);
    assert_eq!(disks[0]["product_name"], "AIO disk");
    assert_eq!(disks[0]["name"], json!(name));
    assert_eq!(disks[0]["driver_specific"]["aio"]["filename"], file);
    truenas.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": name}));
    assert_eq!(truenas.call("bdev_get_iostat", json!({"name": name}))["bdevs"][0]["name"], name);
    truenas.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    assert_eq!(truenas.call("bdev_aio_delete", json!({"name": name})), true);
}

#[test]
fn a_disk_whose_name_is_that_of_a_file_is_saved_split_and_loaded() {
    let luge = Daemon::start();
    let truenas = Orchestrator { luge: &luge, form: python };
    for name in ["ZVOL:zvol/pool/a b", "split of ZVOL:zvol/pool/a b"] {
        truenas.call("bdev_null_create", json!({"name": name, "num_blocks": 4096, "block_size": 512}));
    }
    truenas.call("bdev_split_create", json!({"base_bdev": "ZVOL:zvol/pool/a b", "split_count": 2}));
    let other = Daemon::start();
    other.call("load_config", luge.call("save_config", Value::Null));
    assert_eq!(other.call("bdev_get_bdevs", Value::Null), truenas.call("bdev_get_bdevs", Value::Null));
    truenas.call("bdev_split_delete", json!({"base_bdev": "ZVOL:zvol/pool/a b"}));
    let saved = luge.call("save_config", Value::Null)["subsystems"][0]["config"].clone();
    assert_eq!(saved.as_array().unwrap().len(), 2, "{saved}");
}
