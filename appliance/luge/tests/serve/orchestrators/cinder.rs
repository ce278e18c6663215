//! Cinder: looks for a volume's id in all aliases.

use super::{Orchestrator, request, with_file};
use serde_json::{Value, json};

fn form(method: &str, params: &Value) -> String {
    request(json!({"jsonrpc": "2.0", "id": 1, "method": method}), params).to_string()
}

#[test]
fn a_volume_is_found_by_its_id_among_the_aliases() {
    let (luge, file) = with_file("volume");
    let cinder = Orchestrator { luge: &luge, form };
    let id = "0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1";
    cinder
        .call("bdev_aio_create", json!({"name": "volume", "filename": file, "block_size": 512, "uuid": id}));
    cinder.call("bdev_null_create", json!({"name": "other", "num_blocks": 8, "block_size": 512}));
    let disks = cinder.call("bdev_get_bdevs", Value::Null);
    let has_id = |disk: &&Value| {
        disk["aliases"].as_array().unwrap().iter().any(|alias| alias.as_str().unwrap().contains(id))
    };
    let found: Vec<_> = disks.as_array().unwrap().iter().filter(has_id).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["name"], "volume");
}
