//! simplyblock: no `jsonrpc`, `params` only where there are any; answers against a schema.

use super::{Orchestrator, answer_of, request, with_file};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::net::Shutdown;

const ENVELOPE: &str = r#"{"id": 1}"#;

fn form(method: &str, params: &Value) -> String {
    let mut members: Value = serde_json::from_str(ENVELOPE).unwrap();
    members["method"] = method.into();
    request(members, params).to_string()
}

#[test]
fn a_disk_is_made_split_measured_and_deleted() {
    let (luge, _) = with_file("disk");
    let simplyblock = Orchestrator { luge: &luge, form };
    let malloc = json!({"name": "mem", "block_size": 4096, "num_blocks": 2048});
    assert_eq!(simplyblock.call("bdev_malloc_create", malloc), "mem");
    let split = json!({"base_bdev": "mem", "split_count": 2});
    assert_eq!(simplyblock.call("bdev_split_create", split), json!(["memp0", "memp1"]));
    let part = simplyblock.call("bdev_get_bdevs", json!({"name": "memp0"}))[0].clone();
    assert_eq!(part["block_size"].as_u64().unwrap() * part["num_blocks"].as_u64().unwrap(), 4 << 20);
    let stats = simplyblock.call("bdev_get_iostat", json!({"name": part["uuid"]}));
    assert_eq!(stats["bdevs"][0]["name"], "memp0");
    assert_eq!(stats["bdevs"][0]["unmap_latency_ticks"], 0);
    assert_eq!(simplyblock.call("bdev_split_delete", json!({"base_bdev": "mem"})), true);
    assert_eq!(simplyblock.call("bdev_malloc_delete", json!({"name": "mem"})), true);
}

#[test]
fn answers_have_the_members_of_its_schema_and_no_others() {
    let (luge, _) = with_file("disk");
    let simplyblock = Orchestrator { luge: &luge, form };
    let names =
        |value: &Value| value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let members = |method: &str, params: Value| -> (BTreeSet<String>, BTreeSet<String>) {
        let answer = answer_of(&mut simplyblock.send(method, &params));
        (names(&answer), names(&answer["error"]))
    };
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(members("spdk_get_version", Value::Null).0, set(&["id", "jsonrpc", "result"]));
    let attach = json!({"name": "nvme_0", "trtype": "pcie", "traddr": "ffff:ff:1f.7"});
    let (answer, error) = members("bdev_nvme_attach_controller", attach);
    assert_eq!(answer, set(&["id", "jsonrpc", "error"]));
    assert_eq!(error, set(&["code", "message"]));
}

/// Checks that answers are ASCII, which simplyblock's proxy expects.
#[test]
fn names_beyond_ascii_come_back_in_ascii() {
    let (luge, _) = with_file("disk");
    let simplyblock = Orchestrator { luge: &luge, form };
    let malloc = json!({"name": "Größe-😀", "block_size": 512, "num_blocks": 8});
    let mut text = Vec::new();
    let mut stream = simplyblock.send("bdev_malloc_create", &malloc);
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut text).unwrap();
    assert!(text.is_ascii(), "{}", String::from_utf8_lossy(&text));
    assert_eq!(simplyblock.call("bdev_get_bdevs", Value::Null)[0]["name"], "Größe-😀");
}

#[test]
fn an_ssd_that_is_not_there_is_no_device() {
    let (luge, _) = with_file("disk");
    let simplyblock = Orchestrator { luge: &luge, form };
    for method in ["bdev_nvme_get_controllers", "bdev_nvme_detach_controller"] {
        let (code, message) = simplyblock.refusal(method, json!({"name": "nvme_0"}));
        assert_eq!(code, -19, "{method}");
        assert!(message.starts_with("No such device"), "{message}");
    }
}
