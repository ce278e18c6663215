//! NVMe subsystems on vfio-user sockets, up to the socket.

use crate::daemon::{Daemon, eventually};
use serde_json::{Value, json};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

const NQN: &str = "nqn.2016-06.io.spdk:cnode1";
const OTHER: &str = "nqn.2016-06.io.spdk:cnode2";
const DISCOVERY: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// A daemon with a transport, a null device `n` and a memory device `m`.
fn with_transport() -> Daemon {
    let luge = Daemon::start();
    luge.call("bdev_null_create", json!({"name": "n", "num_blocks": 4096, "block_size": 512}));
    luge.call("bdev_malloc_create", json!({"name": "m", "num_blocks": 4096, "block_size": 512}));
    luge.call("nvmf_create_transport", json!({"trtype": "VFIOUSER"}));
    luge
}

/// A daemon with two subsystems, of which the first has the namespace 1 on `n` and a listener in `d`.
fn serving() -> Daemon {
    let luge = with_transport();
    for nqn in [NQN, OTHER] {
        luge.call("nvmf_create_subsystem", json!({"nqn": nqn, "allow_any_host": true, "serial_number": "S"}));
    }
    assert_eq!(luge.call("nvmf_subsystem_add_ns", namespace(NQN, "n")), 1);
    assert_eq!(luge.call("nvmf_subsystem_add_listener", listener(&luge, NQN, "d")), true);
    luge
}

fn namespace(nqn: &str, bdev: &str) -> Value {
    json!({"nqn": nqn, "namespace": {"bdev_name": bdev}})
}

fn listener(luge: &Daemon, nqn: &str, directory: &str) -> Value {
    json!({"nqn": nqn, "listen_address": {"trtype": "VFIOUSER", "traddr": luge.path(directory), "trsvcid": "0"}})
}

fn code(luge: &Daemon, method: &str, params: Value) -> i32 {
    luge.refusal(method, params).code.0
}

fn subsystem(luge: &Daemon, nqn: &str) -> Value {
    luge.call("nvmf_get_subsystems", json!({"nqn": nqn}))[0].clone()
}

fn is_socket(path: &str) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[test]
fn a_subsystem_is_made_served_shown_and_deleted() {
    let luge = serving();
    assert!(is_socket(&luge.path("d/cntrl")));
    let uuid = luge.call("bdev_get_bdevs", json!({"name": "n"}))[0]["uuid"].as_str().unwrap().to_owned();
    let nguid = uuid.replace('-', "").to_uppercase();
    let address =
        json!({"trtype": "VFIOUSER", "adrfam": "unknown", "traddr": luge.path("d"), "trsvcid": "0"});
    assert_eq!(
        subsystem(&luge, NQN),
        json!({
            "nqn": NQN, "subtype": "NVMe", "listen_addresses": [address], "allow_any_host": true, "hosts": [],
            "serial_number": "S", "model_number": "Luge", "max_namespaces": 32, "passthrough": false,
            "min_cntlid": 1, "max_cntlid": 65519, "dmrsl": 0, "wzsl": 0,
            "namespaces": [{"nsid": 1, "bdev_name": "n", "name": "n", "uuid": uuid, "nguid": nguid}],
        })
    );
    let names: Vec<_> = luge.call("nvmf_get_subsystems", Value::Null).as_array().unwrap().clone();
    let names: Vec<_> = names.iter().map(|subsystem| subsystem["nqn"].as_str().unwrap()).collect();
    assert_eq!(names, [DISCOVERY, NQN, OTHER], "some clients skip the first");
    let bdev = &luge.call("bdev_get_bdevs", json!({"name": "n"}))[0];
    assert_eq!(bdev["claimed"], true);
    assert_eq!(bdev["claim_type"], "read_many_write_shared");
    let busy = luge.refusal("bdev_null_delete", json!({"name": "n"}));
    assert_eq!(busy.code.0, -16);
    assert!(busy.message.contains("nvmf_subsystem_remove_ns"), "{busy}");
    assert_eq!(luge.call("nvmf_delete_subsystem", json!({"nqn": NQN})), true);
    assert!(!Path::new(&luge.path("d")).exists(), "Luge had made it");
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
    assert_eq!(code(&luge, "nvmf_get_subsystems", json!({"nqn": NQN})), -19);
}

