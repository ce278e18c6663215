//! SCSI controllers and their LUNs: the calls of an operator, patient and impatient.

use crate::daemon::{Daemon, LUGE, command, eventually};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::process::{Child, Output, Stdio};

const CREATE: &str = "vhost_create_scsi_controller";
const START: &str = "vhost_start_scsi_controller";
const ADD: &str = "vhost_scsi_controller_add_target";
const REMOVE: &str = "vhost_scsi_controller_remove_target";
const DELETE: &str = "vhost_delete_controller";

/// A daemon with the null devices `n` and `o`, a memory device `m`, and a controller `s` without LUNs.
fn serving() -> Daemon {
    let luge = with_devices(&[]);
    assert_eq!(luge.call(CREATE, json!({"ctrlr": "s"})), true);
    luge
}

fn with_devices(args: &[&str]) -> Daemon {
    let luge = Daemon::with(args);
    for name in ["n", "o"] {
        luge.call("bdev_null_create", json!({"name": name, "num_blocks": 4096, "block_size": 512}));
    }
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 16384, "block_size": 512}));
    luge
}

fn add(luge: &Daemon, target: i32, bdev: &str) -> Value {
    luge.call(ADD, json!({"ctrlr": "s", "scsi_target_num": target, "bdev_name": bdev}))
}

fn code(luge: &Daemon, method: &str, params: Value) -> i32 {
    luge.refusal(method, params).code.0
}

/// Targets of the controller `s`.
fn targets(luge: &Daemon) -> Vec<Value> {
    let shown = luge.call("vhost_get_controllers", json!({"name": "s"}));
    shown[0]["backend_specific"]["scsi"].as_array().unwrap().clone()
}

/// Numbers of the LUNs of the controller `s`, each with its target.
fn luns(luge: &Daemon) -> Vec<String> {
    let of_target = |target: Value| {
        let luns = target["luns"].as_array().unwrap().clone();
        luns.into_iter()
            .map(|lun| {
                format!("{}:{} {}", target["scsi_dev_num"], lun["id"], lun["bdev_name"].as_str().unwrap())
            })
            .collect::<Vec<_>>()
    };
    targets(luge).into_iter().flat_map(of_target).collect()
}

/// Load generator on LUN 0 of a target of the controller `s`.
fn load(luge: &Daemon, target: u32, words: &str) -> Child {
    let mut bench = command(LUGE);
    bench.arg("bench").arg(luge.path("s")).args(["--target", &target.to_string()]).args(words.split(' '));
    bench.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(load: Child) -> Output {
    load.wait_with_output().unwrap()
}

fn is_connected(luge: &Daemon) -> bool {
    let shown = luge.call("vhost_get_controllers", json!({"name": "s"}));
    shown[0]["sessions"].as_array().unwrap().iter().any(|session| session["started"] == true)
}

#[test]
fn a_controller_is_shown_as_of_spdk() {
    let luge = serving();
    assert_eq!(add(&luge, 2, "m"), 2);
    let shown = luge.call("vhost_get_controllers", json!({"name": "s"}))[0].clone();
    let socket = std::fs::canonicalize(luge.path("s")).unwrap();
    assert_eq!(shown["socket"], json!(socket));
    assert_eq!(shown["cpumask"], "0x1");
    assert_eq!(shown["listening"], true);
    assert_eq!(shown["num_queues"], 32);
    assert_eq!(shown["sessions"], json!([]));
    let target = &shown["backend_specific"]["scsi"][0];
    assert_eq!(target["scsi_dev_num"], 2);
    assert_eq!(target["id"], 0);
    assert_eq!(target["target_name"], "Target 2");
    assert_eq!(target["luns"][0]["id"], 0);
    assert_eq!(target["luns"][0]["bdev_name"], "m");
    assert_eq!(target["luns"][0]["state"], "live");
    assert_eq!(
        luge.call("scsi_get_devices", Value::Null),
        json!([{"id": 0, "device_name": "Target 2", "ctrlr": "s"}])
    );
    let bdev = luge.call("bdev_get_bdevs", json!({"name": "m"}))[0].clone();
    assert_eq!(bdev["claimed"], true);
    assert_eq!(luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 2})), true);
    assert_eq!(targets(&luge), [Value::Null; 0]);
    assert_eq!(luge.call("bdev_get_bdevs", json!({"name": "m"}))[0]["claimed"], false);
}

