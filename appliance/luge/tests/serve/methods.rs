//! Tests of the results of each method.

use crate::daemon::{Daemon, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[test]
fn devices_are_made_shown_and_deleted() {
    let luge = Daemon::start();
    std::fs::write(luge.path("file"), vec![0; 1 << 20]).unwrap();
    let uuid = "0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1";
    let malloc = json!({"name": "m", "num_blocks": 2048, "block_size": 512, "uuid": uuid});
    assert_eq!(luge.call("bdev_malloc_create", malloc), "m");
    assert_eq!(luge.call("bdev_malloc_create", json!({"num_blocks": 8, "block_size": 4096})), "Malloc0");
    assert_eq!(
        luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 1_u64 << 40, "block_size": 4096})),
        "n"
    );
    let file = json!({"name": "f", "filename": luge.path("file"), "block_size": 4096, "readonly": true});
    assert_eq!(luge.call("bdev_aio_create", file), "f");
    let list = luge.call("bdev_get_bdevs", Value::Null);
    assert_eq!(names(&list), ["Malloc0", "f", "m", "n"]);

    let one = &luge.call("bdev_get_bdevs", json!({"name": uuid}))[0];
    for (member, value) in [
        ("name", json!("m")),
        ("aliases", json!([uuid])),
        ("uuid", json!(uuid)),
        ("product_name", json!("Malloc disk")),
        ("block_size", json!(512)),
        ("num_blocks", json!(2048)),
        ("claimed", json!(false)),
        ("zoned", json!(false)),
        ("driver_specific", json!({})),
    ] {
        assert_eq!(one[member], value, "{member}");
    }
    let types =
        |name: &str| luge.call("bdev_get_bdevs", json!({"name": name}))[0]["supported_io_types"].clone();
    assert_eq!(types("m")["write"], true);
    assert_eq!(types("f")["write"], false);
    assert_eq!(types("f")["read"], true);
    assert_eq!(
        luge.call("bdev_get_bdevs", json!({"name": "f"}))[0]["driver_specific"]["aio"]["readonly"],
        true
    );

    assert_eq!(luge.call("bdev_malloc_delete", json!({"name": "m"})), true);
    assert_eq!(luge.call("bdev_malloc_delete", json!({"name": "Malloc0"})), true);
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
    assert_eq!(luge.call("bdev_aio_delete", json!({"name": "f"})), true);
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null), json!([]));
}

#[test]
fn a_device_is_split_into_equal_parts_and_is_whole_again_afterwards() {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 10_240, "block_size": 4096}));
    let split = json!({"base_bdev": "n", "split_count": 3, "split_size_mb": 10});
    assert_eq!(luge.call("bdev_split_create", split.clone()), json!(["np0", "np1", "np2"]));
    let last = &luge.call("bdev_get_bdevs", json!({"name": "np2"}))[0];
    assert_eq!(last["num_blocks"], 2560);
    assert_eq!(last["product_name"], "Split Disk");
    assert_eq!(last["driver_specific"]["split"], json!({"base_bdev": "n", "offset_blocks": 5120}));
    let base = &luge.call("bdev_get_bdevs", json!({"name": "n"}))[0];
    assert_eq!(base["claimed"], true);
    assert_eq!(base["claim_type"], "exclusive_write");

    let busy = luge.refusal("bdev_null_delete", json!({"name": "n"}));
    assert!(busy.code.0 == -16 && busy.message.contains("bdev_split_delete"), "{busy}");
    assert_eq!(luge.refusal("bdev_split_create", split).code.0, -16);
    luge.call("bdev_split_create", json!({"base_bdev": "np0", "split_count": 2}));
    assert_eq!(luge.refusal("bdev_split_delete", json!({"base_bdev": "n"})).code.0, -16);
    luge.call("bdev_split_delete", json!({"base_bdev": "np0"}));
    assert_eq!(luge.call("bdev_split_delete", json!({"base_bdev": "n"})), true);
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
}