#[test]
fn namespaces_and_listeners_come_and_go() {
    let luge = serving();
    let wanted = json!({"bdev_name": "m", "nsid": 7, "uuid": "0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1",
        "nguid": "ABCDEF0123456789ABCDEF0123456789", "eui64": "abcdef0123456789"});
    assert_eq!(luge.call("nvmf_subsystem_add_ns", json!({"nqn": NQN, "namespace": wanted})), 7);
    assert_eq!(
        subsystem(&luge, NQN)["namespaces"][1],
        json!({"nsid": 7, "bdev_name": "m", "name": "m", "uuid": "0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1",
            "nguid": "ABCDEF0123456789ABCDEF0123456789", "eui64": "ABCDEF0123456789"})
    );
    luge.call("nvmf_subsystem_add_listener", listener(&luge, NQN, "deep/er/directory"));
    let listeners = luge.call("nvmf_subsystem_get_listeners", json!({"nqn": NQN}));
    assert_eq!(listeners.as_array().unwrap().len(), 2);
    assert_eq!(listeners[0]["address"]["traddr"], luge.path("d"));
    assert_eq!(listeners[0]["ana_state"], "optimized");
    assert_eq!(listeners[0]["clients"]["connected"], false);
    assert_eq!(luge.call("nvmf_subsystem_remove_ns", json!({"nqn": NQN, "nsid": 1})), true);
    assert_eq!(luge.call("nvmf_subsystem_remove_listener", listener(&luge, NQN, "d")), true);
    assert_eq!(subsystem(&luge, NQN)["namespaces"].as_array().unwrap().len(), 1);
    assert_eq!(luge.call("bdev_null_delete", json!({"name": "n"})), true);
    assert!(!is_socket(&luge.path("d/cntrl")));
    assert!(is_socket(&luge.path("deep/er/directory/cntrl")));
}

#[test]
fn one_device_serves_vhost_and_nvme_at_a_time() {
    let luge = serving();
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "n"}));
    assert_eq!(luge.call("nvmf_subsystem_add_ns", namespace(OTHER, "n")), 1);
    assert_eq!(code(&luge, "bdev_split_create", json!({"base_bdev": "n", "split_count": 2})), -16);
    luge.call("bdev_split_create", json!({"base_bdev": "m", "split_count": 2}));
    assert_eq!(code(&luge, "nvmf_subsystem_add_ns", namespace(NQN, "m")), -16);
    assert_eq!(luge.call("nvmf_subsystem_add_ns", namespace(NQN, "mp1")), 2);
    luge.call("nvmf_subsystem_remove_ns", json!({"nqn": OTHER, "nsid": 1}));
    luge.call("nvmf_subsystem_remove_ns", json!({"nqn": NQN, "nsid": 1}));
    assert_eq!(code(&luge, "bdev_null_delete", json!({"name": "n"})), -16);
}

#[test]
fn a_namespace_is_resized_with_its_device() {
    let luge = serving();
    luge.call("bdev_null_resize", json!({"name": "n", "new_size": 8}));
    let status = luge.call("bdev_get_resize_status", json!({"name": "n"}));
    let shown = json!({"type": "nvmf", "nqn": NQN, "nsid": 1, "num_blocks": 16_384, "connected": false,
        "seen": null, "unseen_by": []});
    assert_eq!(status[0]["endpoints"], json!([shown]));
}

