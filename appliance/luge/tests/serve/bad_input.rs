//! Parameters that are wrong, missing, too large or of the wrong type: each gives an error with
//! its name, and changes nothing.

use crate::daemon::Daemon;
use serde_json::{Value, json};

const WRONG: i32 = -32602;

/// A method, its parameters, the code of the error, and what the error must name.
type Case<'a> = (&'a str, Value, i32, &'a str);

/// A daemon with a null device `n`, a split one `s` and a file `f`, which is served as `v` to
/// the VM `m`.
fn furnished() -> Daemon {
    let luge = Daemon::start();
    for name in ["n", "s"] {
        luge.call("bdev_null_create", disk(name, 4096, 512));
    }
    luge.call("bdev_split_create", json!({"base_bdev": "s", "split_count": 2}));
    std::fs::write(luge.path("f"), vec![0; 4096]).unwrap();
    luge.call("bdev_aio_create", json!({"name": "f", "filename": luge.path("f"), "block_size": 512}));
    luge.call("vhost_create_blk_controller", blk("v", "f"));
    luge.call("vm_create", json!({"name": "m", "cpus": 1, "memory_mb": 64, "disks": ["v"]}));
    luge
}

/// All objects that clients can list.
fn picture(luge: &Daemon) -> Value {
    let look = |method: &str| luge.call(method, Value::Null);
    let lists = ["bdev_get_bdevs", "bdev_nvme_get_controllers", "vhost_get_controllers", "vm_get_vms"];
    json!([lists.map(look), look("save_config"), look("log_get_level")])
}

