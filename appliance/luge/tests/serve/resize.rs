//! Devices that are resized, and limits of their rates.

use crate::daemon::{Daemon, eventually};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;

/// A daemon with a device of 8 MiB of each kind that can be resized: `n`, `m` and `f`.
fn with_devices() -> Daemon {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 2048, "block_size": 4096}));
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 16_384, "block_size": 512}));
    std::fs::write(luge.path("file"), vec![0; 8 << 20]).unwrap();
    luge.call("bdev_aio_create", json!({"name": "f", "filename": luge.path("file"), "block_size": 512}));
    luge
}

fn blocks(luge: &Daemon, name: &str) -> u64 {
    luge.call("bdev_get_bdevs", json!({"name": name}))[0]["num_blocks"].as_u64().unwrap()
}

fn set_file(luge: &Daemon, bytes: u64) {
    let file = std::fs::File::options().write(true).open(luge.path("file")).unwrap();
    file.set_len(bytes).unwrap();
}

fn code(luge: &Daemon, method: &str, params: Value) -> i32 {
    luge.refusal(method, params).code.0
}

#[test]
fn devices_become_larger_and_a_saved_configuration_makes_them_so() {
    let luge = with_devices();
    assert_eq!(luge.call("bdev_null_resize", json!({"name": "n", "new_size": 16})), true);
    assert_eq!(luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 16})), true);
    set_file(&luge, 16 << 20);
    assert_eq!(blocks(&luge, "f"), 16_384, "nobody has looked yet");
    assert_eq!(luge.call("bdev_aio_rescan", json!({"name": "f"})), true);
    assert_eq!(blocks(&luge, "n"), 4096);
    assert_eq!(blocks(&luge, "m"), 32_768);
    assert_eq!(blocks(&luge, "f"), 32_768);
    let saved = luge.call("save_config", Value::Null);
    let bdevs = saved["subsystems"][0]["config"].as_array().unwrap();
    let num_blocks = |name: &str| {
        let call = bdevs.iter().find(|call| call["params"]["name"] == name).unwrap();
        call["params"]["num_blocks"].clone()
    };
    assert_eq!(num_blocks("n"), 4096);
    assert_eq!(num_blocks("m"), 32_768);
    assert_eq!(num_blocks("f"), Value::Null);
}

#[test]
fn the_size_that_a_device_has_is_no_change() {
    let luge = with_devices();
    assert_eq!(luge.call("bdev_null_resize", json!({"name": "n", "new_size": 8})), true);
    assert_eq!(luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 8})), true);
    assert_eq!(luge.call("bdev_aio_rescan", json!({"name": "f"})), true);
    assert_eq!(blocks(&luge, "m"), 16_384);
}

#[test]
fn wrong_calls_are_refused_and_change_nothing() {
    let luge = with_devices();
    luge.call("bdev_split_create", json!({"base_bdev": "n", "split_count": 2}));
    for (method, params, expected) in [
        ("bdev_null_resize", json!({"name": "gone", "new_size": 16}), -19),
        ("bdev_null_resize", json!({"name": "n"}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": "16"}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": -1}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": 1.5}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": 0}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": u64::MAX}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": 1_u64 << 43}), -32602),
        ("bdev_null_resize", json!({"name": "n", "new_size": 16, "x": 1}), -32602),
        ("bdev_null_resize", json!({"name": "m", "new_size": 16}), -22),
        ("bdev_null_resize", json!({"name": "np0", "new_size": 16}), -22),
        ("bdev_null_resize", json!({"name": "n", "new_size": 4}), -22),
        ("bdev_malloc_resize", json!({"name": "n", "new_size": 16}), -22),
        ("bdev_malloc_resize", json!({"name": "m", "new_size": 0}), -32602),
        ("bdev_malloc_resize", json!({"name": "m", "new_size": 4096}), -12),
        ("bdev_malloc_resize", json!({"name": "m", "new_size": 1_u64 << 40}), -12),
        ("bdev_malloc_resize", json!({"name": "m", "new_size": 1_u64 << 60}), -32602),
        ("bdev_aio_rescan", json!({"name": "m"}), -22),
        ("bdev_aio_rescan", json!({"name": ""}), -19),
        ("bdev_get_resize_status", json!({"name": "gone"}), -19),
    ] {
        assert_eq!(code(&luge, method, params.clone()), expected, "{method} {params}");
    }
    let refusal = luge.refusal("bdev_malloc_resize", json!({"name": "n", "new_size": 16}));
    assert!(refusal.message.contains("use bdev_null_resize"), "{refusal}");
    assert_eq!(blocks(&luge, "n"), 2048);
    assert_eq!(blocks(&luge, "m"), 16_384);
    // All of the budget is there: 64 MiB.
    assert_eq!(luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 64})), true);
}

#[test]
fn a_device_that_is_used_becomes_larger_but_not_smaller() {
    let luge = with_devices();
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "m"}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "w", "dev_name": "f"}));
    luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 16}));
    let refusal = luge.refusal("bdev_malloc_resize", json!({"name": "m", "new_size": 8}));
    assert_eq!(refusal.code.0, -16);
    assert!(refusal.message.contains("vhost controller v"), "{refusal}");
    set_file(&luge, 4 << 20);
    assert_eq!(code(&luge, "bdev_aio_rescan", json!({"name": "f"})), -16);
    assert_eq!(blocks(&luge, "f"), 16_384);
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    luge.call("vhost_delete_controller", json!({"ctrlr": "w"}));
    assert_eq!(luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 1})), true);
    assert_eq!(luge.call("bdev_aio_rescan", json!({"name": "f"})), true);
    assert_eq!(blocks(&luge, "m"), 2048);
    assert_eq!(blocks(&luge, "f"), 8192);
    // What it had was given back to the budget of 64 MiB.
    luge.call("bdev_malloc_create", json!({"name": "rest", "num_blocks": 63 * 2048, "block_size": 512}));
}

