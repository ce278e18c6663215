//! Devices on vhost-user sockets, up to the socket.

use crate::daemon::{Daemon, LUGE, command, eventually};
use luge_rpc::CallError;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

/// A daemon with a null device `n`, served as `v`.
fn serving(args: &[&str]) -> Daemon {
    let luge = Daemon::with(args);
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 4096, "block_size": 512}));
    let params = json!({"ctrlr": "v", "dev_name": "n", "transport": "vhost_user_blk", "packed_ring": false});
    assert_eq!(luge.call("vhost_create_blk_controller", params), true);
    luge
}

#[test]
fn a_device_is_served_shown_and_no_longer_served() {
    let luge = serving(&[]);
    assert!(std::fs::metadata(luge.path("v")).unwrap().file_type().is_socket());
    let list = luge.call("vhost_get_controllers", Value::Null);
    let socket = std::fs::canonicalize(luge.path("v")).unwrap();
    assert_eq!(
        list,
        json!([{
            "ctrlr": "v", "cpumask": "0x1", "delay_base_us": 0, "iops_threshold": 0, "socket": socket, "listening": true,
            "num_queues": 256, "sessions": [],
            "front_ends": {"connections": 0, "protocol_errors": 0, "silent": 0, "waited": 0, "waiting": 0,
                "cut_off_in_a_row": 0, "pause_left_ms": 0},
            "backend_specific": {"block": {"readonly": false, "bdev": "n", "transport": "vhost_user_blk"}},
        }])
    );
    assert_eq!(luge.call("vhost_get_controllers", json!({"name": "v"})), list);
    let bdev = &luge.call("bdev_get_bdevs", json!({"name": "n"}))[0];
    assert_eq!(bdev["claimed"], true);
    assert_eq!(bdev["claim_type"], "read_many_write_shared");
    assert_eq!(luge.call("vhost_delete_controller", json!({"ctrlr": "v"})), true);
    assert!(!std::fs::exists(luge.path("v")).unwrap());
    assert_eq!(luge.call("vhost_get_controllers", Value::Null), json!([]));
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
}

#[test]
fn a_controller_offers_as_many_queues_as_it_was_given_and_saves_their_number() {
    let luge = serving(&[]);
    for (queues, code) in
        [(json!(0), -32602), (json!(257), -32602), (json!(-1), -32602), (json!("4"), -32602)]
    {
        let params = json!({"ctrlr": "w", "dev_name": "n", "num_queues": queues});
        assert_eq!(luge.refusal("vhost_create_blk_controller", params).code.0, code, "{queues}");
    }
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "w", "dev_name": "n", "num_queues": 4}));
    let shown = &luge.call("vhost_get_controllers", json!({"name": "w"}))[0];
    assert_eq!(shown["num_queues"], 4);
    let saved = luge.call("save_config", Value::Null).to_string();
    assert_eq!(saved.matches("\"num_queues\":4").count(), 1, "{saved}");
    assert_eq!(saved.matches("num_queues").count(), 1, "{saved}");
    let refused = bench(&luge, "w", 5);
    assert!(!refused.status.success());
    assert!(bench(&luge, "w", 4).status.success());
}

/// Runs the load generator for a moment on so many queues of a controller.
fn bench(luge: &Daemon, ctrlr: &str, queues: u16) -> Output {
    let mut bench = Command::new(LUGE);
    bench.arg("bench").arg(luge.path(ctrlr)).args(["--runtime", "0.05", "--iodepth", "1"]);
    bench.args(["--queues", &queues.to_string()]).output().unwrap()
}