/// Makes each call, which must be refused with its error and must change nothing.
fn refused(luge: &Daemon, cases: &[Case<'_>]) {
    let before = picture(luge);
    for (method, params, code, named) in cases {
        let error = luge.refusal(method, params.clone());
        assert_eq!(error.code.0, *code, "{method} {params}: {error}");
        assert!(error.message.contains(named), "{method} {params}: {error}");
        assert_eq!(picture(luge), before, "{method} {params} has changed something");
    }
}

fn disk(name: &str, num_blocks: u64, block_size: u64) -> Value {
    json!({"name": name, "num_blocks": num_blocks, "block_size": block_size})
}

fn blk(ctrlr: &str, bdev: &str) -> Value {
    json!({"ctrlr": ctrlr, "dev_name": bdev})
}

/// Parameters with one member added or replaced.
fn with(mut params: Value, name: &str, value: impl Into<Value>) -> Value {
    params[name] = value.into();
    params
}

#[test]
fn a_device_without_a_proper_shape_or_name_is_not_made() {
    let make = "bdev_null_create";
    let x = || disk("x", 8, 512);
    let cases = [
        (make, json!({}), WRONG, "`name`"),
        (make, json!({"name": "x"}), WRONG, "`num_blocks`"),
        (make, with(x(), "name", 7), WRONG, "`name`"),
        (make, with(x(), "num_blocks", "8"), WRONG, "`num_blocks`"),
        (make, with(x(), "num_blocks", -8), WRONG, "`num_blocks`"),
        (make, with(x(), "num_blocks", 8.5), WRONG, "`num_blocks`"),
        (make, disk("x", 8, 1 << 32), WRONG, "`block_size`"),
        (make, disk("x", 8, 0), WRONG, "`block_size`"),
        (make, disk("x", 8, 513), WRONG, "`block_size`"),
        (make, disk("x", 0, 512), WRONG, "`num_blocks`"),
        (make, disk("x", u64::MAX, 512), WRONG, "`num_blocks`"),
        (make, disk("n", 8, 512), -17, "bdev n already exists"),
        (make, disk("", 8, 512), -22, "name"),
        (make, disk("a\nb", 8, 512), -22, "a\\nb"),
        (make, disk(&"x".repeat(200), 8, 512), -22, "name"),
        (make, with(x(), "uuid", "1-2"), WRONG, "`uuid`"),
        (make, with(x(), "md_size", 8), -95, "leave it out"),
        (make, with(x(), "size", 8), WRONG, "`size`"),
        (make, json!(["x", 8, 512]), WRONG, "by name"),
        ("bdev_make_coffee", Value::Null, -32601, "bdev_make_coffee"),
    ];
    refused(&furnished(), &cases);
}

#[test]
fn memory_and_files_that_cannot_be_had_are_refused() {
    let luge = furnished();
    let (malloc, aio) = ("bdev_malloc_create", "bdev_aio_create");
    let file = |path: &str| json!({"name": "x", "filename": path});
    let cases = [
        (malloc, json!({"num_blocks": 8}), WRONG, "`block_size`"),
        (malloc, disk("x", 1 << 20, 512), -12, "-s"),
        (malloc, disk("x", 1 << 53, 512), -12, "-s"),
        (malloc, with(disk("x", 8, 512), "md_size", 8), -95, "`md_size`"),
        (malloc, with(disk("x", 8, 512), "physical_block_size", 4096), -95, "`physical_block_size`"),
        (malloc, with(disk("x", 8, 512), "numa_id", -2), WRONG, "`numa_id`"),
        (malloc, with(disk("x", 8, 512), "numa_id", 1000), WRONG, "no memory node 1000"),
        (malloc, disk("n", 8, 512), -17, "bdev n"),
        (aio, json!({"name": "x"}), WRONG, "`filename`"),
        (aio, file("relative"), WRONG, "`filename`"),
        (aio, file("/nowhere/at/all"), -2, "/nowhere/at/all"),
        (aio, file("/tmp"), -22, "/tmp"),
        (aio, file(&luge.path("f")), -16, "f"),
        (aio, with(file("/dev/null"), "nowait", true), -95, "`nowait`"),
    ];
    refused(&luge, &cases);
}

#[test]
fn devices_are_deleted_and_split_only_as_they_can_be() {
    let split = |base: &str, count: u64| json!({"base_bdev": base, "split_count": count});
    let name = |name: &str| json!({"name": name});
    let cases = [
        ("bdev_null_delete", json!({}), WRONG, "`name`"),
        ("bdev_null_delete", name("x"), -19, "no bdev x: bdev_get_bdevs"),
        ("bdev_null_delete", name("s"), -16, "split"),
        ("bdev_null_delete", name("f"), -22, "bdev_aio_delete"),
        ("bdev_malloc_delete", name("n"), -22, "bdev_null_delete"),
        ("bdev_aio_delete", name("sp0"), -22, "bdev_split_delete"),
        ("bdev_aio_delete", name("f"), -16, "vhost controller v"),
        ("bdev_split_create", split("x", 2), -19, "bdev x"),
        ("bdev_split_create", split("f", 2), -16, "vhost controller v"),
        ("bdev_split_create", json!({"base_bdev": "n"}), WRONG, "`split_count`"),
        ("bdev_split_create", split("n", 0), WRONG, "`split_count`"),
        ("bdev_split_create", split("n", 5000), WRONG, "`split_count`"),
        ("bdev_split_create", split("n", 4097), WRONG, "`split_count`"),
        ("bdev_split_create", split("tiny", 9), WRONG, "`split_count`: bdev tiny has 8 blocks"),
        ("bdev_split_create", with(split("n", 1), "split_size_mb", 3), WRONG, "`split_size_mb`"),
        ("bdev_split_create", with(split("tiny", 1), "split_size_mb", 1), WRONG, "`split_size_mb`"),
        ("bdev_split_create", with(split("n", 2), "split_size_mb", 1_u64 << 44), WRONG, "`split_size_mb`"),
        ("bdev_split_create", with(split("n", 2), "split_size_mb", u64::MAX), WRONG, "`split_size_mb`"),
        ("bdev_split_delete", json!({"base_bdev": "n"}), -22, "not split"),
    ];
    let luge = furnished();
    luge.call("bdev_null_create", disk("tiny", 8, 512));
    refused(&luge, &cases);
}

#[test]
fn questions_about_what_is_not_there_are_refused() {
    let cases = [
        ("bdev_get_bdevs", json!({"name": "x"}), -19, "bdev x"),
        ("bdev_get_bdevs", json!({"name": "x", "timeout": -1}), WRONG, "`timeout`"),
        ("bdev_get_iostat", json!({"names": ["n", "x"]}), -19, "bdev x"),
        ("bdev_get_iostat", json!({"names": "n"}), WRONG, "`names`"),
        ("bdev_get_iostat", json!({"name": "x"}), -19, "bdev x"),
        ("bdev_get_iostat", json!({"name": "n", "names": ["n"]}), WRONG, "`name`"),
        ("bdev_get_iostat", json!({"per_channel": true}), WRONG, "`per_channel`"),
        ("bdev_get_iostat", json!({"reset_mode": "some"}), WRONG, "`reset_mode`"),
        ("bdev_reset_iostat", json!({"name": "x"}), -19, "bdev x"),
        ("bdev_reset_iostat", json!({"mode": "some"}), WRONG, "`mode`"),
        ("luge_get_latency", json!({"name": "x"}), -19, "bdev x"),
        ("luge_get_trace", json!({"count": -1}), WRONG, "`count`"),
        ("luge_get_last_words", json!({}), -95, "only a sled keeps last words"),
        ("luge_delete_last_words", json!({"name": "x"}), -95, "only a sled keeps last words"),
        ("bdev_get_histogram", json!({"name": "x"}), -19, "bdev x"),
        ("bdev_get_histogram", json!({"name": "n"}), -1, "bdev_enable_histogram"),
        ("bdev_get_histogram_borders", json!({"name": "n", "borders": [7]}), -1, "bdev_enable_histogram"),
        ("bdev_get_histogram_borders", json!({"name": "n", "borders": [7, 6]}), WRONG, "`borders`"),
        ("bdev_get_histogram_borders", json!({"name": "n", "borders": "7,8"}), WRONG, "`borders`"),
        ("bdev_enable_histogram", json!({"name": "x", "enable": true}), -19, "bdev x"),
        ("bdev_enable_histogram", json!({"name": "n"}), WRONG, "`enable`"),
        ("bdev_enable_histogram", json!({"name": "n", "enable": true, "opc": "copy"}), WRONG, "`opc`"),
        (
            "bdev_enable_histogram",
            json!({"name": "n", "enable": true, "granularity": 7}),
            -95,
            "`granularity`",
        ),
        ("bdev_enable_histogram", json!({"name": "n", "enable": true, "min_nsec": 7}), -95, "`min_nsec`"),
        ("bdev_enable_histogram", json!({"name": "n", "enable": true, "max_nsec": 7}), -95, "`max_nsec`"),
        ("framework_get_config", json!({}), WRONG, "`name`"),
        ("framework_get_config", json!({"name": "x"}), WRONG, "`name`"),
        ("framework_get_reactors", json!({"x": 1}), WRONG, "`x`"),
        ("framework_start_init", Value::Null, -1, "before"),
        ("load_config", json!({}), WRONG, "`subsystems`"),
        ("load_config", json!({"subsystems": [{"subsystem": "x", "config": [7]}]}), WRONG, "`subsystems[0]"),
        ("log_set_level", json!({"level": 3}), WRONG, "`level`"),
        ("log_set_level", json!({"level": "LOUD"}), WRONG, "`level`"),
        ("spdk_kill_instance", json!({"sig_name": "SIGSTOP"}), WRONG, "`sig_name`"),
        ("spdk_kill_instance", Value::Null, WRONG, "`sig_name`"),
        ("rpc_get_methods", json!({"current": 1}), WRONG, "`current`"),
    ];
    refused(&furnished(), &cases);
}

#[test]
fn ssds_that_are_not_there_or_not_on_pcie_are_refused() {
    let (attach, detach) = ("bdev_nvme_attach_controller", "bdev_nvme_detach_controller");
    let health = "bdev_nvme_get_controller_health_info";
    let at =
        |name: &str, trtype: &str, traddr: &str| json!({"name": name, "trtype": trtype, "traddr": traddr});
    let ssd = || at("N", "PCIe", "ffff:ff:1f.7");
    let name = || json!({"name": "N"});
    let cases = [
        (attach, json!({}), WRONG, "`name`"),
        (attach, at("N", "TCP", "10.0.0.1"), WRONG, "`trtype`"),
        (attach, at("N", "PCIe", "zero"), WRONG, "`traddr`"),
        (attach, ssd(), -19, "ffff:ff:1f.7"),
        (attach, at("a/b", "PCIe", "ffff:ff:1f.7"), -22, "a/b"),
        (attach, with(ssd(), "hdgst", true), -95, "`hdgst`"),
        (attach, with(ssd(), "subnqn", "nqn.x"), -95, "`subnqn`"),
        (attach, with(ssd(), "num_io_queues", 0), WRONG, "`num_io_queues`"),
        (attach, with(ssd(), "multipath", "multipath"), -95, "`multipath`"),
        (attach, with(ssd(), "multipath", "sometimes"), WRONG, "`multipath`"),
        (attach, with(ssd(), "multipath_opts", json!({"min_io": 1})), -95, "`multipath_opts`"),
        (detach, name(), -19, "controller N"),
        (detach, json!({}), WRONG, "`name`"),
        ("bdev_nvme_get_controllers", name(), -19, "controller N"),
        (health, name(), -19, "controller N"),
        (health, json!({}), WRONG, "`name`"),
    ];
    refused(&furnished(), &cases);
}

#[test]
fn vhost_controllers_without_a_device_a_name_or_a_core_are_refused() {
    let make = "vhost_create_blk_controller";
    let w = || blk("w", "n");
    let cases = [
        (make, json!({"ctrlr": "w"}), WRONG, "`dev_name`"),
        (make, blk("w", "x"), -19, "bdev x"),
        (make, blk("v", "n"), -17, "controller v already exists"),
        (make, blk("w", "s"), -16, "split"),
        (make, blk("../w", "n"), -22, "../w"),
        (make, blk("", "n"), -22, "name"),
        (make, blk(&"w".repeat(120), "n"), -22, "107 bytes"),
        (make, blk("f", "n"), -17, "not a socket"),
        (make, blk("rpc.sock", "n"), -17, "in use"),
        (make, with(w(), "cpumask", "0x0"), WRONG, "`cpumask`"),
        (make, with(w(), "cpumask", "[700]"), WRONG, "`cpumask`"),
        (make, with(w(), "cpumask", 1), WRONG, "`cpumask`"),
        (make, with(w(), "transport", "vfio_user_blk"), WRONG, "`transport`"),
        (make, with(w(), "packed_ring", true), -95, "`packed_ring`"),
        (make, with(w(), "readonly", "yes"), WRONG, "`readonly`"),
        ("vhost_get_controllers", json!({"name": "w"}), -19, "controller w"),
        ("vhost_delete_controller", json!({"ctrlr": "w"}), -19, "controller w"),
        ("vhost_delete_controller", json!({"name": "v"}), WRONG, "`name`"),
    ];
    refused(&furnished(), &cases);
}

#[test]
fn vms_that_cannot_be_are_refused() {
    let make = "vm_create";
    let x = || json!({"name": "x", "cpus": 1, "memory_mb": 64});
    let name = |name: &str| json!({"name": name});
    let cases = [
        (make, json!({"name": "x", "cpus": 1}), WRONG, "`memory_mb`"),
        (make, with(x(), "name", "m"), -17, "m"),
        (make, with(x(), "name", "a/b"), WRONG, "`name`"),
        (make, with(x(), "cpus", 0), WRONG, "`cpus`"),
        (make, with(x(), "cpus", 1_u64 << 40), WRONG, "`cpus`"),
        (make, with(x(), "memory_mb", 3), WRONG, "`memory_mb`"),
        (make, with(x(), "memory_mb", u64::MAX), WRONG, "`memory_mb`"),
        (make, with(x(), "disks", "v"), WRONG, "`disks`"),
        (make, with(x(), "disks", json!(["v", "v"])), WRONG, "`disks`"),
        (make, with(x(), "disks", json!(["w"])), -19, "controller w"),
        (make, with(x(), "kernel", "/nowhere/vmlinuz"), -22, "/nowhere/vmlinuz"),
        (make, with(x(), "initrd", "/initrd"), WRONG, "`initrd`"),
        (make, with(x(), "command_line", "quiet"), WRONG, "`command_line`"),
        (make, with(with(x(), "kernel", "/k"), "firmware", "/f"), WRONG, "`firmware`"),
        (make, with(x(), "accelerator", "magic"), WRONG, "`accelerator`"),
        (make, with(x(), "console", "printer"), WRONG, "`console`"),
        ("vm_start", name("x"), -19, "VM 'x'"),
        ("vm_start", name("a/b"), WRONG, "`name`"),
        ("vm_stop", name("x"), -19, "VM 'x'"),
        ("vm_stop", name("m"), -16, "VM 'm' is created"),
        ("vm_stop", with(name("m"), "timeout_s", 100_000), WRONG, "`timeout_s`"),
        ("vm_get_vms", name("x"), -19, "VM 'x'"),
        ("vm_delete", name("x"), -19, "VM 'x'"),
        ("vm_delete", json!({}), WRONG, "`name`"),
    ];
    refused(&furnished(), &cases);
}

#[test]
fn a_uuid_that_is_taken_is_refused_and_nothing_is_lost() {
    let luge = furnished();
    let uuid = luge.call("bdev_get_bdevs", json!({"name": "n"}))[0]["uuid"].clone();
    let error = luge.refusal("bdev_malloc_create", with(disk("x", 8, 512), "uuid", uuid));
    assert_eq!(error.code.0, -17);
    luge.call("bdev_malloc_create", disk("x", 64 << 11, 512));
}