#[test]
fn minus_one_is_the_first_target_without_a_lun() {
    let luge = serving();
    assert_eq!(add(&luge, 0, "n"), 0);
    assert_eq!(add(&luge, -1, "m"), 1);
    luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 0}));
    assert_eq!(add(&luge, -1, "o"), 0);
    assert_eq!(luns(&luge), ["0:0 o", "1:0 m"]);
}

#[test]
fn a_target_has_several_luns_and_each_is_removed_by_its_number() {
    let luge = serving();
    for (lun, bdev) in [(0, "n"), (255, "o"), (7, "m")] {
        let params = json!({"ctrlr": "s", "scsi_target_num": 255, "lun": lun, "bdev_name": bdev});
        assert_eq!(luge.call(ADD, params), 255);
    }
    assert_eq!(luns(&luge), ["255:0 n", "255:7 m", "255:255 o"]);
    luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 255}));
    assert_eq!(luns(&luge), ["255:7 m", "255:255 o"]);
    luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 255, "lun": 255}));
    assert_eq!(luns(&luge), ["255:7 m"]);
}

/// A call that must fail: method, parameters, code, and words of the message.
type Refused = (&'static str, Value, i32, &'static str);

fn wrong_calls_about_controllers() -> Vec<Refused> {
    vec![
        (CREATE, json!({"ctrlr": "s"}), -17, "vhost controller s already exists"),
        (CREATE, json!({"ctrlr": "v"}), -17, "already exists"),
        (CREATE, json!({"ctrlr": "a/b"}), -22, "/"),
        (CREATE, json!({"ctrlr": "rpc.sock"}), -17, "the RPC socket"),
        (CREATE, json!({}), -32602, "ctrlr"),
        (CREATE, json!({"ctrlr": "x", "cpumask": "0x4000000000"}), -32602, "`cpumask`"),
        (CREATE, json!({"ctrlr": "x", "num_queues": 0}), -32602, "`num_queues`"),
        (CREATE, json!({"ctrlr": "x", "num_queues": 255}), -32602, "`num_queues`"),
        (CREATE, json!({"ctrlr": "x", "pr_scope": "host"}), -32602, "pr_scope"),
        (CREATE, json!({"ctrlr": "x", "group": 0}), -32602, "`group`"),
        (CREATE, json!({"ctrlr": "x", "group": 1, "transition_s": 0}), -32602, "`group`"),
        (CREATE, json!({"ctrlr": "x", "transition_s": 3}), -32602, "`transition_s`"),
        (START, json!({"ctrlr": "x"}), -19, "no vhost controller x"),
        (START, json!({"ctrlr": "v"}), -22, "vhost_create_scsi_controller"),
    ]
}

fn wrong_calls_about_luns() -> Vec<Refused> {
    vec![
        (ADD, json!({"ctrlr": "x", "scsi_target_num": 0, "bdev_name": "m"}), -19, "no vhost controller x"),
        (ADD, json!({"ctrlr": "v", "scsi_target_num": 0, "bdev_name": "m"}), -22, "is a disk"),
        (ADD, json!({"ctrlr": "s", "scsi_target_num": 1, "bdev_name": "x"}), -19, "no bdev x"),
        (
            ADD,
            json!({"ctrlr": "s", "scsi_target_num": 0, "bdev_name": "m"}),
            -17,
            "LUN 0 of target 0 is bdev n",
        ),
        (
            ADD,
            json!({"ctrlr": "s", "scsi_target_num": 1, "bdev_name": "n"}),
            -17,
            "LUN 0 of target 0 of this",
        ),
        (ADD, json!({"ctrlr": "s", "scsi_target_num": 256, "bdev_name": "m"}), -32602, "`scsi_target_num`"),
        (ADD, json!({"ctrlr": "s", "scsi_target_num": -2, "bdev_name": "m"}), -32602, "`scsi_target_num`"),
        (ADD, json!({"ctrlr": "s", "scsi_target_num": 1, "lun": 256, "bdev_name": "m"}), -32602, "`lun`"),
        (
            ADD,
            json!({"ctrlr": "s", "scsi_target_num": 1, "bdev_name": "m", "serial": ""}),
            -32602,
            "`serial`",
        ),
        (
            ADD,
            json!({"ctrlr": "s", "scsi_target_num": 1, "bdev_name": "m", "serial": "ü"}),
            -32602,
            "`serial`",
        ),
        (
            ADD,
            json!({"ctrlr": "s", "scsi_target_num": 1, "bdev_name": "m", "product": "x".repeat(17)}),
            -32602,
            "`product`",
        ),
        (REMOVE, json!({"ctrlr": "x", "scsi_target_num": 0}), -19, "no vhost controller x"),
        (REMOVE, json!({"ctrlr": "v", "scsi_target_num": 0}), -22, "is a disk"),
        (REMOVE, json!({"ctrlr": "s", "scsi_target_num": 1}), -19, "no LUN 0 of target 1"),
        (REMOVE, json!({"ctrlr": "s", "scsi_target_num": 0, "lun": 1}), -19, "no LUN 1 of target 0"),
        (REMOVE, json!({"ctrlr": "s", "scsi_target_num": 256}), -32602, "`scsi_target_num`"),
        (REMOVE, json!({"ctrlr": "s", "scsi_target_num": -1}), -32602, "scsi_target_num"),
    ]
}