#[test]
fn hosts_are_named_and_any_host_is_allowed_or_not() {
    let luge = serving();
    let host = |host: &str| json!({"nqn": NQN, "host": host});
    assert_eq!(luge.call("nvmf_subsystem_add_host", host("nqn.2016-06.io.spdk:host1")), true);
    assert_eq!(subsystem(&luge, NQN)["hosts"], json!([{"nqn": "nqn.2016-06.io.spdk:host1"}]));
    assert_eq!(code(&luge, "nvmf_subsystem_add_host", host("nqn.2016-06.io.spdk:host1")), -32603);
    assert_eq!(code(&luge, "nvmf_subsystem_add_host", host("somebody")), -32602);
    assert_eq!(luge.call("nvmf_subsystem_remove_host", host("nqn.2016-06.io.spdk:host1")), true);
    assert_eq!(code(&luge, "nvmf_subsystem_remove_host", host("nqn.2016-06.io.spdk:host1")), -32603);
    assert_eq!(subsystem(&luge, NQN)["hosts"], json!([]));
    let any = |allow: bool| json!({"nqn": NQN, "allow_any_host": allow});
    assert_eq!(luge.call("nvmf_subsystem_allow_any_host", any(false)), true);
    assert_eq!(subsystem(&luge, NQN)["allow_any_host"], false);
    let saved = luge.call("save_config", Value::Null)["subsystems"][3]["config"].clone();
    let created = saved.as_array().unwrap().iter().find(|call| call["params"]["nqn"] == NQN).unwrap();
    assert_eq!(created["params"]["allow_any_host"], false);
}

#[test]
fn a_client_has_a_controller_and_queue_pairs_are_counted_by_core() {
    let luge = serving();
    assert_eq!(luge.call("nvmf_subsystem_get_controllers", json!({"nqn": NQN})), json!([]));
    assert_eq!(luge.call("nvmf_subsystem_get_qpairs", json!({"nqn": NQN})), json!([]));
    let stats = luge.call("nvmf_get_stats", Value::Null);
    assert!(stats["tick_rate"].as_u64() > Some(0), "{stats}");
    assert_eq!(stats["poll_groups"].as_array().unwrap().len(), 1);
    assert_eq!(stats["poll_groups"][0]["current_io_qpairs"], 0);
    assert_eq!(stats["poll_groups"][0]["transports"], json!([{"trtype": "VFIOUSER"}]));
    let _client = UnixStream::connect(luge.path("d/cntrl")).unwrap();
    let clients = || luge.call("nvmf_subsystem_get_listeners", json!({"nqn": NQN}))[0]["clients"].clone();
    eventually("the client", || clients()["connected"] == true);
}

#[test]
fn a_saved_configuration_makes_all_of_it_again() {
    let luge = serving();
    luge.call("nvmf_subsystem_add_host", json!({"nqn": OTHER, "host": "nqn.2016-06.io.spdk:host1"}));
    luge.call("nvmf_subsystem_add_ns", namespace(OTHER, "m"));
    luge.call("nvmf_subsystem_remove_ns", json!({"nqn": NQN, "nsid": 1}));
    let wanted = json!({"nqn": NQN, "namespace": {"bdev_name": "n", "nsid": 5, "eui64": "0011223344556677"}});
    luge.call("nvmf_subsystem_add_ns", wanted);
    let mut other = listener(&luge, OTHER, "e");
    (other["num_io_queues"], other["num_vectors"], other["tenant"]) = (4.into(), 5.into(), "me".into());
    luge.call("nvmf_subsystem_add_listener", other);
    let saved = luge.call("save_config", Value::Null);
    let before = luge.call("nvmf_get_subsystems", Value::Null);
    for nqn in [NQN, OTHER] {
        luge.call("nvmf_delete_subsystem", json!({"nqn": nqn}));
    }
    luge.call("nvmf_delete_transport", json!({"trtype": "VFIOUSER"}));
    luge.call("bdev_null_delete", json!({"name": "n"}));
    luge.call("bdev_malloc_delete", json!({"name": "m"}));
    assert_eq!(luge.call("load_config", saved.clone()), true);
    assert_eq!(luge.call("nvmf_get_subsystems", Value::Null), before);
    assert_eq!(luge.call("save_config", Value::Null), saved);
}

