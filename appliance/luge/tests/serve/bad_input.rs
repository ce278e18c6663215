//! Every parameter that is wrong, missing, too large or of the wrong type: an error that names
//! it, and nothing has changed.

use crate::daemon::Daemon;
use serde_json::{Value, json};

/// What exists, as far as anybody can see.
fn picture(luge: &Daemon) -> Value {
    let look = |method: &str| luge.call(method, Value::Null);
    let lists = ["bdev_get_bdevs", "bdev_nvme_get_controllers", "vhost_get_controllers", "vm_get_vms"];
    json!([lists.map(look), look("save_config"), look("log_get_level")])
}

/// A daemon with a null device `n`, a split one `s` and a file `f`, which is served as `v` to
/// the VM `m`.
fn furnished() -> Daemon {
    let luge = Daemon::start();
    for name in ["n", "s"] {
        luge.call("bdev_null_create", json!({"name": name, "num_blocks": 4096, "block_size": 512}));
    }
    luge.call("bdev_split_create", json!({"base_bdev": "s", "split_count": 2}));
    std::fs::write(luge.path("f"), vec![0; 4096]).unwrap();
    luge.call("bdev_aio_create", json!({"name": "f", "filename": luge.path("f"), "block_size": 512}));
    luge.call("vhost_create_blk_controller", json!({"ctrlr": "v", "dev_name": "f"}));
    luge.call("vm_create", json!({"name": "m", "cpus": 1, "memory_mb": 64, "disks": ["v"]}));
    luge
}

/// Parameters with one more, or another.
fn with(mut params: Value, name: &str, value: impl Into<Value>) -> Value {
    params[name] = value.into();
    params
}