#[test]
fn wrong_calls_are_refused_by_name_and_change_nothing() {
    let luge = serving();
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "o"}));
    add(&luge, 0, "n");
    let calls = wrong_calls_about_controllers().into_iter().chain(wrong_calls_about_luns());
    for (method, params, expected, said) in calls {
        let refusal = luge.refusal(method, params.clone());
        assert_eq!(refusal.code.0, expected, "{method} {params}: {refusal}");
        assert!(refusal.message.contains(said), "{method} {params}: {refusal}");
    }
    assert_eq!(luns(&luge), ["0:0 n"]);
    assert_eq!(luge.call("bdev_get_bdevs", json!({"name": "m"}))[0]["claimed"], false);
    assert_eq!(luge.call("vhost_get_controllers", Value::Null).as_array().unwrap().len(), 2);
    assert!(!std::fs::exists(luge.path("x")).unwrap());
}

#[test]
fn a_full_controller_has_no_free_target_and_keeps_all_it_has() {
    let luge = serving();
    luge.call("bdev_null_create", json!({"name": "big", "num_blocks": 1 << 20, "block_size": 512}));
    luge.call("bdev_split_create", json!({"base_bdev": "big", "split_count": 256}));
    for number in 0..256 {
        assert_eq!(add(&luge, -1, &format!("bigp{number}")), number);
    }
    assert_eq!(code(&luge, ADD, json!({"ctrlr": "s", "scsi_target_num": -1, "bdev_name": "m"})), -28);
    luge.call(ADD, json!({"ctrlr": "s", "scsi_target_num": 9, "lun": 1, "bdev_name": "m"}));
    assert_eq!(luns(&luge).len(), 257);
    assert_eq!(luge.call("scsi_get_devices", Value::Null).as_array().unwrap().len(), 256);
    assert_eq!(luge.call("bdev_split_delete", json!({"base_bdev": "big"})), true);
    assert_eq!(luns(&luge), ["9:1 m"]);
}