#[test]
fn a_configuration_that_fails_leaves_nothing_of_it() {
    let luge = Daemon::start();
    let call = |method: &str, params: Value| json!({"method": method, "params": params});
    let directory = luge.path("d");
    let calls = json!([
        call("nvmf_create_transport", json!({"trtype": "vfiouser"})),
        call("nvmf_create_subsystem", json!({"nqn": NQN})),
        call("nvmf_subsystem_add_host", json!({"nqn": NQN, "host": "nqn.2016-06.io.spdk:host1"})),
        call("nvmf_subsystem_add_ns", namespace(NQN, "n")),
        call("nvmf_subsystem_add_listener", listener(&luge, NQN, "d")),
        call("nvmf_subsystem_add_ns", namespace(NQN, "missing")),
    ]);
    let device = call("bdev_null_create", json!({"name": "n", "num_blocks": 8, "block_size": 512}));
    let config = json!({"subsystems": [
        {"subsystem": "bdev", "config": [device]}, {"subsystem": "nvmf", "config": calls},
    ]});
    let refusal = luge.refusal("load_config", config);
    assert_eq!(refusal.code.0, -32602);
    assert!(refusal.message.contains("missing"), "{refusal}");
    assert_eq!(luge.call("nvmf_get_subsystems", Value::Null).as_array().unwrap().len(), 1);
    assert_eq!(luge.call("nvmf_get_transports", Value::Null), json!([]));
    assert_eq!(luge.call("bdev_get_bdevs", Value::Null), json!([]));
    assert!(!Path::new(&directory).exists());
}

#[test]
fn calls_about_what_is_not_there_or_is_there_already_end_as_clients_expect() {
    let luge = serving();
    let address = json!({"trtype": "VFIOUSER", "traddr": luge.path("x")});
    for (method, params, expected) in [
        ("nvmf_create_transport", json!({"trtype": "VFIOUSER"}), -32603),
        ("nvmf_create_transport", json!({"trtype": "TCP"}), -32602),
        ("nvmf_get_transports", json!({"trtype": "TCP"}), -19),
        ("nvmf_create_subsystem", json!({"nqn": NQN}), -32603),
        ("nvmf_create_subsystem", json!({"nqn": DISCOVERY}), -32603),
        ("nvmf_delete_subsystem", json!({"nqn": "nqn.2016-06.io.spdk:gone"}), -32602),
        ("nvmf_delete_subsystem", json!({"nqn": DISCOVERY}), -32602),
        ("nvmf_get_subsystems", json!({"nqn": "nqn.2016-06.io.spdk:gone"}), -19),
        ("nvmf_subsystem_add_ns", namespace("nqn.2016-06.io.spdk:gone", "m"), -32602),
        ("nvmf_subsystem_add_ns", namespace(NQN, "gone"), -32602),
        ("nvmf_subsystem_add_ns", namespace(NQN, "n"), -32602),
        ("nvmf_subsystem_add_ns", json!({"nqn": NQN, "namespace": {"bdev_name": "m", "nsid": 1}}), -32602),
        ("nvmf_subsystem_remove_ns", json!({"nqn": NQN, "nsid": 2}), -32602),
        ("nvmf_subsystem_remove_ns", json!({"nqn": "gone", "nsid": 1}), -32602),
        ("nvmf_subsystem_add_listener", listener(&luge, NQN, "d"), -32602),
        ("nvmf_subsystem_add_listener", listener(&luge, OTHER, "d"), -32602),
        ("nvmf_subsystem_add_listener", listener(&luge, OTHER, "d/../d"), -32602),
        ("nvmf_subsystem_add_listener", listener(&luge, "gone", "x"), -32602),
        ("nvmf_subsystem_add_listener", listener(&luge, DISCOVERY, "x"), -32602),
        ("nvmf_subsystem_remove_listener", listener(&luge, NQN, "x"), -32602),
        ("nvmf_subsystem_remove_listener", listener(&luge, OTHER, "d"), -32602),
        ("nvmf_subsystem_get_listeners", json!({"nqn": "gone"}), -32602),
        ("nvmf_subsystem_get_controllers", json!({"nqn": "gone"}), -32602),
        ("nvmf_subsystem_get_qpairs", json!({"nqn": "gone"}), -32602),
        ("nvmf_subsystem_add_host", json!({"nqn": "gone", "host": NQN}), -32602),
        ("nvmf_subsystem_remove_host", json!({"nqn": "gone", "host": NQN}), -32602),
        ("nvmf_subsystem_allow_any_host", json!({"nqn": "gone", "allow_any_host": true}), -32602),
        ("nvmf_get_stats", json!({"tgt_name": "other"}), -32603),
        ("nvmf_create_subsystem", json!({"nqn": OTHER, "tgt_name": "other"}), -32603),
        ("nvmf_delete_transport", json!({"trtype": "VFIOUSER"}), -16),
        ("nvmf_delete_transport", json!({"trtype": "TCP"}), -32602),
        (
            "nvmf_subsystem_add_listener",
            json!({"nqn": NQN, "listen_address": address, "ana_state": "lost"}),
            -95,
        ),
    ] {
        assert_eq!(code(&luge, method, params.clone()), expected, "{method} {params}");
    }
    for (method, params, words) in [
        ("nvmf_create_transport", json!({"trtype": "vfiouser"}), "Transport type 'VFIOUSER' already exists"),
        ("nvmf_create_subsystem", json!({"nqn": NQN}), "already exists"),
        ("nvmf_subsystem_add_listener", listener(&luge, OTHER, "d"), "already exists"),
        ("nvmf_subsystem_get_listeners", json!({"nqn": "gone"}), "Invalid parameters"),
        ("nvmf_get_subsystems", json!({"nqn": "gone"}), "No such device"),
    ] {
        let refusal = luge.refusal(method, params);
        assert!(refusal.message.contains(words), "{method}: {refusal}");
    }
}

