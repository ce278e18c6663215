//! SPDK's CSI driver: recognises errors by words in the message.

use super::{Orchestrator, request, with_file};
use serde_json::{Value, json};

fn form(method: &str, params: &Value) -> String {
    request(json!({"jsonrpc": "2.0", "id": 3, "method": method}), params).to_string()
}

#[test]
fn a_volume_that_is_not_there_is_no_such_device() {
    let (luge, _) = with_file("volume");
    let csi = Orchestrator { luge: &luge, form };
    for name in ["lvs0/pvc-1", "0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1"] {
        let (_, message) = csi.refusal("bdev_get_bdevs", json!({"name": name}));
        assert!(message.contains("No such device"), "{message}");
    }
}

#[test]
fn a_volume_that_is_there_has_a_size_and_an_identity() {
    let (luge, file) = with_file("volume");
    let csi = Orchestrator { luge: &luge, form };
    csi.call("bdev_aio_create", json!({"name": "lvs0/pvc-1", "filename": file, "block_size": 512}));
    let volume = csi.call("bdev_get_bdevs", json!({"name": "lvs0/pvc-1"}))[0].clone();
    assert_eq!(volume["block_size"].as_u64().unwrap() * volume["num_blocks"].as_u64().unwrap(), 1 << 20);
    assert_eq!(csi.call("bdev_get_bdevs", json!({"name": volume["uuid"]}))[0]["name"], "lvs0/pvc-1");
    let (_, message) =
        csi.refusal("bdev_null_create", json!({"name": "lvs0/pvc-1", "num_blocks": 8, "block_size": 512}));
    assert!(message.contains("already exists"), "{message}");
}