#[test]
fn a_thousand_luns_are_added_served_saved_and_go_with_their_controller() {
    let luge = serving();
    luge.call("bdev_null_create", json!({"name": "big", "num_blocks": 1 << 20, "block_size": 512}));
    luge.call("bdev_split_create", json!({"base_bdev": "big", "split_count": 1000}));
    let mut client = luge.client();
    for number in 0..1000 {
        let (target, lun) = (number / 250, number % 250);
        let params = json!({"ctrlr": "s", "scsi_target_num": target, "lun": lun, "bdev_name": format!("bigp{number}")});
        client.call(ADD, params).unwrap();
    }
    let run = ended(load(&luge, 3, "--runtime 0.05 --bs 512"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(luns(&luge).len(), 1000);
    let saved = luge.call("save_config", Value::Null);
    assert_eq!(saved.to_string().matches(ADD).count(), 1000);
    assert_eq!(luge.call(DELETE, json!({"ctrlr": "s"})), true);
    assert_eq!(luge.call("bdev_split_delete", json!({"base_bdev": "big"})), true);
}

#[test]
fn a_device_that_is_deleted_takes_its_luns_with_it_and_other_users_keep_it() {
    let luge = serving();
    luge.call(CREATE, json!({"ctrlr": "t"}));
    for (ctrlr, bdev) in [("s", "m"), ("t", "m"), ("s", "n")] {
        luge.call(ADD, json!({"ctrlr": ctrlr, "scsi_target_num": -1, "bdev_name": bdev}));
    }
    assert_eq!(luge.call("bdev_malloc_delete", json!({"name": "m"})), true);
    assert_eq!(luns(&luge), ["1:0 n"]);
    let other = luge.call("vhost_get_controllers", json!({"name": "t"}));
    assert_eq!(other[0]["backend_specific"]["scsi"], json!([]));
    assert!(!luge.call("save_config", Value::Null).to_string().contains("\"m\""));

    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    let refusal = luge.refusal("bdev_null_delete", json!({"name": "n"}));
    assert_eq!(refusal.code.0, -16);
    assert!(refusal.message.contains("vhost controller v"), "{refusal}");
    assert_eq!(luns(&luge), ["1:0 n"], "nothing was removed");
    assert_eq!(code(&luge, "bdev_malloc_delete", json!({"name": "n"})), -22);
    assert_eq!(luns(&luge), ["1:0 n"]);
    // What it had was given back.
    luge.call("bdev_malloc_create", json!({"name": "all", "num_blocks": 64 * 2048, "block_size": 512}));
}

#[test]
fn parts_that_are_deleted_take_their_luns_with_them() {
    let luge = serving();
    luge.call("bdev_split_create", json!({"base_bdev": "n", "split_count": 3}));
    assert_eq!(code(&luge, ADD, json!({"ctrlr": "s", "scsi_target_num": 0, "bdev_name": "n"})), -16);
    add(&luge, 0, "np0");
    add(&luge, 1, "np2");
    assert_eq!(code(&luge, "bdev_null_delete", json!({"name": "n"})), -16);
    assert_eq!(luge.call("bdev_split_delete", json!({"base_bdev": "n"})), true);
    assert_eq!(luns(&luge), [""; 0]);
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
}

#[test]
fn names_of_a_volume_are_set_once_and_shown_and_saved() {
    let luge = serving();
    luge.call(CREATE, json!({"ctrlr": "t"}));
    let names =
        json!({"ctrlr": "s", "scsi_target_num": 0, "bdev_name": "m", "serial": "S 1", "product": "Disk"});
    luge.call(ADD, names);
    let shown = |ctrlr: &str| {
        let shown = luge.call("vhost_get_controllers", json!({"name": ctrlr}));
        shown[0]["backend_specific"]["scsi"][0]["luns"][0].clone()
    };
    assert_eq!(shown("s")["serial"], "S 1");
    assert_eq!(shown("s")["product"], "Disk");
    let other =
        |serial: &str| json!({"ctrlr": "t", "scsi_target_num": 5, "bdev_name": "m", "serial": serial});
    let refusal = luge.refusal(ADD, other("S 2"));
    assert_eq!(refusal.code.0, -32602);
    assert!(refusal.message.contains("'S 1'"), "{refusal}");
    luge.call(ADD, json!({"ctrlr": "t", "scsi_target_num": 5, "bdev_name": "m"}));
    assert_eq!(shown("t")["serial"], "S 1");
    assert_eq!(shown("t")["naa"], shown("s")["naa"]);
    luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 0}));
    assert_eq!(luge.call("save_config", Value::Null).to_string().matches("\"S 1\"").count(), 1);
    luge.call(REMOVE, json!({"ctrlr": "t", "scsi_target_num": 5}));
    luge.call(ADD, other("S 2"));
    assert_eq!(shown("t")["serial"], "S 2");
}

#[test]
fn a_controller_that_is_delayed_listens_when_it_is_started() {
    let luge = with_devices(&[]);
    luge.call(CREATE, json!({"ctrlr": "s", "delay": true}));
    assert!(!std::fs::exists(luge.path("s")).unwrap());
    let shown = || luge.call("vhost_get_controllers", json!({"name": "s"}))[0].clone();
    assert_eq!(shown()["listening"], false);
    add(&luge, 0, "n");
    luge.call(
        "vhost_controller_set_coalescing",
        json!({"ctrlr": "s", "delay_base_us": 50, "iops_threshold": 90_000}),
    );
    let vm = json!({"name": "vm", "cpus": 1, "memory_mb": 128, "disks": ["s"]});
    assert_eq!(code(&luge, "vm_create", vm.clone()), -19);
    assert_eq!(luge.call(START, json!({"ctrlr": "s"})), true);
    assert_eq!(luge.call("vm_create", vm), "vm");
    assert_eq!(luge.call(START, json!({"ctrlr": "s"})), true, "once more");
    assert_eq!(shown()["listening"], true);
    assert_eq!(shown()["delay_base_us"], 50);
    assert_eq!(shown()["iops_threshold"], 90_000);
    assert!(UnixStream::connect(luge.path("s")).is_ok());
    assert_eq!(luge.call(DELETE, json!({"ctrlr": "s", "force": true})), true);
    luge.call(CREATE, json!({"ctrlr": "s", "delay": true}));
    assert_eq!(luge.call(DELETE, json!({"ctrlr": "s"})), true);
}