/// Calls that make or extend a subsystem, with one wrong parameter each.
fn create(member: &str, value: Value) -> (&'static str, Value) {
    let mut params = json!({"nqn": "nqn.2016-06.io.spdk:new"});
    params[member] = value;
    ("nvmf_create_subsystem", params)
}

fn add(member: &str, value: Value) -> (&'static str, Value) {
    let mut params = namespace(NQN, "m");
    params["namespace"][member] = value;
    ("nvmf_subsystem_add_ns", params)
}

fn assert_refused(luge: &Daemon, calls: Vec<(&'static str, Value)>, expected: i32) {
    let before = luge.call("save_config", Value::Null);
    for (method, params) in calls {
        assert_eq!(code(luge, method, params.clone()), expected, "{method} {params}");
    }
    assert_eq!(luge.call("save_config", Value::Null), before);
    // All that the refused calls had reserved is free again.
    assert_eq!(luge.call("nvmf_delete_subsystem", json!({"nqn": NQN})), true);
    assert_eq!(luge.call("bdev_malloc_delete", json!({"name": "m"})), true);
}

#[test]
fn wrong_parameters_of_a_subsystem_are_refused_and_leave_nothing_behind() {
    let long = format!("nqn.2016-06.{}", "a".repeat(220));
    let calls = vec![
        create("nqn", json!("disk")),
        create("nqn", json!("")),
        create("nqn", json!(long)),
        create("nqn", json!("nqn.2016-06.io\n.spdk")),
        create("nqn", json!(7)),
        create("serial_number", json!("")),
        create("serial_number", json!("123456789012345678901")),
        create("serial_number", json!("ä")),
        create("model_number", json!("x".repeat(41))),
        create("max_namespaces", json!(1025)),
        create("max_namespaces", json!(-1)),
        create("min_cntlid", json!(0)),
        create("max_cntlid", json!(65_520)),
        create("cpumask", json!("0x100000")),
        create("allow_any_host", json!("yes")),
        create("colour", json!("red")),
    ];
    assert_refused(&serving(), calls, -32602);
}

#[test]
fn wrong_parameters_of_a_namespace_are_refused_and_leave_nothing_behind() {
    let calls = vec![
        add("nsid", json!(33)),
        add("nsid", json!(u32::MAX)),
        add("nsid", json!(-1)),
        add("nsid", json!(1_u64 << 32)),
        add("uuid", json!("no")),
        add("nguid", json!("00")),
        add("eui64", json!("zz11223344556677")),
        add("bdev_name", json!(null)),
        add("bdev_name", json!("")),
        add("colour", json!("red")),
        ("nvmf_subsystem_add_ns", json!({"nqn": NQN})),
        ("nvmf_subsystem_add_ns", json!({"nqn": NQN, "namespace": "m"})),
    ];
    assert_refused(&serving(), calls, -32602);
}

#[test]
fn wrong_parameters_of_a_listener_are_refused_and_leave_nothing_behind() {
    let luge = serving();
    let listen = |member: &str, value: Value| {
        let mut params = listener(&luge, NQN, "x");
        params["listen_address"][member] = value;
        ("nvmf_subsystem_add_listener", params)
    };
    let number = |member: &str, value: u16| {
        let mut params = listener(&luge, NQN, "x");
        params[member] = value.into();
        ("nvmf_subsystem_add_listener", params)
    };
    let calls = vec![
        listen("trtype", json!("TCP")),
        listen("traddr", json!("relative")),
        listen("traddr", json!("")),
        listen("traddr", json!("/x\0y")),
        listen("traddr", json!(format!("/{}", "x".repeat(256)))),
        listen("traddr", json!(format!("{}/{}", luge.path("y"), "x".repeat(100)))),
        listen("trsvcid", json!("0".repeat(33))),
        listen("adrfam", json!("ipx")),
        listen("colour", json!("red")),
        listen("traddr", json!("/proc/nowhere")),
        listen("traddr", json!(luge.path("rpc.sock"))),
        listen("traddr", json!(luge.path("rpc.sock/x"))),
        ("nvmf_subsystem_add_listener", json!({"nqn": NQN})),
        number("num_io_queues", 0),
        number("num_io_queues", 129),
        number("num_vectors", 0),
        number("num_vectors", 2049),
    ];
    assert_refused(&luge, calls, -32602);
    assert!(!Path::new(&luge.path("x")).exists());
    assert!(!Path::new(&luge.path("y")).exists());
}

#[test]
fn what_luge_does_not_have_is_refused_by_name() {
    let calls = vec![
        create("ana_reporting", json!(true)),
        create("passthrough", json!(true)),
        create("dmrsl", json!(8)),
        create("admin_label", json!("x")),
        add("ptpl_file", json!("/x")),
        add("anagrpid", json!(2)),
        add("no_auto_visible", json!(true)),
        ("nvmf_subsystem_add_host", json!({"nqn": NQN, "host": OTHER, "dhchap_key": "k"})),
    ];
    assert_refused(&serving(), calls, -95);
}

#[test]
fn a_directory_that_was_there_stays_with_what_others_have_in_it() {
    let luge = serving();
    std::fs::create_dir(luge.path("mine")).unwrap();
    luge.call("nvmf_subsystem_add_listener", listener(&luge, OTHER, "mine"));
    luge.call("nvmf_subsystem_add_listener", listener(&luge, OTHER, "made"));
    std::fs::write(luge.path("made/theirs"), "").unwrap();
    luge.call("nvmf_delete_subsystem", json!({"nqn": OTHER}));
    assert!(Path::new(&luge.path("mine")).is_dir());
    assert!(Path::new(&luge.path("made/theirs")).is_file());
    assert!(!is_socket(&luge.path("made/cntrl")));
}

#[test]
fn a_listener_needs_a_transport() {
    let luge = Daemon::start();
    luge.call("nvmf_create_subsystem", json!({"nqn": NQN}));
    let refusal = luge.refusal("nvmf_subsystem_add_listener", listener(&luge, NQN, "d"));
    assert_eq!(refusal.code.0, -32602);
    assert!(refusal.message.contains("nvmf_create_transport"), "{refusal}");
    assert!(!Path::new(&luge.path("d")).exists());
}

#[test]
fn options_of_the_transport_are_obeyed_or_refused_by_name() {
    let luge = Daemon::start();
    for (option, value, expected) in [
        ("max_io_qpairs_per_ctrlr", json!(0), -32602),
        ("max_io_qpairs_per_ctrlr", json!(129), -32602),
        ("max_queue_depth", json!(1), -32602),
        ("max_queue_depth", json!(4097), -32602),
        ("max_aq_depth", json!(1), -32602),
        ("max_aq_depth", json!(4097), -32602),
        ("max_io_size", json!(4096), -32602),
        ("max_io_size", json!(131_073), -32602),
        ("max_io_size", json!(2 << 20), -32602),
        ("in_capsule_data_size", json!(4096), -95),
        ("dif_insert_or_strip", json!(true), -95),
        ("no_srq", json!(true), -95),
        ("masked_oncs", json!(["nvmcmps", "ssfs"]), -32602),
        ("masked_fuses", json!(["nvmcmps"]), -32602),
        ("colour", json!("red"), -32602),
    ] {
        let refusal = luge.refusal("nvmf_create_transport", json!({"trtype": "VFIOUSER", option: value}));
        assert_eq!(refusal.code.0, expected, "{option}");
        assert!(refusal.message.contains(option), "{refusal}");
    }
    let taken = json!({"trtype": "vfiouser", "tgt_name": "nvmf_tgt", "max_io_qpairs_per_ctrlr": 4,
        "max_queue_depth": 256, "max_aq_depth": 32, "masked_oncs": ["nvmcpys", "reservs"], "masked_fuses": [],
        "max_io_size": 131_072, "disable_mappable_bar0": true, "disable_compare": true,
        "disable_adaptive_irq": true, "disable_shadow_doorbells": true, "num_shared_buffers": 1024, "buf_cache_size": 32, "io_unit_size": 8192,
        "zcopy": true, "abort_timeout_sec": 1, "acceptor_poll_rate": 10_000, "c2h_success": true});
    assert_eq!(luge.call("nvmf_create_transport", taken), true);
    let shown = luge.call("nvmf_get_transports", json!({"trtype": "VFIOUSER"}));
    assert_eq!(shown[0]["trtype"], "VFIOUSER");
    assert_eq!(shown[0]["max_io_qpairs_per_ctrlr"], 4);
    assert_eq!(shown[0]["max_queue_depth"], 256);
    assert_eq!(shown[0]["max_aq_depth"], 32);
    assert_eq!(
        shown[0]["masked_oncs"],
        json!(["nvmcmps", "reservs", "nvmcpys"]),
        "with that of disable_compare"
    );
    assert_eq!(shown[0]["masked_fuses"], json!(["fcws"]), "of disable_compare");
    assert_eq!(shown[0]["max_io_size"], 131_072);
    for option in ["mappable_bar0", "compare", "adaptive_irq", "shadow_doorbells"] {
        assert_eq!(shown[0][format!("disable_{option}")], true, "{option}");
    }
    assert_eq!(luge.call("nvmf_delete_transport", json!({"trtype": "VFIOUSER"})), true);
    assert_eq!(luge.call("nvmf_get_transports", Value::Null), json!([]));
}

#[test]
fn operators_who_work_on_one_subsystem_at_a_time_leave_it_whole() {
    let luge = with_transport();
    for index in 0..4 {
        let null = json!({"name": format!("b{index}"), "num_blocks": 8, "block_size": 512});
        luge.call("bdev_null_create", null);
    }
    std::thread::scope(|scope| {
        for index in 0..4 {
            let luge = &luge;
            scope.spawn(move || {
                let mut client = luge.client();
                let bdev = format!("b{index}");
                let directory = luge.path(&format!("d{}", index % 2));
                let address = json!({"trtype": "VFIOUSER", "traddr": directory});
                for _ in 0..10 {
                    // Each of them may be refused: another operator is faster.
                    let _ = client.call("nvmf_create_subsystem", json!({"nqn": NQN}));
                    let _ = client.call("nvmf_subsystem_add_ns", namespace(NQN, &bdev));
                    let listen = json!({"nqn": NQN, "listen_address": address});
                    let _ = client.call("nvmf_subsystem_add_listener", listen.clone());
                    let _ = client.call("nvmf_subsystem_remove_ns", json!({"nqn": NQN, "nsid": index + 1}));
                    let _ = client.call("nvmf_subsystem_remove_listener", listen);
                    let _ = client.call("nvmf_delete_subsystem", json!({"nqn": NQN}));
                }
            });
        }
    });
    let _ = luge.client().call("nvmf_delete_subsystem", json!({"nqn": NQN}));
    for index in 0..4 {
        luge.call("bdev_null_delete", json!({"name": format!("b{index}")}));
    }
    let nvmf = luge.call("save_config", Value::Null)["subsystems"][3]["config"].clone();
    assert_eq!(nvmf.as_array().unwrap().len(), 1, "the transport: {nvmf}");
    luge.call("nvmf_delete_transport", json!({"trtype": "VFIOUSER"}));
}

/// A whole way: the driver of another process on the socket.
#[test]
fn another_luge_uses_the_namespaces_and_its_controller_is_shown() {
    let (luge, other) = (serving(), Daemon::start());
    luge.call("nvmf_subsystem_add_ns", namespace(NQN, "m"));
    let attach = json!({"name": "Nvme0", "trtype": "VFIOUSER", "traddr": luge.path("d")});
    assert_eq!(other.call("bdev_nvme_attach_controller", attach), json!(["Nvme0n1", "Nvme0n2"]));
    assert_eq!(other.call("bdev_get_bdevs", json!({"name": "Nvme0n1"}))[0]["num_blocks"], 4096);
    other.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "Nvme0n1"}));
    let controllers = luge.call("nvmf_subsystem_get_controllers", json!({"nqn": NQN}));
    assert_eq!(controllers.as_array().unwrap().len(), 1);
    assert_eq!(controllers[0]["cntlid"], 1);
    assert_eq!(controllers[0]["state"], "ready");
    assert_eq!(controllers[0]["num_io_qpairs"], 1);
    let queues = luge.call("nvmf_subsystem_get_qpairs", json!({"nqn": NQN}));
    assert_eq!(queues.as_array().unwrap().len(), 2, "{queues}");
    assert_eq!(queues[1]["qid"], 1);
    assert_eq!(queues[1]["listen_address"]["traddr"], luge.path("d"));
    let group = luge.call("nvmf_get_stats", Value::Null)["poll_groups"][0].clone();
    assert_eq!(group["current_io_qpairs"], 1);
    assert_eq!(group["current_admin_qpairs"], 1);
    luge.call("bdev_null_resize", json!({"name": "n", "new_size": 8}));
    // The driver reads the list of namespaces that have changed.
    eventually("its host has seen the new size", || {
        luge.call("bdev_get_resize_status", json!({"name": "n"}))[0]["endpoints"][0]["seen"] == true
    });
    other.call("vhost_delete_controller", json!({"ctrlr": "v"}));
    other.call("bdev_nvme_detach_controller", json!({"name": "Nvme0"}));
    eventually("the departure", || {
        luge.call("nvmf_subsystem_get_controllers", json!({"nqn": NQN})) == json!([])
    });
}
