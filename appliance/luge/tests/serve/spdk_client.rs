//! SPDK's own client, unmodified: `spdk-rpc` of the PyPI package `spdk`.

use crate::daemon::{Daemon, eventually};
use crate::stock::stock;
use luge_image::{Cache, Progress, PyPiPackage, SPDK_CLIENT};
use serde_json::Value;
use std::fs::{self, File};
use std::process::{Output, Stdio};

struct Spdk<'a> {
    luge: &'a Daemon,
    package: PyPiPackage,
}

impl<'a> Spdk<'a> {
    fn of(luge: &'a Daemon) -> Self {
        let package = PyPiPackage::prepare(SPDK_CLIENT, &Cache::open().unwrap(), &Progress::to_stderr());
        Self { luge, package: package.unwrap_or_else(|error| panic!("{error}")) }
    }

    fn run(&self, line: &str, input: Stdio) -> Output {
        let mut command = self.package.command("spdk-rpc");
        command.arg("-s").arg(self.luge.socket()).args(line.split(' ')).stdin(input);
        command.output().unwrap()
    }

    /// Makes a call that must work; returns the output.
    fn says(&self, line: &str) -> String {
        let output = self.run(line, Stdio::null());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        said.trim_end().to_owned()
    }

    /// Makes calls, which may fail; returns the output of each.
    fn answers(&self, lines: &[&str]) -> Vec<Result<String, String>> {
        let socket = self.luge.path("rpc.sock");
        let script: String = lines.iter().map(|line| format!("-s {socket} {line}\n")).collect();
        fs::write(self.luge.path("script"), script).unwrap();
        let output = self.run("--server", File::open(self.luge.path("script")).unwrap().into());
        let said = String::from_utf8(output.stdout).unwrap();
        let answers = said.split_inclusive("**STATUS=").collect::<Vec<_>>();
        assert_eq!(answers.len(), lines.len() + 1, "{said}{}", String::from_utf8_lossy(&output.stderr));
        let worked = |next: &&str| next.starts_with('0');
        let ends = answers.iter().skip(1).map(worked);
        answers
            .iter()
            .zip(ends)
            .map(|(&said, worked)| if worked { Ok(said.into()) } else { Err(said.into()) })
            .collect()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(line)).unwrap()
    }

    /// Makes a call that must fail; returns the error output.
    fn refusal(&self, line: &str) -> String {
        let output = self.run(line, Stdio::null());
        assert!(!output.status.success(), "{line} worked");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// All options of the client, each either obeyed ("") or refused by name.
const OPTIONS: &[(&str, &str)] = &[
    ("bdev_malloc_create 1 512 -b m -u 0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a1 -p 512 -n -1", ""),
    ("bdev_malloc_create 1 512 -b m0 -o 0 -m 0 -t 0 -f 0 -n 0", ""),
    ("bdev_malloc_create 1 512 -p 4096", "`physical_block_size`"),
    ("bdev_malloc_create 1 512 -o 8", "`optimal_io_boundary`"),
    ("bdev_malloc_create 1 512 -m 8", "`md_size`"),
    ("bdev_malloc_create 1 512 -i", ""),
    ("bdev_malloc_create 1 512 -i -m 8", "`md_size`"),
    ("bdev_malloc_create 1 512 -t 1", "`dif_type`"),
    ("bdev_malloc_create 1 512 -d", "`dif_is_head_of_md`"),
    ("bdev_malloc_create 1 512 -f 1", "`dif_pi_format`"),
    ("bdev_null_create n 4 512 -u 0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a2 -p 512 -m 0 -t 0 -f 0", ""),
    ("bdev_null_create x 4 512 -p 4096", "`physical_block_size`"),
    ("bdev_null_create x 4 512 -m 8 -t 1", "`md_size`"),
    ("bdev_null_create x 4 512 -d", "`dif_is_head_of_md`"),
    ("bdev_null_create x 4 512 -f 1", "`dif_pi_format`"),
    ("bdev_null_create x 4 512 -a 8", "`preferred_write_alignment`"),
    ("bdev_null_create x 4 512 -g 8", "`preferred_write_granularity`"),
    ("bdev_null_create x 4 512 -s 8", "`optimal_write_size`"),
    ("bdev_null_create x 4 512 -c 8", "`preferred_unmap_alignment`"),
    ("bdev_null_create x 4 512 -r 8", "`preferred_unmap_granularity`"),
    ("bdev_aio_create FILE a 512 -r --fallocate -u 0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a3", ""),
    ("bdev_aio_create FILE x --no-wait", "`nowait`"),
    ("bdev_get_bdevs -b n -t 10", ""),
    ("bdev_get_iostat -c --names n --reset-mode none", ""),
    ("bdev_get_iostat -c --names n --reset-mode all", ""),
    ("bdev_get_iostat --names m,n --reset-mode maxmin", ""),
    ("bdev_get_iostat --reset-mode error", ""),
    ("bdev_reset_iostat", ""),
    ("bdev_reset_iostat -b n -m maxmin", ""),
    ("bdev_get_histogram n", "bdev_enable_histogram"),
    ("bdev_get_histogram_borders n --borders 10,100", "bdev_enable_histogram"),
    ("bdev_enable_histogram --histogram n -o read --granularity 3 --min-nsec 0", ""),
    ("bdev_get_histogram n", ""),
    ("bdev_get_histogram_borders n --borders 10,100", ""),
    ("bdev_enable_histogram --no-histogram n", ""),
    ("bdev_enable_histogram --histogram n --granularity 7", "`granularity`"),
    ("vhost_create_blk_controller --cpumask [0] --transport vhost_user_blk -r v n", ""),
    ("vhost_create_blk_controller --transport vfio_user_blk x n", "`transport`"),
    ("vhost_create_blk_controller -p x n", "`packed_ring`"),
    ("vhost_create_scsi_controller --cpumask [0] --delay s", ""),
    ("vhost_scsi_controller_add_target s -1 n", ""),
    ("vhost_scsi_controller_add_target s 0 m", "is bdev n already"),
    ("vhost_scsi_controller_add_target s 7 m0", ""),
    ("vhost_start_scsi_controller s", ""),
    ("vhost_controller_set_coalescing s 10 60000", ""),
    ("vhost_controller_set_coalescing s 10 0", "`iops_threshold`"),
    ("vhost_scsi_controller_remove_target s 0", ""),
    ("vhost_scsi_controller_remove_target s 0", "no LUN 0 of target 0"),
    ("vhost_delete_controller s", ""),
    ("bdev_null_resize n 5", ""),
    ("bdev_null_resize n 1", "does not become smaller"),
    ("bdev_aio_rescan a", ""),
    (
        "bdev_set_qos_limit n --rw-ios-per-sec 0 --rw-mbytes-per-sec 0 --r-mbytes-per-sec 0 --w-mbytes-per-sec 0",
        "",
    ),
    ("bdev_set_qos_limit n --rw-ios-per-sec 1000", "`rw_ios_per_sec`"),
    ("bdev_set_qos_limit n --r-mbytes-per-sec 1", "`r_mbytes_per_sec`"),
    ("rpc_get_methods -c -i", ""),
    ("save_config -i -1 -s bdev --with-batches", ""),
    ("save_subsystem_config -n vhost_blk -i 4", ""),
];

/// Further parameters of an attach.
const ATTACH_OPTIONS: &[(&str, &str)] = &[
    ("-x disable --num-io-queues 4 -m 8 -l 0 -o 0 -u 0 --fabrics-timeout 0", "no PCI device ffff:ff:1f.7"),
    ("-f ipv4", "`adrfam`"),
    ("-s 4420", "`trsvcid`"),
    ("-p 1", "`priority`"),
    ("-n nqn.x", "`subnqn`"),
    ("-q nqn.x", "`hostnqn`"),
    ("-i 10.0.0.1", "`hostaddr`"),
    ("-c 1", "`hostsvcid`"),
    ("-r", "`prchk_reftag`"),
    ("-g", "`prchk_guard`"),
    ("-e", "`hdgst`"),
    ("-d", "`ddgst`"),
    ("--fabrics-timeout 1", "`fabrics_connect_timeout_us`"),
    ("-x failover", "`multipath`"),
    ("--num-io-queues 0", "`num_io_queues`"),
    ("-s 0 -l 30 -o 2 -u 15 -x disable", "no PCI device ffff:ff:1f.7"),
    ("-l -1 -o 1", "no PCI device ffff:ff:1f.7"),
    ("-l -1", "`ctrlr_loss_timeout_sec`"),
    ("-l 5 -o 6", "`reconnect_delay_sec`"),
    ("-l 5 -o 1 -u 6", "`fast_io_fail_timeout_sec`"),
    ("-o 1", "`reconnect_delay_sec`"),
    ("-u 1", "`fast_io_fail_timeout_sec`"),
    ("-k key", "`psk`"),
    ("-m 0", "`max_bdevs`"),
    ("--dhchap-key key", "`dhchap_key`"),
    ("--dhchap-ctrlr-key key", "`dhchap_ctrlr_key`"),
    ("-U", "`allow_unrecognized_csi`"),
    ("--policy active_active", "`multipath_opts`"),
    ("--selector queue_depth --min-io 2", "`multipath_opts`"),
    ("--disable-sq-flow-control", "`disable_sq_flow_control`"),
];

/// Further parameters of a detach.
const DETACH_OPTIONS: &[(&str, &str)] = &[
    ("-t PCIe -a ffff:ff:1f.7 -s 0", "no NVMe controller N"),
    ("-f ipv4", "`adrfam`"),
    ("-s 4420", "`trsvcid`"),
    ("-n nqn.x", "`subnqn`"),
    ("-i 10.0.0.1", "`hostaddr`"),
    ("-c 1", "`hostsvcid`"),
];

/// Calls about NVMe subsystems, in this order.
const NVMF_OPTIONS: &[(&str, &str)] = &[
    ("nvmf_create_transport -t TCP", "Invalid transport type 'TCP'"),
    ("nvmf_create_transport -t VFIOUSER -q 5000", "`max_queue_depth`"),
    ("nvmf_create_transport -t VFIOUSER -m 200", "`max_io_qpairs_per_ctrlr`"),
    ("nvmf_create_transport -t VFIOUSER -c 4096", "`in_capsule_data_size`"),
    ("nvmf_create_transport -t VFIOUSER -i 131073", "`max_io_size`"),
    ("nvmf_create_transport -t VFIOUSER -a 5000", "`max_aq_depth`"),
    ("nvmf_create_transport -t VFIOUSER -r", "`no_srq`"),
    ("nvmf_create_transport -t VFIOUSER -f", "`dif_insert_or_strip`"),
    ("nvmf_create_transport -t VFIOUSER -y 1", "`sock_priority`"),
    ("nvmf_create_transport -t VFIOUSER -w", "`no_wr_batching`"),
    ("nvmf_create_transport -t VFIOUSER --kas 1", "`kas`"),
    ("nvmf_create_transport -t VFIOUSER --min-kato 1", "`min_kato`"),
    ("nvmf_create_transport -t VFIOUSER -g other", "`tgt_name`"),
    (
        "nvmf_create_transport -t VFIOUSER -g nvmf_tgt -q 4096 -m 16 -c 0 -i 1048576 -a 128 --masked-oncs all --masked-fuses fcws \
         --iobuf-small-cache-size 1 --iobuf-large-cache-size 1 -z -d 1 -s 1 -o -l 1 -x 1 -e 1 --acceptor-poll-rate 1 \
         --ack-timeout 1 --data-wr-pool-size 1 --disable-command-passthru",
        "",
    ),
    ("nvmf_create_transport -t VFIOUSER", "Transport type 'VFIOUSER' already exists"),
    ("nvmf_get_transports --trtype VFIOUSER -t nvmf_tgt", ""),
    (
        "nvmf_create_subsystem nqn.2016-06.io.spdk:a -t nvmf_tgt -s S -d M -a -m 8 -i 1 -I 8 -n --dmrsl 0 --wzsl 0",
        "",
    ),
    ("nvmf_create_subsystem nqn.2016-06.io.spdk:b -r", "`ana_reporting`"),
    ("nvmf_create_subsystem nqn.2016-06.io.spdk:b --dmrsl 1", "`dmrsl`"),
    ("nvmf_create_subsystem nqn.2016-06.io.spdk:b --wzsl 1", "`wzsl`"),
    ("nvmf_create_subsystem nqn.2016-06.io.spdk:b -p", "`passthrough`"),
    ("nvmf_create_subsystem nqn.2016-06.io.spdk:b --admin-label label", "`admin_label`"),
    ("nvmf_get_subsystems nqn.2016-06.io.spdk:a -t nvmf_tgt", ""),
    ("nvmf_subsystem_add_ns nqn.2016-06.io.spdk:a m -n 3 -u 0f5d0b8e-9d1c-4a34-8a55-2b5a9bf9a3a9", ""),
    (
        "nvmf_subsystem_add_ns nqn.2016-06.io.spdk:a m0 -t nvmf_tgt -g 0123456789ABCDEF0123456789ABCDEF -e \
         0123456789ABCDEF",
        "",
    ),
    ("nvmf_subsystem_add_ns nqn.2016-06.io.spdk:a n -p /x", "`namespace.ptpl_file`"),
    ("nvmf_subsystem_add_ns nqn.2016-06.io.spdk:a n -a 2", "`namespace.anagrpid`"),
    ("nvmf_subsystem_add_ns nqn.2016-06.io.spdk:a n -i", "`namespace.no_auto_visible`"),
    (
        "nvmf_subsystem_add_listener nqn.2016-06.io.spdk:a -t VFIOUSER -a DIR -s 0 -p nvmf_tgt -n optimized --numa-id -1",
        "",
    ),
    ("nvmf_subsystem_add_listener nqn.2016-06.io.spdk:a -t vfiouser -a DIRx -f ipv4 -k", "`secure_channel`"),
    ("nvmf_subsystem_add_listener nqn.2016-06.io.spdk:a -t VFIOUSER -a DIRx -n inaccessible", "`ana_state`"),
    ("nvmf_subsystem_add_listener nqn.2016-06.io.spdk:a -t VFIOUSER -a DIRx -S posix", "`sock_impl`"),
    ("nvmf_subsystem_add_listener nqn.2016-06.io.spdk:a -t VFIOUSER -a DIRx --numa-id 1", "`numa_id`"),
    (
        "nvmf_subsystem_add_listener nqn.2016-06.io.spdk:a -t TCP -a 10.0.0.1 -s 4420",
        "Invalid transport type 'TCP'",
    ),
    ("nvmf_subsystem_get_listeners nqn.2016-06.io.spdk:a -t nvmf_tgt", ""),
    ("nvmf_subsystem_get_controllers nqn.2016-06.io.spdk:a -t nvmf_tgt", ""),
    ("nvmf_subsystem_get_qpairs nqn.2016-06.io.spdk:a -t nvmf_tgt", ""),
    ("nvmf_get_stats -t nvmf_tgt", ""),
    ("nvmf_subsystem_add_host nqn.2016-06.io.spdk:a nqn.2016-06.io.spdk:h -t nvmf_tgt", ""),
    ("nvmf_subsystem_add_host nqn.2016-06.io.spdk:a nqn.2016-06.io.spdk:i --psk k", "`psk`"),
    ("nvmf_subsystem_add_host nqn.2016-06.io.spdk:a nqn.2016-06.io.spdk:i --dhchap-key k", "`dhchap_key`"),
    (
        "nvmf_subsystem_add_host nqn.2016-06.io.spdk:a nqn.2016-06.io.spdk:i --dhchap-ctrlr-key k",
        "`dhchap_ctrlr_key`",
    ),
    ("nvmf_subsystem_remove_host nqn.2016-06.io.spdk:a nqn.2016-06.io.spdk:h -t nvmf_tgt -T 10", ""),
    ("nvmf_subsystem_allow_any_host nqn.2016-06.io.spdk:a --no-allow-any-host -t nvmf_tgt", ""),
    ("nvmf_subsystem_remove_listener nqn.2016-06.io.spdk:a -t VFIOUSER -a DIR -s 0 -p nvmf_tgt", ""),
    ("nvmf_subsystem_remove_ns nqn.2016-06.io.spdk:a 3 -t nvmf_tgt", ""),
    ("nvmf_delete_subsystem nqn.2016-06.io.spdk:a -t nvmf_tgt", ""),
];

#[test]
fn each_of_its_options_is_obeyed_or_refused_by_name() {
    let luge = Daemon::start();
    fs::write(luge.path("file"), vec![0; 1 << 20]).unwrap();
    let attach = |(options, expected): &(&str, &'static str)| {
        (format!("bdev_nvme_attach_controller -b N -t PCIe -a ffff:ff:1f.7 {options}"), *expected)
    };
    let detach = |(options, expected): &(&str, &'static str)| {
        (format!("bdev_nvme_detach_controller N {options}"), *expected)
    };
    let plain =
        |(line, expected): &(&str, &'static str)| (line.replace("FILE", &luge.path("file")), *expected);
    let subsystem =
        |(line, expected): &(&str, &'static str)| (line.replace("DIR", &luge.path("nvme")), *expected);
    let calls: Vec<_> = OPTIONS
        .iter()
        .map(plain)
        .chain(ATTACH_OPTIONS.iter().map(attach))
        .chain(DETACH_OPTIONS.iter().map(detach))
        .chain(NVMF_OPTIONS.iter().map(subsystem))
        .collect();
    let lines: Vec<_> = calls.iter().map(|(line, _)| line.as_str()).collect();
    for ((line, expected), answer) in calls.iter().zip(Spdk::of(&luge).answers(&lines)) {
        match answer {
            Ok(said) => assert!(expected.is_empty(), "{line} worked: {said}"),
            Err(said) => assert!(!expected.is_empty() && said.contains(expected), "{line}: {said}"),
        }
    }
}

#[test]
fn it_makes_shows_and_deletes_devices() {
    let luge = Daemon::start();
    fs::write(luge.path("file"), vec![0; 1 << 20]).unwrap();
    let spdk = Spdk::of(&luge);
    assert_eq!(spdk.says("bdev_malloc_create -b m0 8 512"), "m0");
    assert_eq!(spdk.says("bdev_malloc_create 8 4096"), "Malloc0");
    assert_eq!(spdk.says("bdev_null_create n0 100 4096"), "n0");
    assert_eq!(spdk.says(&format!("bdev_aio_create {} a0 512", luge.path("file"))), "a0");
    assert_eq!(spdk.says("bdev_split_create n0 3 -s 10"), "n0p0 n0p1 n0p2");
    assert_eq!(spdk.json("bdev_get_bdevs").as_array().unwrap().len(), 7);
    assert_eq!(spdk.json("bdev_get_bdevs -b n0p1 -t 100")[0]["num_blocks"], 2560);
    assert_eq!(spdk.json("bdev_get_iostat")["bdevs"].as_array().unwrap().len(), 7);
    assert_eq!(spdk.json("bdev_get_iostat --names m0,n0")["bdevs"][1]["name"], "n0");
    assert_eq!(spdk.json("bdev_get_iostat -c --names m0")["channels"].as_array().unwrap().len(), 1);
    assert!(spdk.refusal("bdev_null_delete n0").contains("\"code\": -16"));
    assert!(spdk.refusal("bdev_malloc_create -b m0 8 512").contains("\"code\": -17"));
    assert!(spdk.refusal("bdev_get_bdevs -b nothing").contains("\"code\": -19"));
    for line in [
        "bdev_split_delete n0",
        "bdev_null_delete n0",
        "bdev_malloc_delete m0",
        "bdev_malloc_delete Malloc0",
        "bdev_aio_delete a0",
    ] {
        spdk.says(line);
    }
    assert_eq!(spdk.json("bdev_get_bdevs"), serde_json::json!([]));
}

#[test]
fn it_serves_devices_and_asks_for_ssds() {
    let luge = Daemon::start();
    let spdk = Spdk::of(&luge);
    spdk.says("bdev_malloc_create -b m0 8 512");
    spdk.says("vhost_create_blk_controller --cpumask 0x1 vhost.0 m0");
    spdk.says("vhost_create_blk_controller -r vhost.1 m0");
    assert_eq!(spdk.json("vhost_get_controllers").as_array().unwrap().len(), 2);
    assert_eq!(
        spdk.json("vhost_get_controllers -n vhost.1")[0]["backend_specific"]["block"]["readonly"],
        true
    );
    assert!(spdk.refusal("vhost_create_blk_controller -p vhost.2 m0").contains("`packed_ring`"));
    assert!(spdk.refusal("bdev_malloc_delete m0").contains("vhost controller vhost.0"));
    spdk.says("vhost_delete_controller vhost.0");
    spdk.says("vhost_delete_controller vhost.1");
    spdk.says("bdev_malloc_delete m0");
    let attach = "bdev_nvme_attach_controller -b Nvme0 -t PCIe -a ffff:ff:1f.7";
    assert!(spdk.refusal(attach).contains("\"code\": -19"));
    assert_eq!(spdk.json("bdev_nvme_get_controllers"), serde_json::json!([]));
    assert!(spdk.refusal("bdev_nvme_get_controller_health_info -c Nvme0").contains("\"code\": -19"));
    assert!(spdk.refusal("bdev_nvme_detach_controller Nvme0").contains("\"code\": -19"));
}

#[test]
fn it_asks_for_the_process_and_sets_its_log() {
    let luge = Daemon::start();
    let spdk = Spdk::of(&luge);
    assert!(spdk.json("spdk_get_version")["version"].as_str().unwrap().starts_with("Luge v"));
    assert_eq!(spdk.json("framework_get_reactors")["reactors"].as_array().unwrap().len(), 1);
    assert_eq!(spdk.json("thread_get_stats")["threads"].as_array().unwrap().len(), 1);
    assert!(spdk.json("rpc_get_methods -c").as_array().unwrap().len() > 10);
    spdk.says("log_set_level DEBUG");
    assert_eq!(spdk.json("log_get_level"), "DEBUG");
    assert_eq!(spdk.json("framework_get_subsystems")[0]["subsystem"], "bdev");
}

#[test]
fn it_saves_a_configuration_and_loads_it_into_a_luge_that_waits() {
    let first = Daemon::start();
    let spdk = Spdk::of(&first);
    spdk.says("bdev_malloc_create -b m0 8 512");
    spdk.says("bdev_null_create n0 100 4096");
    spdk.says("bdev_split_create n0 3");
    let config = spdk.says("save_config");
    assert_eq!(spdk.json("framework_get_config bdev").as_array().unwrap().len(), 3);

    let second = Daemon::with(&["--wait-for-rpc"]);
    fs::write(second.path("config.json"), &config).unwrap();
    let other = Spdk::of(&second);
    assert!(other.refusal("bdev_get_bdevs").contains("\"code\": -1"));
    other.says(&format!("load_config -j {}", second.path("config.json")));
    other.says("framework_wait_init");
    assert_eq!(other.says("save_config"), config);
    assert_eq!(other.json("bdev_get_bdevs"), spdk.json("bdev_get_bdevs"));
}

#[test]
fn it_loads_a_stock_configuration_before_and_after_the_start() {
    for args in [&[][..], &["--wait-for-rpc"]] {
        let luge = Daemon::with(args);
        let spdk = Spdk::of(&luge);
        fs::write(luge.path("stock.json"), stock().to_string()).unwrap();
        spdk.says(&format!("load_config -j {}", luge.path("stock.json")));
        assert_eq!(spdk.json("bdev_get_bdevs").as_array().unwrap().len(), 4);
        assert_eq!(spdk.json("vhost_get_controllers")[0]["ctrlr"], "vhost.0");
    }
}

#[test]
fn it_loads_a_subsystem_of_a_stock_configuration() {
    let luge = Daemon::start();
    let spdk = Spdk::of(&luge);
    for subsystem in stock()["subsystems"].as_array().unwrap() {
        fs::write(luge.path("part.json"), subsystem.to_string()).unwrap();
        spdk.says(&format!("load_subsystem_config -j {}", luge.path("part.json")));
    }
    assert_eq!(spdk.json("bdev_get_bdevs").as_array().unwrap().len(), 4);
}

#[test]
fn it_sets_the_options_that_orchestrators_set() {
    let luge = Daemon::start();
    let spdk = Spdk::of(&luge);
    for line in [
        "bdev_set_options -p 65535 -c 256",
        "iobuf_set_options --small-pool-count 8192",
        "accel_set_options --task-count 2048",
        "bdev_nvme_set_options -t 30000000 -a reset",
        "bdev_nvme_set_hotplug --no-hotplug",
        "sock_impl_set_options -i posix",
        "framework_set_scheduler static",
        "log_set_print_level DEBUG",
        "log_set_flag nvme",
        "log_clear_flag nvme",
        "bdev_wait_for_examine",
    ] {
        spdk.says(line);
    }
    assert_eq!(spdk.json("log_get_print_level"), "DEBUG");
    assert_eq!(spdk.json("log_get_flags"), serde_json::json!({}));
}

#[test]
fn it_makes_many_calls_over_one_connection_and_in_a_batch() {
    let luge = Daemon::start();
    let spdk = Spdk::of(&luge);
    fs::write(luge.path("script"), "bdev_null_create a 1 512\nbdev_null_create b 1 512\nbdev_get_bdevs\n")
        .unwrap();
    let output = spdk.run("-t 20", File::open(luge.path("script")).unwrap().into());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    fs::write(luge.path("batch"), "bdev_null_create c 1 512\nbdev_null_delete a\nbdev_null_delete b\n")
        .unwrap();
    let output = spdk.run("-b", File::open(luge.path("batch")).unwrap().into());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(spdk.json("bdev_get_bdevs").as_array().unwrap().len(), 1);
}

#[test]
fn it_starts_and_ends_a_luge() {
    let mut luge = Daemon::with(&["--wait-for-rpc"]);
    let spdk = Spdk::of(&luge);
    spdk.says("framework_start_init");
    spdk.says("framework_wait_init");
    assert!(spdk.refusal("framework_start_init").contains("\"code\": -1"));
    spdk.says("spdk_kill_instance SIGTERM");
    eventually("the end of luge", || luge.child.try_wait().unwrap().is_some());
}

/// Recipe of the field for an NVMe controller on a vfio-user socket.
#[test]
fn it_serves_an_nvme_controller_by_the_well_known_recipe() {
    let luge = Daemon::with(&["-s", "4096"]);
    let spdk = Spdk::of(&luge);
    let directory = luge.path("vfio-user");
    spdk.says("framework_wait_init");
    assert_eq!(spdk.says("bdev_malloc_create 4092 512 -b Malloc0"), "Malloc0");
    spdk.says("nvmf_create_transport -t VFIOUSER");
    spdk.says("nvmf_create_subsystem nqn.2016-06.io.spdk:cnode1 -s SPDK00 -a");
    spdk.says("nvmf_subsystem_add_ns nqn.2016-06.io.spdk:cnode1 Malloc0");
    spdk.says(&format!(
        "nvmf_subsystem_add_listener nqn.2016-06.io.spdk:cnode1 -t VFIOUSER -a {directory} -s 0"
    ));
    let subsystem = spdk.json("nvmf_get_subsystems")[1].clone();
    assert_eq!(subsystem["serial_number"], "SPDK00");
    assert_eq!(subsystem["allow_any_host"], true);
    assert_eq!(subsystem["namespaces"][0]["name"], "Malloc0");
    assert_eq!(subsystem["listen_addresses"][0]["traddr"], directory.as_str());
    assert!(std::os::unix::net::UnixStream::connect(luge.path("vfio-user/cntrl")).is_ok());
}

/// Recipe of the field for a SCSI controller with an SSD and a memory disk.
#[test]
fn it_serves_a_scsi_controller_by_the_well_known_recipe() {
    let target = Daemon::start();
    let nvme = Spdk::of(&target);
    nvme.says("bdev_malloc_create 16 512 -b Malloc0");
    nvme.says("nvmf_create_transport -t VFIOUSER");
    nvme.says("nvmf_create_subsystem nqn.2016-06.io.spdk:cnode1 -a");
    nvme.says("nvmf_subsystem_add_ns nqn.2016-06.io.spdk:cnode1 Malloc0");
    let directory = target.path("ssd");
    nvme.says(&format!(
        "nvmf_subsystem_add_listener nqn.2016-06.io.spdk:cnode1 -t VFIOUSER -a {directory} -s 0"
    ));

    let luge = Daemon::start();
    let spdk = Spdk::of(&luge);
    let attach = format!("bdev_nvme_attach_controller -b Nvme0 -t VFIOUSER -a {directory}");
    assert_eq!(spdk.says(&attach), "Nvme0n1");
    assert_eq!(spdk.says("bdev_malloc_create 16 4096 -b Malloc0"), "Malloc0");
    spdk.says("vhost_create_scsi_controller --cpumask 0x1 vhost.0");
    assert_eq!(spdk.says("vhost_scsi_controller_add_target vhost.0 0 Nvme0n1"), "0");
    assert_eq!(spdk.says("vhost_scsi_controller_add_target vhost.0 1 Malloc0"), "1");
    let shown = spdk.json("vhost_get_controllers -n vhost.0")[0].clone();
    assert_eq!(shown["cpumask"], "0x1");
    let targets = shown["backend_specific"]["scsi"].as_array().unwrap();
    let luns: Vec<_> = targets.iter().map(|target| target["luns"][0]["bdev_name"].clone()).collect();
    assert_eq!(luns, ["Nvme0n1", "Malloc0"]);
    spdk.says("vhost_scsi_controller_remove_target vhost.0 0");
    spdk.says("bdev_nvme_detach_controller Nvme0");
    spdk.says("vhost_delete_controller vhost.0");
    spdk.says("bdev_malloc_delete Malloc0");
}