#[test]
fn a_start_that_fails_can_be_repeated() {
    let luge = with_devices(&[]);
    luge.call(CREATE, json!({"ctrlr": "s", "delay": true}));
    std::fs::write(luge.path("s"), "a file in the way").unwrap();
    assert_eq!(code(&luge, START, json!({"ctrlr": "s"})), -17);
    std::fs::remove_file(luge.path("s")).unwrap();
    assert_eq!(luge.call(START, json!({"ctrlr": "s"})), true);
}

#[test]
fn coalescing_is_checked_and_saved() {
    let luge = serving();
    let set = |us: u32, iops: u32| json!({"ctrlr": "s", "delay_base_us": us, "iops_threshold": iops});
    let method = "vhost_controller_set_coalescing";
    for (params, said) in [(set(1001, 1), "`delay_base_us`"), (set(1, 0), "`iops_threshold`")] {
        let refusal = luge.refusal(method, params);
        assert_eq!(refusal.code.0, -32602);
        assert!(refusal.message.contains(said), "{refusal}");
    }
    assert_eq!(luge.call(method, set(1000, 1)), true);
    assert_eq!(luge.call(method, set(7, 60_000)), true);
    let saved = luge.call("save_config", Value::Null).to_string();
    assert_eq!(saved.matches(method).count(), 1);
    assert_eq!(luge.call(method, set(0, 0)), true);
    luge.call(DELETE, json!({"ctrlr": "s"}));
    assert!(!luge.call("save_config", Value::Null).to_string().contains(method));
}

#[test]
fn a_saved_configuration_starts_controllers_after_their_luns_and_is_saved_as_it_was() {
    let first = with_devices(&[]);
    first.call(CREATE, json!({"ctrlr": "s", "tenant": "a", "pr_scope": "vm", "group": 3, "num_queues": 4}));
    first.call(CREATE, json!({"ctrlr": "t", "delay": true, "group": 3, "transition_s": 30}));
    for (ctrlr, target, lun, bdev) in [("s", 3, 0, "m"), ("t", 0, 9, "m"), ("s", 3, 7, "n")] {
        first.call(ADD, json!({"ctrlr": ctrlr, "scsi_target_num": target, "lun": lun, "bdev_name": bdev}));
    }
    let config = first.call("save_config", Value::Null);
    let of_scsi = config["subsystems"][1].clone();
    assert_eq!(of_scsi["subsystem"], "vhost_scsi");
    let methods: Vec<_> =
        of_scsi["config"].as_array().unwrap().iter().map(|call| call["method"].clone()).collect();
    assert_eq!(methods, [CREATE, CREATE, ADD, ADD, ADD, START]);

    let second = Daemon::start();
    second.call("load_config", config.clone());
    assert_eq!(second.call("save_config", Value::Null), config);
    assert_eq!(luns(&second), luns(&first));
    assert_eq!(
        second.call("vhost_get_controllers", json!({"name": "t"}))[0]["listening"],
        false,
        "it was not started"
    );
    assert_eq!(second.refusal("load_config", config.clone()).code.0, -17);
    assert_eq!(second.call("save_config", Value::Null), config, "what is there stays");
}

#[test]
fn a_configuration_that_fails_leaves_no_lun_behind() {
    let luge = serving();
    let add = |target: i32, bdev: &str| json!({"method": ADD, "params": {"ctrlr": "s", "scsi_target_num": target, "bdev_name": bdev}});
    let config = json!({"subsystems": [{"subsystem": "vhost_scsi", "config": [
        {"method": CREATE, "params": {"ctrlr": "t"}}, add(-1, "n"), add(-1, "m"), add(-1, "gone"),
    ]}]});
    assert_eq!(code(&luge, "load_config", config), -19);
    assert_eq!(luns(&luge), [""; 0]);
    assert_eq!(luge.call("vhost_get_controllers", Value::Null).as_array().unwrap().len(), 1);
}

