//! Saved configurations, which must restore the same objects.

use crate::daemon::{Daemon, LUGE, command, eventually, failure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn furnish(luge: &Daemon, file: &str) {
    luge.call("bdev_malloc_create", json!({"num_blocks": 2048, "block_size": 512, "numa_id": -1}));
    luge.call("bdev_null_create", json!({"name": "z", "num_blocks": 4096, "block_size": 4096}));
    luge.call("bdev_split_create", json!({"base_bdev": "z", "split_count": 2, "split_size_mb": 4}));
    luge.call("bdev_aio_create", json!({"name": "a", "filename": file, "readonly": true}));
    luge.call("bdev_null_create", json!({"name": "gone", "num_blocks": 8, "block_size": 512}));
    luge.call("bdev_null_delete", json!({"name": "gone"}));
}

/// Makes a file that all daemons can reach.
fn file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    file
}

#[test]
fn what_is_saved_can_be_loaded_by_call_and_at_the_start() {
    let file = file();
    let first = Daemon::start();
    furnish(&first, file.path().to_str().unwrap());
    let config = first.call("save_config", Value::Null);
    let bdevs = first.call("bdev_get_bdevs", Value::Null);
    assert!(!config.to_string().contains("gone"));

    let by_call = Daemon::start();
    assert_eq!(by_call.call("load_config", config.clone()), true);
    assert_eq!(by_call.call("save_config", Value::Null), config);
    assert_eq!(by_call.call("bdev_get_bdevs", Value::Null), bdevs);

    let at_start = start_with(&config.to_string());
    assert_eq!(at_start.call("save_config", Value::Null), config);
    assert_eq!(at_start.call("bdev_get_bdevs", Value::Null), bdevs);
}

#[test]
fn the_parts_that_clients_build_a_configuration_from_are_those_of_the_whole() {
    let file = file();
    let luge = Daemon::start();
    furnish(&luge, file.path().to_str().unwrap());
    let config = luge.call("save_config", Value::Null);
    let parts = luge.call("framework_get_subsystems", Value::Null);
    for (part, whole) in parts.as_array().unwrap().iter().zip(config["subsystems"].as_array().unwrap()) {
        let name = &part["subsystem"];
        assert_eq!(*name, whole["subsystem"]);
        let calls = luge.call("framework_get_config", json!({"name": name, "with_batches": false}));
        assert_eq!(calls, whole["config"]);
    }
    assert_eq!(parts.as_array().unwrap().len(), 5);
}

/// Starts a daemon with a configuration.
pub fn start_with(config: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, config).unwrap();
    Daemon::within(folder, &["-c", path.to_str().unwrap()])
}

#[test]
fn a_call_that_fails_is_named_and_those_before_it_are_undone() {
    let luge = Daemon::start();
    let good =
        json!({"method": "bdev_null_create", "params": {"name": "n", "num_blocks": 8, "block_size": 512}});
    let error = luge
        .refusal("load_config", json!({"subsystems": [{"subsystem": "bdev", "config": [good, good, good]}]}));
    assert_eq!(error.code.0, -17);
    assert!(error.message.starts_with("subsystem bdev, entry 1 (bdev_null_create): "), "{error}");
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null), json!([]));
    let nested = json!({"subsystems": [{"subsystem": "x", "config": [{"method": "load_config"}]}]});
    assert_eq!(luge.refusal("load_config", nested).code.0, -22);
}

#[test]
fn a_configuration_that_cannot_be_made_ends_the_start_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let start = |config: &str| {
        std::fs::write(path("c.json"), config).unwrap();
        let (folder, socket, config) = (path(""), path("r.sock"), path("c.json"));
        failure(&["serve", "--no-huge", "-S", &folder, "-r", &socket, "-s", "64", "-c", &config])
    };
    let said = start(r#"{"subsystems": [{"subsystem": "bdev", "config": [{"method": "bdev_x"}]}]}"#);
    assert!(said.contains("subsystem bdev, entry 0 (bdev_x)"), "{said}");
    let said = start("nonsense");
    assert!(said.contains("save_config") && said.contains(&path("c.json")), "{said}");
    assert!(!std::fs::exists(path("r.sock")).unwrap());
    let said = failure(&["serve", "--no-huge", "-S", &path(""), "-c", "/nowhere/c.json"]);
    assert!(said.contains("/nowhere/c.json"), "{said}");
}

#[test]
fn a_start_that_fails_by_call_leaves_nothing_and_can_be_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    let entry =
        json!({"method": "bdev_null_create", "params": {"name": "n", "num_blocks": 8, "block_size": 512}});
    let config = json!({"subsystems": [{"subsystem": "bdev", "config": [entry, entry]}]});
    std::fs::write(&path, config.to_string()).unwrap();
    let luge = Daemon::within(folder, &["--wait-for-rpc", "-c", path.to_str().unwrap()]);
    for _ in 0..2 {
        let error = luge.refusal("framework_start_init", Value::Null);
        assert!(error.code.0 == -17 && error.message.contains("entry 1"), "{error}");
    }
}

#[test]
fn a_configuration_that_waits_for_the_start_it_is_a_part_of_is_loaded() {
    for method in ["framework_wait_init", "framework_start_init"] {
        let config = json!({"subsystems": [{"subsystem": "x", "config": [{"method": method}]}]});
        let luge = start_with(&config.to_string());
        assert_eq!(luge.call("framework_wait_init", Value::Null), true, "{method}");
        assert_eq!(luge.call("load_config", config), true, "{method}");
    }
}

#[test]
fn a_signal_ends_a_start_whose_configuration_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (path, socket) = (folder.path().join("c.json"), folder.path().join("rpc.sock"));
    let wait = json!({"method": "bdev_get_bdevs", "params": {"name": "nope", "timeout": 100_000}});
    let config = json!({"subsystems": [{"subsystem": "bdev", "config": [wait]}]});
    std::fs::write(&path, config.to_string()).unwrap();
    let mut luge = command(LUGE);
    luge.args(["serve", "--no-huge", "-s", "64", "-S"]).arg(folder.path());
    let mut luge = luge.arg("-r").arg(&socket).arg("-c").arg(&path).spawn().unwrap();
    eventually("the socket", || socket.exists());
    kill_process(Pid::from_child(&luge), Signal::INT).unwrap();
    let mut status = None;
    eventually("the end of luge", || {
        status = luge.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(!socket.exists());
}
