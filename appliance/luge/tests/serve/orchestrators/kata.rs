//! Kata's CSI driver: one read of at most 8192 bytes is the answer; CPU 0 is assumed.

use super::{Orchestrator, answer_of, with_file};
use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::io::Read;

fn form(method: &str, params: &Value) -> String {
    json!({"method": method, "params": params, "id": 1, "jsonrpc": "2.0"}).to_string()
}

/// Makes a call as the driver does: the first read must return the whole answer.
fn call(kata: &Orchestrator<'_>, method: &str, params: Value) -> Value {
    let mut buffer = [0; 8192];
    let length = kata.send(method, &params).read(&mut buffer).unwrap();
    let answer: Value = serde_json::from_slice(&buffer[..length]).unwrap();
    assert_eq!(answer.get("error"), None, "{method} {params}");
    answer["result"].clone()
}

fn controller(volume: &str) -> Value {
    json!({"ctrlr": format!("vhost-{volume}"), "dev_name": "bdev-pvc", "cpumask": "0x1"})
}

#[test]
fn a_volume_is_made_staged_unstaged_and_left() {
    let (luge, file) = with_file("pvc.raw");
    let kata = Orchestrator { luge: &luge, form };
    let aio = json!({"name": "bdev-pvc", "filename": file, "block_size": 512});
    assert_eq!(call(&kata, "bdev_aio_create", aio), "bdev-pvc");
    assert_eq!(call(&kata, "vhost_get_controllers", Value::Null), json!([]));
    assert_eq!(call(&kata, "vhost_create_blk_controller", controller("0f5d0b8e")), true);
    assert_eq!(call(&kata, "vhost_get_controllers", Value::Null)[0]["ctrlr"], "vhost-0f5d0b8e");
    assert_eq!(call(&kata, "vhost_delete_controller", json!({"ctrlr": "vhost-0f5d0b8e"})), true);
    assert_eq!(kata.refusal("vhost_delete_controller", json!({"ctrlr": "vhost-0f5d0b8e"})).0, -19);
}

#[test]
fn the_controllers_of_twenty_volumes_fit_into_the_answer_it_reads() {
    let (luge, file) = with_file("pvc.raw");
    let kata = Orchestrator { luge: &luge, form };
    call(&kata, "bdev_aio_create", json!({"name": "bdev-pvc", "filename": file, "block_size": 512}));
    for volume in 0..20 {
        call(&kata, "vhost_create_blk_controller", controller(&format!("0f5d0b{volume:02}")));
    }
    assert_eq!(call(&kata, "vhost_get_controllers", Value::Null).as_array().unwrap().len(), 20);
}

/// Checks the refusal of a CPU that the process does not have, as in SPDK: nothing would serve the disk.
#[test]
fn a_cpu_that_the_process_has_not_is_refused_with_those_that_it_has() {
    let luge = Daemon::with(&["-m", "0x2"]);
    let kata = Orchestrator { luge: &luge, form };
    call(&kata, "bdev_null_create", json!({"name": "bdev-pvc", "num_blocks": 8, "block_size": 512}));
    let answer = answer_of(&mut kata.send("vhost_create_blk_controller", &controller("0f5d0b8e")));
    assert_eq!(answer["error"]["code"], -32602);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("`cpumask`: CPU 0 cannot be used: this process has 1"), "{message}");
}
