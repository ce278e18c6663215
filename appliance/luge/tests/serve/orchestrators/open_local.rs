//! open-local: ids start at 0; finds a disk by its file, and a controller by its disk.

use super::{Orchestrator, request, with_file};
use serde_json::{Value, json};

fn form(method: &str, params: &Value) -> String {
    request(json!({"jsonrpc": "2.0", "id": 0, "method": method}), params).to_string() + "\n"
}

#[test]
fn a_disk_is_found_by_its_file_and_removed_with_its_controller() {
    let (luge, file) = with_file("disk");
    let open_local = Orchestrator { luge: &luge, form };
    assert_eq!(open_local.call("bdev_get_bdevs", Value::Null), json!([]));
    let name = format!("bdev-aio{}", file.replace('/', "_"));
    open_local.call("bdev_aio_create", json!({"name": name, "filename": file, "block_size": 512}));
    let controller = json!({"ctrlr": "ctrlr-0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1", "dev_name": name});
    open_local.call("vhost_create_blk_controller", controller);

    let disks = open_local.call("bdev_get_bdevs", Value::Null);
    assert_eq!(disks[0]["driver_specific"]["aio"]["filename"], file);
    assert_eq!(disks[0]["supported_io_types"]["write"], true);
    assert_eq!(disks[0]["aliases"], json!([disks[0]["uuid"]]));
    let controllers = open_local.call("vhost_get_controllers", Value::Null);
    assert_eq!(controllers[0]["backend_specific"]["block"]["bdev"], name);
    open_local.call("vhost_delete_controller", json!({"ctrlr": controllers[0]["ctrlr"]}));
    open_local.call("bdev_aio_delete", json!({"name": name}));
    assert_eq!(open_local.call("bdev_get_bdevs", Value::Null), json!([]));
}