#[test]
fn parts_that_do_not_fit_whole_are_left_out() {
    for (blocks, count, size_mb, fitting) in
        [(4096, 2, 2, 1), (10_239, 3, 2, 2), (10_240, 3, 2, 2), (12_287, 4096, 1, 5), (12_288, 3, 2, 3)]
    {
        let luge = Daemon::start();
        luge.call("bdev_null_create", json!({"name": "n", "num_blocks": blocks, "block_size": 512}));
        let split = json!({"base_bdev": "n", "split_count": count, "split_size_mb": size_mb});
        let parts = luge.call("bdev_split_create", split);
        assert_eq!(parts.as_array().unwrap().len(), fitting, "{blocks} blocks: {parts}");
        for (at, part) in parts.as_array().unwrap().iter().enumerate() {
            let shown = &luge.call("bdev_get_bdevs", json!({"name": part}))[0];
            let part_blocks = size_mb * 2048;
            assert_eq!(shown["num_blocks"], part_blocks, "{shown}");
            assert_eq!(shown["driver_specific"]["split"]["offset_blocks"], at * part_blocks, "{shown}");
        }
        let config = luge.call("save_config", Value::Null);
        luge.call("bdev_split_delete", json!({"base_bdev": "n"}));
        luge.call("bdev_null_delete", json!({"name": "n"}));
        luge.call("load_config", config.clone());
        assert_eq!(luge.call("save_config", Value::Null), config);
    }
}

#[test]
fn memory_of_deleted_devices_can_be_used_again() {
    let luge = Daemon::start();
    for _ in 0..4 {
        luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 48 << 11, "block_size": 512}));
        let error = luge
            .refusal("bdev_malloc_create", json!({"name": "o", "num_blocks": 17 << 11, "block_size": 512}));
        assert!(error.code.0 == -12 && error.message.contains("only 16 MiB are left"), "{error}");
        luge.call("bdev_malloc_delete", json!({"name": "m"}));
    }
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 64 << 11, "block_size": 512}));
}

/// Checks the memory policy that the kernel lists for each mapping.
#[test]
fn memory_is_asked_for_from_the_node_that_was_named() {
    let luge = Daemon::start();
    let maps = || std::fs::read_to_string(format!("/proc/{}/numa_maps", luge.child.id())).unwrap();
    luge.call("bdev_malloc_create", json!({"name": "a", "num_blocks": 2048, "block_size": 512}));
    assert_eq!(maps().matches("prefer").count(), 0);
    luge.call(
        "bdev_malloc_create",
        json!({"name": "b", "num_blocks": 2048, "block_size": 512, "numa_id": 0}),
    );
    assert_eq!(maps().matches("prefer:0").count(), 1);
}

#[test]
fn counts_are_shown_for_all_for_some_and_by_core() {
    let luge = Daemon::start();
    for name in ["a", "b"] {
        luge.call("bdev_null_create", json!({"name": name, "num_blocks": 8, "block_size": 512}));
    }
    let all = luge.call("bdev_get_iostat", Value::Null);
    assert_eq!(names(&all["bdevs"]), ["a", "b"]);
    assert!(all["tick_rate"].as_u64() > Some(0) && all["ticks"].as_u64() > Some(0));
    let some = luge.call("bdev_get_iostat", json!({"names": ["b"], "per_channel": false}));
    assert_eq!(some["bdevs"][0]["num_read_ops"], 0);
    let by_core = luge.call("bdev_get_iostat", json!({"names": ["a"], "per_channel": true}));
    assert_eq!(by_core["name"], "a");
    assert_eq!(by_core["channels"].as_array().unwrap().len(), 1);
    let by_name = luge.call("bdev_get_iostat", json!({"name": "b"}));
    assert_eq!(names(&by_name["bdevs"]), ["b"]);
    let channels = luge.call("bdev_get_iostat", json!({"name": "b", "per_channel": true}));
    assert_eq!(channels["name"], "b");
    assert_eq!(channels["channels"].as_array().unwrap().len(), 1);
}

#[test]
fn the_process_describes_itself() {
    let luge = Daemon::start();
    let version = luge.call("spdk_get_version", Value::Null);
    assert_eq!(version["version"], concat!("Luge v", env!("CARGO_PKG_VERSION")));
    let reactors = luge.call("framework_get_reactors", Value::Null);
    assert_eq!(reactors["pid"], luge.child.id());
    assert_eq!(reactors["reactors"].as_array().unwrap().len(), 1);
    for count in ["lcore", "tid", "busy", "idle", "irq", "sys", "usr", "rings"] {
        assert!(reactors["reactors"][0][count].is_u64(), "{count}: {reactors}");
    }
    assert!(reactors["reactors"][0]["load"].is_f64(), "{reactors}");
    let methods = luge.call("rpc_get_methods", Value::Null);
    let all: Vec<_> = methods.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(all.contains(&"bdev_get_bdevs") && all.contains(&"framework_start_init"));
    let now = luge.call("rpc_get_methods", json!({"current": true, "include_aliases": true}));
    assert!(!now.as_array().unwrap().contains(&json!("framework_start_init")));
    assert_eq!(luge.call("framework_wait_init", Value::Null), true);
}

