//! OPI's SPDK bridge: shuts down its side of the connection after the request.

use super::{Orchestrator, answer_of, request, with_file};
use serde_json::{Value, json};
use std::net::Shutdown;

fn form(method: &str, params: &Value) -> String {
    request(json!({"jsonrpc": "2.0", "method": method, "id": 1}), params).to_string()
}

fn call(opi: &Orchestrator<'_>, method: &str, params: Value) -> Value {
    let mut stream = opi.send(method, &params);
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = answer_of(&mut stream);
    assert_eq!(answer.get("error"), None, "{method} {params}");
    answer["result"].clone()
}

#[test]
fn an_aio_volume_is_made_served_measured_and_deleted() {
    let (luge, file) = with_file("volume");
    let opi = Orchestrator { luge: &luge, form };
    let aio = json!({"name": "aio-volume", "filename": file, "block_size": 512});
    assert_eq!(call(&opi, "bdev_aio_create", aio), "aio-volume");
    let listed = call(&opi, "bdev_get_bdevs", json!({"name": "aio-volume"}));
    assert_eq!(listed[0]["block_size"], 512);
    assert_eq!(listed[0]["num_blocks"], 2048);
    assert!(listed[0]["uuid"].is_string());
    let stats = call(&opi, "bdev_get_iostat", json!({"name": "aio-volume"}));
    assert_eq!(stats["bdevs"].as_array().unwrap().len(), 1);
    let controller = json!({"ctrlr": "virtio-blk", "dev_name": "aio-volume"});
    assert_eq!(call(&opi, "vhost_create_blk_controller", controller), true);
    let controllers = call(&opi, "vhost_get_controllers", json!({"name": "virtio-blk"}));
    assert_eq!(controllers.as_array().unwrap().len(), 1);
    assert_eq!(
        controllers[0]["backend_specific"]["block"],
        json!({"readonly": false, "bdev": "aio-volume", "transport": "vhost_user_blk"})
    );
    assert_eq!(call(&opi, "vhost_delete_controller", json!({"ctrlr": "virtio-blk"})), true);
    assert_eq!(call(&opi, "bdev_aio_delete", json!({"name": "aio-volume"})), true);
}

#[test]
fn malloc_and_null_volumes_are_made_and_deleted() {
    let (luge, _) = with_file("volume");
    let opi = Orchestrator { luge: &luge, form };
    // It wants metadata interleaved that it does not ask for.
    let malloc = json!({"num_blocks": 64, "block_size": 512, "md_interleave": true, "name": "m"});
    assert_eq!(call(&opi, "bdev_malloc_create", malloc), "m");
    assert_eq!(
        call(&opi, "bdev_null_create", json!({"block_size": 512, "num_blocks": 64, "name": "n"})),
        "n"
    );
    assert_eq!(call(&opi, "bdev_malloc_delete", json!({"name": "m"})), true);
    assert_eq!(call(&opi, "bdev_null_delete", json!({"name": "n"})), true);
}

#[test]
fn a_path_to_an_ssd_has_port_0_when_it_comes_and_when_it_goes() {
    let (luge, _) = with_file("volume");
    let opi = Orchestrator { luge: &luge, form };
    let path = json!({"name": "ssd", "trtype": "PCIE", "traddr": "ffff:ff:1f.7", "trsvcid": "0"});
    let (code, message) = opi.refusal("bdev_nvme_attach_controller", path.clone());
    assert_eq!(code, -19);
    assert!(message.contains("no PCI device"), "{message}");
    let (code, message) = opi.refusal("bdev_nvme_detach_controller", path);
    assert_eq!(code, -19);
    assert!(message.contains("no NVMe controller ssd"), "{message}");
}
