//! The client that storage people already use, unmodified: `spdk-rpc` of the PyPI package `spdk`.

use crate::daemon::{Daemon, command, eventually};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The package, with the version whose calls and results these are.
const PACKAGE: &str = "spdk==26.9";

/// The client's program; installed on first use and kept.
fn client() -> PathBuf {
    let cache = std::env::var_os("LUGE_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/luge");
    let folder = cache.unwrap_or_else(home);
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("spdk-venv.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let venv = folder.join("spdk-venv");
    if fs::read_to_string(venv.join("package")).unwrap_or_default() != PACKAGE {
        install(&venv);
    }
    venv.join("bin/spdk-rpc")
}

fn install(venv: &Path) {
    let _ = fs::remove_dir_all(venv);
    succeed(Command::new("python3").args(["-m", "venv"]).arg(venv));
    succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--no-deps", PACKAGE]));
    fs::write(venv.join("package"), PACKAGE).unwrap();
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{PACKAGE} cannot be installed from PyPI (python3-venv, network?): {said}"
    );
}

struct Spdk<'a> {
    luge: &'a Daemon,
    program: PathBuf,
}

impl<'a> Spdk<'a> {
    fn of(luge: &'a Daemon) -> Self {
        Self { luge, program: client() }
    }

    fn run(&self, line: &str, input: Stdio) -> Output {
        let mut command = command(self.program.to_str().unwrap());
        command.arg("-s").arg(self.luge.socket()).args(line.split(' ')).stdin(input);
        command.output().unwrap()
    }

    /// What it prints for a call that must work.
    fn says(&self, line: &str) -> String {
        let output = self.run(line, Stdio::null());
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        said.trim_end().to_owned()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.says(line)).unwrap()
    }

    /// What it prints for a call that must fail.
    fn refusal(&self, line: &str) -> String {
        let output = self.run(line, Stdio::null());
        assert!(!output.status.success(), "{line} worked");
        String::from_utf8(output.stdout).unwrap()
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
