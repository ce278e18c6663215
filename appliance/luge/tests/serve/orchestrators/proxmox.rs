//! A fork of Proxmox: lists before it deletes, and deletes before it creates.

use super::{Orchestrator, python, with_file};
use serde_json::{Value, json};

fn is_there(proxmox: &Orchestrator<'_>, lister: &str, name: &str) -> bool {
    let answer = super::answer_of(&mut proxmox.send(lister, &json!({"name": name})));
    answer.get("error").is_none()
}

#[test]
fn a_disk_is_made_anew_at_each_start_and_deleted_at_the_stop() {
    let (luge, file) = with_file("vm-100-disk-0.raw");
    let proxmox = Orchestrator { luge: &luge, form: python };
    for _ in 0..2 {
        if is_there(&proxmox, "vhost_get_controllers", "vm-100-spdk0") {
            proxmox.call("vhost_delete_controller", json!({"ctrlr": "vm-100-spdk0"}));
        }
        if is_there(&proxmox, "bdev_get_bdevs", "vm-disk-100-spdk0") {
            proxmox.call("bdev_aio_delete", json!({"name": "vm-disk-100-spdk0"}));
        }
        proxmox.call(
            "bdev_aio_create",
            json!({"name": "vm-disk-100-spdk0", "filename": file, "block_size": 4096}),
        );
        let controller = json!({"ctrlr": "vm-100-spdk0", "dev_name": "vm-disk-100-spdk0", "cpumask": "0x1"});
        proxmox.call("vhost_create_blk_controller", controller);
    }
    proxmox.call("vhost_delete_controller", json!({"ctrlr": "vm-100-spdk0"}));
    proxmox.call("bdev_aio_delete", json!({"name": "vm-disk-100-spdk0"}));
    assert_eq!(proxmox.call("bdev_get_bdevs", Value::Null), json!([]));
}