#[test]
fn wrong_parameters_are_refused_by_name_and_change_nothing() {
    let luge = furnished();
    let before = picture(&luge);
    let long = "x".repeat(200);
    let ssd =
        |name: &str, trtype: &str, traddr: &str| json!({"name": name, "trtype": trtype, "traddr": traddr});
    let blk = |ctrlr: &str, bdev: &str| json!({"ctrlr": ctrlr, "dev_name": bdev});
    let vm = |name: &str| json!({"name": name, "cpus": 1, "memory_mb": 64});
    let block = |n: u64, size: u64| json!({"name": "x", "num_blocks": n, "block_size": size});
    for (method, params, code, named) in [
        ("bdev_null_create", json!({}), -32602, "`name`"),
        ("bdev_null_create", json!({"name": "x"}), -32602, "`num_blocks`"),
        ("bdev_null_create", json!({"name": 7, "num_blocks": 8, "block_size": 512}), -32602, "`name`"),
        (
            "bdev_null_create",
            json!({"name": "x", "num_blocks": "8", "block_size": 512}),
            -32602,
            "`num_blocks`",
        ),
        (
            "bdev_null_create",
            json!({"name": "x", "num_blocks": -8, "block_size": 512}),
            -32602,
            "`num_blocks`",
        ),
        ("bdev_null_create", block(8, 1 << 32), -32602, "`block_size`"),
        ("bdev_null_create", block(8, 0), -32602, "`block_size`"),
        ("bdev_null_create", block(8, 513), -32602, "`block_size`"),
        ("bdev_null_create", block(0, 512), -32602, "`num_blocks`"),
        ("bdev_null_create", block(u64::MAX, 512), -32602, "`num_blocks`"),
        ("bdev_null_create", json!({"name": "n", "num_blocks": 8, "block_size": 512}), -17, "bdev n exists"),
        ("bdev_null_create", json!({"name": "", "num_blocks": 8, "block_size": 512}), -22, "name"),
        ("bdev_null_create", json!({"name": "a/b", "num_blocks": 8, "block_size": 512}), -22, "a/b"),
        ("bdev_null_create", json!({"name": long, "num_blocks": 8, "block_size": 512}), -22, "name"),
        (
            "bdev_null_create",
            json!({"name": "x", "num_blocks": 8, "block_size": 512, "uuid": "1-2"}),
            -32602,
            "`uuid`",
        ),
        (
            "bdev_null_create",
            json!({"name": "x", "num_blocks": 8, "block_size": 512, "md_size": 8}),
            -95,
            "`md_size`",
        ),
        (
            "bdev_null_create",
            json!({"name": "x", "num_blocks": 8, "block_size": 512, "size": 8}),
            -32602,
            "`size`",
        ),
        ("bdev_null_create", json!(["x", 8, 512]), -32602, "by name"),
        ("bdev_malloc_create", json!({"num_blocks": 8}), -32602, "`block_size`"),
        ("bdev_malloc_create", block(1 << 20, 512), -12, "-s"),
        ("bdev_malloc_create", block(1 << 53, 512), -12, "-s"),
        (
            "bdev_malloc_create",
            json!({"num_blocks": 8, "block_size": 512, "md_interleave": true}),
            -95,
            "`md_interleave`",
        ),
        (
            "bdev_malloc_create",
            json!({"num_blocks": 8, "block_size": 512, "physical_block_size": 4096}),
            -95,
            "`physical_block_size`",
        ),
        (
            "bdev_malloc_create",
            json!({"num_blocks": 8, "block_size": 512, "numa_id": -2}),
            -32602,
            "`numa_id`",
        ),
        ("bdev_malloc_create", json!({"name": "n", "num_blocks": 8, "block_size": 512}), -17, "bdev n"),
        ("bdev_aio_create", json!({"name": "x"}), -32602, "`filename`"),
        ("bdev_aio_create", json!({"name": "x", "filename": "relative"}), -32602, "`filename`"),
        ("bdev_aio_create", json!({"name": "x", "filename": "/nowhere/at/all"}), -22, "/nowhere/at/all"),
        ("bdev_aio_create", json!({"name": "x", "filename": "/tmp"}), -22, "/tmp"),
        ("bdev_aio_create", json!({"name": "x", "filename": luge.path("f"), "block_size": 512}), -22, "f"),
        ("bdev_aio_create", json!({"name": "x", "filename": "/dev/null", "nowait": true}), -95, "`nowait`"),
        ("bdev_null_delete", json!({}), -32602, "`name`"),
        ("bdev_null_delete", json!({"name": "x"}), -19, "bdev x"),
        ("bdev_null_delete", json!({"name": "s"}), -16, "split"),
        ("bdev_null_delete", json!({"name": "f"}), -22, "bdev_aio_delete"),
        ("bdev_malloc_delete", json!({"name": "n"}), -22, "bdev_null_delete"),
        ("bdev_aio_delete", json!({"name": "sp0"}), -22, "bdev_split_delete"),
        ("bdev_split_create", json!({"base_bdev": "x", "split_count": 2}), -19, "bdev x"),
        ("bdev_split_create", json!({"base_bdev": "n"}), -32602, "`split_count`"),
        ("bdev_split_create", json!({"base_bdev": "n", "split_count": 0}), -32602, "`split_count`"),
        ("bdev_split_create", json!({"base_bdev": "n", "split_count": 5000}), -32602, "`split_count`"),
        (
            "bdev_split_create",
            json!({"base_bdev": "n", "split_count": 2, "split_size_mb": 2}),
            -32602,
            "`split_size_mb`",
        ),
        (
            "bdev_split_create",
            json!({"base_bdev": "n", "split_count": 2, "split_size_mb": u64::MAX}),
            -32602,
            "`split_size_mb`",
        ),
        ("bdev_split_delete", json!({"base_bdev": "n"}), -22, "not split"),
        ("bdev_get_bdevs", json!({"name": "x"}), -19, "bdev x"),
        ("bdev_get_bdevs", json!({"name": "x", "timeout": -1}), -32602, "`timeout`"),
        ("bdev_get_iostat", json!({"names": ["n", "x"]}), -19, "bdev x"),
        ("bdev_get_iostat", json!({"names": "n"}), -32602, "`names`"),
        ("bdev_get_iostat", json!({"per_channel": true}), -32602, "`per_channel`"),
        ("bdev_get_iostat", json!({"reset_mode": "all"}), -95, "`reset_mode`"),
        ("framework_get_config", json!({}), -32602, "`name`"),
        ("framework_get_config", json!({"name": "x"}), -32602, "`name`"),
        ("framework_get_reactors", json!({"x": 1}), -32602, "`x`"),
        ("framework_start_init", Value::Null, -1, "before"),
        ("load_config", json!({}), -32602, "`subsystems`"),
        (
            "load_config",
            json!({"subsystems": [{"subsystem": "bdev", "config": [7]}]}),
            -32602,
            "`subsystems[0]",
        ),
        ("log_set_level", json!({"level": 3}), -32602, "`level`"),
        ("log_set_level", json!({"level": "LOUD"}), -32602, "`level`"),
        ("spdk_kill_instance", json!({"sig_name": "SIGSTOP"}), -32602, "`sig_name`"),
        ("spdk_kill_instance", Value::Null, -32602, "`sig_name`"),
        ("rpc_get_methods", json!({"current": 1}), -32602, "`current`"),
        ("bdev_nvme_attach_controller", json!({}), -32602, "`name`"),
        ("bdev_nvme_attach_controller", ssd("N", "TCP", "10.0.0.1"), -32602, "`trtype`"),
        ("bdev_nvme_attach_controller", ssd("N", "PCIe", "zero"), -32602, "`traddr`"),
        ("bdev_nvme_attach_controller", ssd("N", "PCIe", "ffff:ff:1f.7"), -19, "ffff:ff:1f.7"),
        ("bdev_nvme_attach_controller", ssd("a/b", "PCIe", "ffff:ff:1f.7"), -22, "a/b"),
        ("bdev_nvme_attach_controller", with(ssd("N", "PCIe", "0:0.0"), "hdgst", true), -95, "`hdgst`"),
        ("bdev_nvme_attach_controller", with(ssd("N", "PCIe", "0:0.0"), "subnqn", "nqn.x"), -95, "`subnqn`"),
        (
            "bdev_nvme_attach_controller",
            with(ssd("N", "PCIe", "0:0.0"), "num_io_queues", 0),
            -32602,
            "`num_io_queues`",
        ),
        (
            "bdev_nvme_attach_controller",
            with(ssd("N", "PCIe", "0:0.0"), "multipath", "multipath"),
            -95,
            "`multipath`",
        ),
        ("bdev_nvme_detach_controller", json!({"name": "N"}), -19, "controller N"),
        ("bdev_nvme_detach_controller", json!({}), -32602, "`name`"),
        ("bdev_nvme_get_controllers", json!({"name": "N"}), -19, "controller N"),
        ("bdev_nvme_get_controller_health_info", json!({"name": "N"}), -19, "controller N"),
        ("bdev_nvme_get_controller_health_info", json!({}), -32602, "`name`"),
        ("vhost_create_blk_controller", json!({"ctrlr": "w"}), -32602, "`dev_name`"),
        ("vhost_create_blk_controller", blk("w", "x"), -19, "bdev x"),
        ("vhost_create_blk_controller", blk("v", "n"), -17, "controller v exists"),
        ("vhost_create_blk_controller", blk("w", "s"), -16, "split"),
        ("vhost_create_blk_controller", blk("../w", "n"), -22, "../w"),
        ("vhost_create_blk_controller", blk("", "n"), -22, "name"),
        ("vhost_create_blk_controller", blk(&"w".repeat(120), "n"), -17, "107 bytes"),
        ("vhost_create_blk_controller", blk("f", "n"), -17, "not a socket"),
        ("vhost_create_blk_controller", blk("rpc.sock", "n"), -17, "in use"),
        ("vhost_create_blk_controller", with(blk("w", "n"), "cpumask", "0x0"), -32602, "`cpumask`"),
        ("vhost_create_blk_controller", with(blk("w", "n"), "cpumask", "[700]"), -32602, "`cpumask`"),
        ("vhost_create_blk_controller", with(blk("w", "n"), "cpumask", 1), -32602, "`cpumask`"),
        (
            "vhost_create_blk_controller",
            with(blk("w", "n"), "transport", "vfio_user_blk"),
            -32602,
            "`transport`",
        ),
        ("vhost_create_blk_controller", with(blk("w", "n"), "packed_ring", true), -95, "`packed_ring`"),
        ("vhost_create_blk_controller", with(blk("w", "n"), "readonly", "yes"), -32602, "`readonly`"),
        ("vhost_get_controllers", json!({"name": "w"}), -19, "controller w"),
        ("vhost_delete_controller", json!({"ctrlr": "w"}), -19, "controller w"),
        ("vhost_delete_controller", json!({"name": "v"}), -32602, "`name`"),
        ("bdev_aio_delete", json!({"name": "f"}), -16, "vhost controller v"),
        ("bdev_split_create", json!({"base_bdev": "f", "split_count": 2}), -16, "vhost controller v"),
        ("vm_create", json!({"name": "x", "cpus": 1}), -32602, "`memory_mb`"),
        ("vm_create", vm("m"), -17, "m"),
        ("vm_create", vm("a/b"), -32602, "`name`"),
        ("vm_create", with(vm("x"), "cpus", 0), -32602, "`cpus`"),
        ("vm_create", with(vm("x"), "cpus", 1_u64 << 40), -32602, "`cpus`"),
        ("vm_create", with(vm("x"), "memory_mb", 3), -32602, "`memory_mb`"),
        ("vm_create", with(vm("x"), "memory_mb", u64::MAX), -32602, "`memory_mb`"),
        ("vm_create", with(vm("x"), "disks", "v"), -32602, "`disks`"),
        ("vm_create", with(vm("x"), "disks", json!(["v", "v"])), -32602, "`disks`"),
        ("vm_create", with(vm("x"), "disks", json!(["w"])), -19, "controller w"),
        ("vm_create", with(vm("x"), "kernel", "/nowhere/vmlinuz"), -22, "/nowhere/vmlinuz"),
        ("vm_create", with(vm("x"), "initrd", "/initrd"), -32602, "`initrd`"),
        ("vm_create", with(vm("x"), "command_line", "quiet"), -32602, "`command_line`"),
        ("vm_create", with(with(vm("x"), "kernel", "/k"), "firmware", "/f"), -32602, "`firmware`"),
        ("vm_create", with(vm("x"), "accelerator", "magic"), -32602, "`accelerator`"),
        ("vm_create", with(vm("x"), "console", "printer"), -32602, "`console`"),
        ("vm_start", json!({"name": "x"}), -19, "VM 'x'"),
        ("vm_start", json!({"name": "a/b"}), -32602, "`name`"),
        ("vm_stop", json!({"name": "x"}), -19, "VM 'x'"),
        ("vm_stop", json!({"name": "m"}), -16, "VM 'm' is created"),
        ("vm_stop", json!({"name": "m", "timeout_s": 100_000}), -32602, "`timeout_s`"),
        ("vm_get_vms", json!({"name": "x"}), -19, "VM 'x'"),
        ("vm_delete", json!({"name": "x"}), -19, "VM 'x'"),
        ("vm_delete", json!({}), -32602, "`name`"),
        ("bdev_make_coffee", Value::Null, -32601, "bdev_make_coffee"),
    ] {
        let error = luge.refusal(method, params.clone());
        assert_eq!(error.code.0, code, "{method} {params}: {error}");
        assert!(error.message.contains(named), "{method} {params}: {error}");
        assert_eq!(picture(&luge), before, "{method} {params} has changed something");
    }
}

#[test]
fn a_uuid_that_is_taken_is_refused_whoever_asks() {
    let luge = furnished();
    let uuid = luge.call("bdev_get_bdevs", json!({"name": "n"}))[0]["uuid"].clone();
    let error = luge.refusal(
        "bdev_malloc_create",
        json!({"name": "x", "num_blocks": 8, "block_size": 512, "uuid": uuid}),
    );
    assert_eq!(error.code.0, -17);
    // Neither the name nor the memory is lost.
    luge.call("bdev_malloc_create", json!({"name": "x", "num_blocks": 64 << 11, "block_size": 512}));
}
