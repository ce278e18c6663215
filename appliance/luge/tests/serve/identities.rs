//! Names and UUIDs of block devices, which share a name space: each text means one device or
//! none.

use crate::daemon::Daemon;
use serde_json::{Value, json};

const UUID: &str = "0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1";
/// All ways to write that UUID.
const SPELLINGS: [&str; 5] = [
    UUID,
    "0F5D0B8E-9D1C-4A34-8A55-2B5A9BF9A3A1",
    "0f5d0b8e9d1c4a348a552b5a9bf9a3a1",
    "urn:uuid:0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1",
    "{0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1}",
];
const NIL: &str = "00000000-0000-0000-0000-000000000000";

fn null(name: &str) -> Value {
    json!({"name": name, "num_blocks": 8, "block_size": 512})
}

fn with_uuid(mut params: Value, uuid: &str) -> Value {
    params["uuid"] = uuid.into();
    params
}

fn show(luge: &Daemon, name: &str) -> Value {
    luge.call("bdev_get_bdevs", json!({"name": name}))[0].clone()
}

/// The calls that make a device with a UUID, of every kind.
fn makers(luge: &Daemon, name: &str) -> [(&'static str, Value); 3] {
    let file = luge.path("file");
    std::fs::write(&file, vec![0; 4096]).unwrap();
    [
        ("bdev_null_create", null(name)),
        ("bdev_malloc_create", null(name)),
        ("bdev_aio_create", json!({"name": name, "filename": file, "block_size": 512})),
    ]
}

#[test]
fn a_uuid_that_is_the_name_of_another_device_is_refused_in_every_spelling() {
    let luge = Daemon::start();
    luge.call("bdev_malloc_create", null(UUID));
    for spelling in SPELLINGS {
        for (method, params) in makers(&luge, "other") {
            let error = luge.refusal(method, with_uuid(params, spelling));
            assert_eq!(error.code.0, -17, "{method} {spelling}: {error}");
            assert!(error.message.contains(UUID), "{method} {spelling}: {error}");
        }
    }
    luge.call("bdev_malloc_delete", json!({"name": UUID}));
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null), json!([]));
}

#[test]
fn a_name_that_is_the_uuid_of_another_device_is_refused_in_every_spelling() {
    let luge = Daemon::start();
    luge.call("bdev_malloc_create", with_uuid(null("first"), UUID));
    for spelling in SPELLINGS {
        for (method, params) in makers(&luge, spelling) {
            let error = luge.refusal(method, params);
            assert_eq!(error.code.0, -17, "{method} {spelling}: {error}");
            assert!(error.message.contains("bdev first"), "{method} {spelling}: {error}");
        }
        assert_eq!(show(&luge, spelling)["name"], "first", "{spelling}");
    }
}

#[test]
fn two_names_that_spell_one_uuid_are_one_name() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", null(UUID));
    for spelling in &SPELLINGS[1..] {
        assert_eq!(luge.refusal("bdev_null_create", null(spelling)).code.0, -17, "{spelling}");
        assert_eq!(show(&luge, spelling)["name"], UUID, "{spelling}");
    }
}

#[test]
fn a_device_may_be_named_by_its_own_uuid_and_frees_both_when_it_is_deleted() {
    let luge = Daemon::start();
    for _ in 0..2 {
        luge.call("bdev_null_create", with_uuid(null(UUID), UUID));
        assert_eq!(show(&luge, SPELLINGS[1])["uuid"], UUID);
        luge.call("bdev_null_delete", json!({"name": SPELLINGS[2]}));
    }
    luge.call("bdev_null_create", with_uuid(null("a"), UUID));
    luge.call("bdev_null_delete", json!({"name": "a"}));
    luge.call("bdev_null_create", null(UUID));
}

#[test]
fn a_part_whose_name_or_uuid_is_taken_is_refused_and_nothing_is_split() {
    let luge = Daemon::start();
    let split = json!({"base_bdev": "b", "split_count": 2});
    luge.call("bdev_null_create", with_uuid(null("b"), UUID));
    luge.call("bdev_split_create", split.clone());
    let uuid = show(&luge, "bp1")["uuid"].as_str().unwrap().to_owned();
    luge.call("bdev_split_delete", json!({"base_bdev": "b"}));
    luge.call("bdev_null_create", null(&uuid));
    let error = luge.refusal("bdev_split_create", split.clone());
    assert_eq!(error.code.0, -17, "{error}");
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null).as_array().unwrap().len(), 2);
    luge.call("bdev_null_delete", json!({"name": uuid}));
    luge.call("bdev_split_create", split);
}

#[test]
fn a_controller_serves_the_device_that_its_caller_named() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", with_uuid(null("a"), UUID));
    luge.call("bdev_null_create", null("b"));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": SPELLINGS[2]}));
    let served = &luge.call("vhost_get_controllers", Value::Null)[0]["backend_specific"]["block"]["bdev"];
    assert_eq!(*served, "a");
}

#[test]
fn the_nil_uuid_means_none() {
    let luge = Daemon::start();
    for spelling in [NIL, "00000000000000000000000000000000"] {
        let mut uuids = Vec::new();
        for (at, (method, params)) in makers(&luge, "").into_iter().enumerate() {
            let mut params = with_uuid(params, spelling);
            let name = format!("d{at}");
            params["name"] = name.as_str().into();
            luge.call(method, params);
            uuids.push(show(&luge, &name)["uuid"].as_str().unwrap().to_owned());
        }
        assert!(uuids.iter().all(|uuid| uuid != NIL), "{uuids:?}");
        uuids.sort();
        uuids.dedup();
        assert_eq!(uuids.len(), 3);
        for (name, kind) in [("d0", "null"), ("d1", "malloc"), ("d2", "aio")] {
            luge.call(&format!("bdev_{kind}_delete"), json!({"name": name}));
        }
    }
}