/// Ticks that the only core has spent so far, busy or idle, and the ticks of a second.
fn time_of_the_core(luge: &Daemon) -> (u64, u64) {
    let stats = luge.call("thread_get_stats", Value::Null);
    let core = &stats["threads"][0];
    assert!(core["in_interrupt"].is_boolean(), "{stats}");
    let ticks = ["busy", "idle"].map(|name| core[name].as_u64().unwrap());
    (ticks.iter().sum(), stats["tick_rate"].as_u64().unwrap())
}

#[test]
fn all_time_of_a_core_is_busy_or_idle_also_while_it_sleeps() {
    let luge = Daemon::start();
    let outer = Instant::now();
    let (before, rate) = time_of_the_core(&luge);
    let inner = Instant::now();
    while inner.elapsed() < Duration::from_millis(100) {
        luge.call("spdk_get_version", Value::Null);
    }
    let least = inner.elapsed();
    let passed = Duration::from_nanos((time_of_the_core(&luge).0 - before) * 1000 / (rate / 1_000_000));
    let most = outer.elapsed();
    // A core counts the time of its last turns a little later.
    let slack = Duration::from_millis(10);
    assert!(passed + slack > least, "{passed:?} of {least:?}");
    assert!(passed < most + slack, "{passed:?} of {most:?}");
}

#[test]
fn the_log_level_can_be_set_and_read() {
    let luge = Daemon::start();
    assert_eq!(luge.call("log_get_level", Value::Null), "NOTICE");
    for level in ["ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"] {
        assert_eq!(luge.call("log_set_level", json!({"level": level})), true);
        assert_eq!(luge.call("log_get_level", Value::Null), level);
    }
    luge.refusal("log_set_level", json!({"level": "LOUD"}));
    assert_eq!(luge.call("log_get_level", Value::Null), "DEBUG");
}

#[test]
fn who_waits_for_a_device_sees_it_when_it_appears() {
    let luge = Daemon::start();
    let missing = luge.refusal("bdev_get_bdevs", json!({"name": "late", "timeout": 50}));
    assert_eq!(missing.code.0, -19);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| luge.call("bdev_get_bdevs", json!({"name": "late", "timeout": 20_000})));
        luge.call("bdev_null_create", json!({"name": "other", "num_blocks": 8, "block_size": 512}));
        luge.call("bdev_null_create", json!({"name": "late", "num_blocks": 8, "block_size": 512}));
        assert_eq!(names(&waiter.join().unwrap()), ["late"]);
    });
}

#[test]
fn nothing_is_served_before_the_start_that_was_asked_to_wait() {
    let luge = Daemon::with(&["--wait-for-rpc"]);
    assert!(luge.greeting.contains("waits for framework_start_init"), "{}", luge.greeting);
    let early = luge.refusal("bdev_get_bdevs", Value::Null);
    assert!(early.code.0 == -1 && early.message.contains("framework_start_init"), "{early}");
    assert_eq!(luge.call("log_set_level", json!({"level": "INFO"})), true);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| luge.call("framework_wait_init", Value::Null));
        assert_eq!(luge.call("framework_start_init", Value::Null), true);
        assert_eq!(waiter.join().unwrap(), true);
    });
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null), json!([]));
    assert_eq!(luge.refusal("framework_start_init", Value::Null).code.0, -1);
}

#[test]
fn an_instance_that_is_asked_to_end_ends_and_leaves_nothing_behind() {
    for signal in ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1"] {
        let mut luge = Daemon::start();
        luge.call("bdev_malloc_create", json!({"num_blocks": 8, "block_size": 512}));
        assert_eq!(luge.call("spdk_kill_instance", json!({"sig_name": signal})), true);
        assert_eq!(luge.exit_code(), Some(0), "{signal}");
        assert_eq!(std::fs::read_dir(luge.folder.path()).unwrap().count(), 0, "{signal}");
    }
    let mut luge = Daemon::start();
    let _ = luge.client().call("spdk_kill_instance", json!({"sig_name": "SIGKILL"}));
    eventually("the end", || luge.child.try_wait().unwrap().is_some());
}