#[test]
fn a_configuration_that_starts_a_controller_of_others_is_refused_and_starts_nothing() {
    let luge = with_devices(&[]);
    luge.call(CREATE, json!({"ctrlr": "s", "delay": true}));
    let config = json!({"subsystems": [{"subsystem": "vhost_scsi", "config": [
        {"method": START, "params": {"ctrlr": "s"}},
        {"method": ADD, "params": {"ctrlr": "s", "scsi_target_num": 0, "bdev_name": "gone"}},
    ]}]});
    let refusal = luge.refusal("load_config", config);
    assert_eq!(refusal.code.0, -32602);
    assert!(refusal.message.contains("only controllers that it creates"), "{}", refusal.message);
    assert_eq!(luge.call("vhost_get_controllers", Value::Null)[0]["listening"], false);
}

#[test]
fn endpoints_of_all_protocols_take_a_scope_of_reservations_which_is_saved() {
    let luge = with_devices(&[]);
    luge.call(
        "vhost_create_blk_controller",
        json!({"ctrlr": "b", "dev_name": "m", "tenant": "a", "pr_scope": "vm"}),
    );
    let subsystem =
        json!({"nqn": "nqn.2016-06.io.spdk:c", "allow_any_host": true, "tenant": "a", "pr_scope": "vm"});
    luge.call("nvmf_create_subsystem", subsystem);
    luge.call(CREATE, json!({"ctrlr": "s", "tenant": "a", "pr_scope": "vm"}));
    let saved = luge.call("save_config", Value::Null).to_string();
    assert_eq!(saved.matches(r#""pr_scope":"vm""#).count(), 3, "{saved}");
    assert_eq!(saved.matches(r#""tenant":"a""#).count(), 3, "{saved}");
    let wrong = json!({"ctrlr": "c", "dev_name": "m", "pr_scope": "host"});
    assert_eq!(code(&luge, "vhost_create_blk_controller", wrong), -32602);
}

#[test]
fn the_configuration_of_spdk_is_loaded_word_for_word() {
    let luge = with_devices(&[]);
    let config = json!({"subsystems": [{"subsystem": "vhost_scsi", "config": [
        {"method": CREATE, "params": {"ctrlr": "s", "cpumask": "1", "delay": true}},
        {"method": ADD, "params": {"ctrlr": "s", "scsi_target_num": 0, "bdev_name": "n"}},
        {"method": ADD, "params": {"ctrlr": "s", "scsi_target_num": 7, "bdev_name": "m"}},
        {"method": START, "params": {"ctrlr": "s"}},
    ]}]});
    assert_eq!(luge.call("load_config", config), true);
    assert_eq!(luns(&luge), ["0:0 n", "7:0 m"]);
}

#[test]
fn a_front_end_reads_what_it_wrote_while_luns_come_and_go() {
    let luge = serving();
    add(&luge, 0, "m");
    let run =
        load(&luge, 0, "--rw randrw --bs 4k --iodepth 16 --queues 2 --runtime 1 --verify crc32c --json");
    eventually("the front end", || is_connected(&luge));
    for _ in 0..20 {
        assert_eq!(add(&luge, -1, "n"), 1);
        luge.call(ADD, json!({"ctrlr": "s", "scsi_target_num": 0, "lun": 1, "bdev_name": "o"}));
        luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 1}));
        luge.call(REMOVE, json!({"ctrlr": "s", "scsi_target_num": 0, "lun": 1}));
    }
    let run = ended(run);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(report["verified"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_lun_is_removed_and_its_device_deleted_under_load() {
    let luge = serving();
    add(&luge, 0, "m");
    let run = load(&luge, 0, "--rw randwrite --bs 4k --iodepth 32 --runtime 20");
    eventually("the front end", || is_connected(&luge));
    assert_eq!(luge.call("bdev_malloc_delete", json!({"name": "m"})), true);
    let run = ended(run);
    assert!(!run.status.success(), "its LUN is gone");
    assert_eq!(luns(&luge), [""; 0]);
}

#[test]
fn a_controller_with_a_front_end_stays_unless_it_is_forced() {
    let luge = serving();
    add(&luge, 0, "m");
    let run = load(&luge, 0, "--rw randread --iodepth 8 --runtime 20");
    eventually("the front end", || is_connected(&luge));
    assert_eq!(code(&luge, DELETE, json!({"ctrlr": "s"})), -16);
    assert_eq!(luns(&luge), ["0:0 m"]);
    assert_eq!(luge.call(DELETE, json!({"ctrlr": "s", "force": true})), true);
    assert!(!ended(run).status.success());
    assert_eq!(luge.call("bdev_malloc_delete", json!({"name": "m"})), true);
}

#[test]
fn a_resize_reaches_the_luns_and_the_status_tells_it() {
    let luge = serving();
    luge.call(CREATE, json!({"ctrlr": "t"}));
    luge.call(ADD, json!({"ctrlr": "t", "scsi_target_num": 4, "lun": 2, "bdev_name": "m"}));
    add(&luge, 0, "m");
    assert_eq!(luge.call("bdev_malloc_resize", json!({"name": "m", "new_size": 16})), true);
    let status = luge.call("bdev_get_resize_status", json!({"name": "m"}))[0].clone();
    assert_eq!(status["num_blocks"], 32_768);
    let endpoints = status["endpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[1]["type"], "vhost_scsi");
    assert_eq!(endpoints[1]["ctrlr"], "t");
    assert_eq!(endpoints[1]["scsi_target_num"], 4);
    assert_eq!(endpoints[1]["lun"], 2);
    assert_eq!(endpoints[1]["num_blocks"], 32_768);
    assert_eq!(endpoints[1]["connected"], false);
    assert_eq!(endpoints[1]["seen"], Value::Null);
    assert_eq!(code(&luge, "bdev_malloc_resize", json!({"name": "m", "new_size": 8})), -16);
}

#[test]
fn operators_who_race_for_a_device_get_answers_and_leave_nothing_behind() {
    let luge = serving();
    luge.call(CREATE, json!({"ctrlr": "t"}));
    std::thread::scope(|scope| {
        for ctrlr in ["s", "t", "s"] {
            let luge = &luge;
            scope.spawn(move || {
                let mut client = luge.client();
                for _ in 0..30 {
                    // The others may be at it.
                    let _ = client.call(ADD, json!({"ctrlr": ctrlr, "scsi_target_num": 0, "bdev_name": "m"}));
                    let _ = client.call(REMOVE, json!({"ctrlr": ctrlr, "scsi_target_num": 0}));
                }
            });
        }
        scope.spawn(|| {
            let mut client = luge.client();
            for _ in 0..30 {
                let make = json!({"name": "m", "num_blocks": 16384, "block_size": 512});
                let _ = client.call("bdev_malloc_delete", json!({"name": "m"}));
                let _ = client.call("bdev_malloc_create", make);
            }
        });
    });
    assert_eq!(luge.call(DELETE, json!({"ctrlr": "s"})), true);
    assert_eq!(luge.call(DELETE, json!({"ctrlr": "t"})), true);
    let bdevs = luge.call("bdev_get_bdevs", Value::Null);
    let users: Vec<_> = bdevs.as_array().unwrap().iter().filter(|bdev| bdev["claimed"] == true).collect();
    assert_eq!(users, [&Value::Null; 0]);
    let saved = luge.call("save_config", Value::Null);
    assert_eq!(saved["subsystems"][1]["config"], json!([]));
}

#[test]
fn odd_names_of_devices_and_controllers_are_taken() {
    let luge = Daemon::start();
    let (bdev, ctrlr) = ("FILE:/mnt/a b\"\\", "vhost.0-Größe:1");
    luge.call("bdev_null_create", json!({"name": bdev, "num_blocks": 4096, "block_size": 512}));
    luge.call(CREATE, json!({"ctrlr": ctrlr}));
    luge.call(ADD, json!({"ctrlr": ctrlr, "scsi_target_num": 0, "bdev_name": bdev}));
    let saved = luge.call("save_config", Value::Null);
    let other = Daemon::start();
    other.call("load_config", saved.clone());
    assert_eq!(other.call("save_config", Value::Null), saved);
    luge.call("bdev_null_delete", json!({"name": bdev}));
    luge.call(DELETE, json!({"ctrlr": ctrlr}));
}

#[test]
fn a_daemon_stops_with_luns_and_a_front_end() {
    let mut luge = serving();
    add(&luge, 0, "m");
    add(&luge, 1, "n");
    let run = load(&luge, 0, "--rw randread --iodepth 8 --runtime 20");
    eventually("the front end", || is_connected(&luge));
    luge.signal(rustix::process::Signal::TERM);
    assert_eq!(luge.exit_code(), Some(0));
    assert!(!ended(run).status.success());
}