#[test]
fn a_front_end_for_which_descriptors_are_short_is_refused_with_the_limit_and_the_remedy() {
    let luge = Daemon::with_descriptors(1024);
    for name in ["v", "w"] {
        let bdev = json!({"name": format!("n{name}"), "num_blocks": 4096, "block_size": 512});
        luge.call("bdev_null_create", bdev);
        let disk = json!({"ctrlr": name, "dev_name": format!("n{name}")});
        luge.call("vhost_create_blk_controller", disk);
    }
    let mut first = command(LUGE);
    first.arg("bench").arg(luge.path("v")).args(["--runtime", "30", "--iodepth", "1", "--queues", "130"]);
    let mut first = first.stdout(Stdio::null()).spawn().unwrap();
    let shown = || luge.call("vhost_get_controllers", json!({"name": "v"}))[0]["sessions"].clone();
    eventually("the first front end", || shown()[0]["max_queues"] == 130);
    let refused = bench(&luge, "w", 130);
    let served = bench(&luge, "w", 1);
    let sessions = shown();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!refused.status.success());
    assert!(served.status.success(), "a front end with one queue is served");
    assert_eq!(sessions[0]["max_queues"], 130, "the first front end is served still");
    let log = std::fs::read_to_string(luge.path("log")).unwrap();
    assert!(log.contains("w: the front end was cut off: "), "{log}");
    assert!(log.contains("too few file descriptors: 5 more are needed; of 1024, "), "{log}");
    assert!(log.contains("raise the limit (ulimit -Hn, LimitNOFILE=)"), "{log}");
}

#[test]
fn a_controller_for_which_descriptors_are_short_is_refused_and_nothing_remains_of_it() {
    let luge = Daemon::with_descriptors(262);
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 4096, "block_size": 512}));
    let disk = |name: &str| json!({"ctrlr": name, "dev_name": "n"});
    for name in ["a", "b"] {
        luge.call("vhost_create_blk_controller", disk(name));
    }
    let error = luge.refusal("vhost_create_blk_controller", disk("c"));
    assert_eq!(error.code.0, -24);
    assert!(error.message.starts_with("Too many open files: too few file descriptors: 16 more"), "{error}");
    assert!(error.message.contains("LimitNOFILE="), "{error}");
    assert!(!std::fs::exists(luge.path("c")).unwrap());
    let log = std::fs::read_to_string(luge.path("log")).unwrap();
    assert!(log.contains("this process may have 262 file descriptors"), "{log}");
    luge.call("vhost_delete_controller", json!({"ctrlr": "a"}));
    luge.call("vhost_create_blk_controller", disk("c"));
}

#[test]
fn a_device_in_use_is_not_deleted_and_its_user_is_named() {
    let luge = serving(&[]);
    let readonly = json!({"ctrlr": "w", "dev_name": "n", "readonly": true, "cpumask": "[0]"});
    luge.call("vhost_create_blk_controller", readonly);
    let shown = &luge.call("vhost_get_controllers", json!({"name": "w"}))[0];
    assert_eq!(shown["backend_specific"]["block"]["readonly"], true);
    for user in ["v", "w"] {
        let error = luge.refusal("bdev_null_delete", json!({"name": "n"}));
        assert!(
            error.code.0 == -16 && error.message.contains(&format!("vhost controller {user}")),
            "{error}"
        );
        luge.call("vhost_delete_controller", json!({"ctrlr": user}));
    }
    luge.call("bdev_null_delete", json!({"name": "n"}));
}

/// Connects to `v`, and waits until the daemon lists the session.
fn front_end(luge: &Daemon) -> UnixStream {
    let front_end = UnixStream::connect(luge.path("v")).unwrap();
    eventually("the session", || sessions(luge) != json!([]));
    front_end
}

fn sessions(luge: &Daemon) -> Value {
    luge.call("vhost_get_controllers", json!({"name": "v"}))[0]["sessions"].clone()
}