#[test]
fn a_file_that_is_gone_or_has_no_whole_blocks_keeps_its_size() {
    let luge = with_devices();
    set_file(&luge, (8 << 20) + 100);
    let refusal = luge.refusal("bdev_aio_rescan", json!({"name": "f"}));
    assert_eq!(refusal.code.0, -22);
    assert!(refusal.message.contains("whole blocks"), "{refusal}");
    set_file(&luge, 0);
    assert_eq!(code(&luge, "bdev_aio_rescan", json!({"name": "f"})), -22);
    assert_eq!(blocks(&luge, "f"), 16_384);
}

#[test]
fn parts_of_a_device_that_grows_stay_as_they_are() {
    let luge = with_devices();
    luge.call("bdev_split_create", json!({"base_bdev": "m", "split_count": 2}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "mp1"}));
    luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 16}));
    assert_eq!(blocks(&luge, "m"), 32_768);
    assert_eq!(blocks(&luge, "mp1"), 8192);
    let status = luge.call("bdev_get_resize_status", json!({"name": "mp1"}));
    assert_eq!(status[0]["endpoints"][0]["num_blocks"], 8192);
    assert_eq!(code(&luge, "bdev_malloc_resize", json!({"name": "m", "new_size": 8})), -16);
}

#[test]
fn the_status_tells_which_front_ends_have_seen_the_size() {
    let luge = with_devices();
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "w", "dev_name": "n", "readonly": true}));
    let _front_end = UnixStream::connect(luge.path("w")).unwrap();
    let status = || luge.call("bdev_get_resize_status", json!({"name": "n"}))[0].clone();
    eventually("the front end", || status()["endpoints"][1]["connected"] == true);
    luge.call("bdev_null_resize", json!({"name": "n", "new_size": 16}));
    let idle = json!({"type": "vhost_blk", "ctrlr": "v", "num_blocks": 4096, "connected": false, "seen": null, "notice": null});
    let unaware = json!({"type": "vhost_blk", "ctrlr": "w", "num_blocks": 4096, "connected": true, "seen": false,
        "notice": "impossible"});
    assert_eq!(
        status(),
        json!({"name": "n", "num_blocks": 4096, "resizing": false, "endpoints": [idle, unaware]})
    );
    assert_eq!(luge.call("bdev_get_resize_status", Value::Null).as_array().unwrap().len(), 3);
}

#[test]
fn two_operators_who_resize_one_device_both_get_an_answer_and_one_size_stays() {
    let luge = with_devices();
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "m"}));
    std::thread::scope(|scope| {
        for size in [9_u64, 10] {
            let luge = &luge;
            scope.spawn(move || {
                let mut client = luge.client();
                for round in 0..20 {
                    let size = size + 2 * round;
                    // The other one may be at it, or have made the device larger.
                    let _ = client.call("bdev_malloc_resize", json!({"name": "m", "new_size": size}));
                }
            });
        }
    });
    luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 60}));
    assert_eq!(blocks(&luge, "m"), 60 * 2048);
    let endpoint = luge.call("bdev_get_resize_status", json!({"name": "m"}))[0]["endpoints"][0].clone();
    assert_eq!(endpoint["num_blocks"], 60 * 2048);
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    luge.call("bdev_malloc_delete", json!({"name": "m"}));
    luge.call("bdev_malloc_create", json!({"name": "all", "num_blocks": 64 * 2048, "block_size": 512}));
}

#[test]
fn limits_of_zero_are_taken_and_others_refused_by_name() {
    let luge = with_devices();
    let zeroes = json!({"name": "m", "rw_ios_per_sec": 0, "rw_mbytes_per_sec": 0, "r_mbytes_per_sec": 0,
        "w_mbytes_per_sec": 0});
    assert_eq!(luge.call("bdev_set_qos_limit", zeroes), true);
    assert_eq!(luge.call("bdev_set_qos_limit", json!({"name": "m", "rw_ios_per_sec": 0})), true);
    for limit in ["rw_ios_per_sec", "rw_mbytes_per_sec", "r_mbytes_per_sec", "w_mbytes_per_sec"] {
        let refusal = luge.refusal("bdev_set_qos_limit", json!({"name": "m", limit: 1000}));
        assert_eq!(refusal.code.0, -95);
        assert!(refusal.message.starts_with("Operation not supported"), "{refusal}");
        assert!(refusal.message.contains(limit), "{refusal}");
    }
    assert_eq!(code(&luge, "bdev_set_qos_limit", json!({"name": "m"})), -22);
    assert_eq!(code(&luge, "bdev_set_qos_limit", json!({"name": "gone", "rw_ios_per_sec": 0})), -19);
    assert_eq!(code(&luge, "bdev_set_qos_limit", json!({"name": "m", "rw_ios_per_sec": -1})), -32602);
    let limits = luge.call("bdev_get_bdevs", json!({"name": "m"}))[0]["assigned_rate_limits"].clone();
    assert!(limits.as_object().unwrap().values().all(|limit| limit == 0), "{limits}");
}
