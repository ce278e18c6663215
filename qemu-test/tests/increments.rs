//! One block behind a SCSI host bus adapter and an NVMe controller: increments by compare-and-write from both sides at
//! once, of which none is lost.

use clap::Parser;
use luge_bench::{BenchError, Increments, Options, increment};
use luge_qemu_test::{Bench, Daemon, Lab, Serve, TestError};
use serde_json::{Value, json};
use std::fs;

/// Increments of each side; a million together in the long run of all tests.
const TIMES: u64 = 2_000;
const TIMES_LONG: u64 = 500_000;

const NQN: &str = "nqn.2016-06.io.spdk:cnode1";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Serves a disk in memory in both ways, on two cores.
fn serve(bench: &Bench<'_>) -> Result<Daemon, TestError> {
    let folder = bench.path("nvme");
    fs::create_dir(&folder).map_err(|error| TestError::Host(format!("making a folder: {error}")))?;
    let mut daemon =
        Serve { cpu_mask: "0x3".to_owned(), spare_memory_mib: 16, ..Serve::default() }.start(bench)?;
    let mut call = |method: &str, params: Value| daemon.rpc.call(method, params);
    call("bdev_malloc_create", json!({ "name": "Memory", "num_blocks": 16 << 11, "block_size": 512 }))?;
    call("vhost_create_scsi_controller", json!({ "ctrlr": "hba" }))?;
    let lun = json!({ "ctrlr": "hba", "scsi_target_num": 0, "bdev_name": "Memory" });
    call("vhost_scsi_controller_add_target", lun)?;
    call("nvmf_create_transport", json!({ "trtype": "VFIOUSER" }))?;
    call("nvmf_create_subsystem", json!({ "nqn": NQN, "allow_any_host": true }))?;
    call("nvmf_subsystem_add_ns", json!({ "nqn": NQN, "namespace": { "bdev_name": "Memory" } }))?;
    let address = json!({ "trtype": "VFIOUSER", "traddr": folder, "trsvcid": "0" });
    call("nvmf_subsystem_add_listener", json!({ "nqn": NQN, "listen_address": address }))?;
    Ok(daemon)
}

#[test]
fn no_increment_by_scsi_or_nvme_is_lost() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("increments")?;
    let _turn = lab.turn()?;
    let daemon = serve(&bench)?;
    let times = if std::env::var_os("LUGE_FUZZ_SECONDS").is_some() { TIMES_LONG } else { TIMES };
    let (lun, controller) = (daemon.socket("hba"), bench.path("nvme"));
    let client = |words: String| -> Result<Increments, BenchError> {
        increment(&Line::parse_from(words.split(' ')).options, times)
    };
    let (scsi, nvme) = std::thread::scope(|scope| {
        let scsi = scope.spawn(|| client(format!("bench {} --target 0", lun.display())));
        let nvme = client(format!("bench {}", controller.display()));
        (scsi.join().expect("the thread does not panic"), nvme)
    });
    let failed = |error: BenchError| TestError::Host(error.to_string());
    let (scsi, nvme) = (scsi.map_err(failed)?, nvme.map_err(failed)?);
    assert_eq!(scsi.made, times);
    assert_eq!(nvme.made, times);
    assert_eq!(scsi.number.max(nvme.number), 2 * times, "{scsi:?}, {nvme:?}");
    assert!(scsi.late + nvme.late > 0, "they never met: {scsi:?}, {nvme:?}");
    Ok(())
}