#[test]
fn the_deletion_of_a_controller_waits_for_a_front_end_that_is_just_leaving() {
    let luge = serving(&[]);
    let front_end = front_end(&luge);
    std::thread::scope(|scope| {
        let deletion = scope.spawn(|| luge.client().call("vhost_delete_controller", json!({"ctrlr": "v"})));
        // Twice through the control thread: no call is delayed meanwhile.
        for name in ["a", "b"] {
            luge.call("bdev_null_create", json!({"name": name, "num_blocks": 8, "block_size": 512}));
        }
        drop(front_end);
        assert_eq!(deletion.join().unwrap().unwrap(), true);
    });
    assert_eq!(luge.call("vhost_get_controllers", Value::Null), json!([]));
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
}

#[test]
fn deletions_that_wait_for_one_front_end_end_together_and_one_of_them_deletes() {
    let luge = serving(&[]);
    let front_end = front_end(&luge);
    let codes: Vec<_> = std::thread::scope(|scope| {
        let delete = || match luge.client().call("vhost_delete_controller", json!({"ctrlr": "v"})) {
            Err(CallError::Rpc(error)) => error.code.0,
            answer => answer.map(|_| 0).unwrap(),
        };
        let deletions: Vec<_> = (0..3).map(|_| scope.spawn(delete)).collect();
        drop(front_end);
        deletions.into_iter().map(|deletion| deletion.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|&&code| code == -19).count(), 2, "{codes:?}");
}

#[test]
fn the_process_ends_while_a_deletion_waits_for_a_front_end() {
    let mut luge = serving(&[]);
    let _front_end = front_end(&luge);
    let mut stream = UnixStream::connect(luge.socket()).unwrap();
    let delete =
        json!({"jsonrpc": "2.0", "id": 1, "method": "vhost_delete_controller", "params": {"ctrlr": "v"}});
    stream.write_all(delete.to_string().as_bytes()).unwrap();
    luge.call("spdk_kill_instance", json!({"sig_name": "SIGTERM"}));
    assert_eq!(luge.exit_code(), Some(0));
}

#[test]
fn a_controller_with_a_front_end_is_not_deleted_until_that_has_left() {
    let luge = serving(&[]);
    let front_end = front_end(&luge);
    let sessions = || sessions(&luge);
    assert_eq!(sessions()[0]["name"], "vs1");
    assert_eq!(sessions()[0]["started"], false);
    let error = std::thread::scope(|scope| {
        let deletion = scope.spawn(|| luge.refusal("vhost_delete_controller", json!({"ctrlr": "v"})));
        let looks = (0..).take_while(|_| {
            luge.call("bdev_null_create", json!({"name": "m", "num_blocks": 8, "block_size": 512}));
            luge.call("bdev_null_delete", json!({"name": "m"}));
            !deletion.is_finished()
        });
        assert!(looks.count() > 10, "the deletion held others up");
        deletion.join().unwrap()
    });
    assert!(error.code.0 == -16 && error.message.contains("front end"), "{error}");
    assert!(error.message.starts_with("Device or resource busy: "), "{error}");
    drop(front_end);
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
}

#[test]
fn a_served_device_is_saved_and_loaded() {
    let luge = serving(&[]);
    let config = luge.call("save_config", Value::Null);
    let call = json!({"method": "vhost_create_blk_controller",
        "params": {"ctrlr": "v", "dev_name": "n", "cpumask": "0x1", "readonly": false}});
    assert_eq!(config["subsystems"][2], json!({"subsystem": "vhost_blk", "config": [call]}));
    let other = Daemon::start();
    other.call("load_config", config.clone());
    assert_eq!(other.call("save_config", Value::Null), config);
    luge.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    assert_eq!(luge.call("save_config", Value::Null)["subsystems"][2]["config"], json!([]));
}

#[test]
fn the_process_ends_with_a_front_end_connected() {
    let mut luge = serving(&[]);
    let _front_end = UnixStream::connect(luge.path("v")).unwrap();
    luge.call("spdk_kill_instance", json!({"sig_name": "SIGTERM"}));
    assert_eq!(luge.exit_code(), Some(0));
    assert_eq!(std::fs::read_dir(luge.folder.path()).unwrap().count(), 0);
}
