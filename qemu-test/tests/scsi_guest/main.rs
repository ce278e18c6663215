//! The SCSI target seen by software that is not ours: QEMU's vhost-user-scsi, Linux's drivers, sg3-utils, libiscsi's
//! tests, smartmontools, the multipath tools, ext4's tools, and the drivers of two kinds of firmware.
//!
//! | Witness | Version |
//! |---|---|
//! | QEMU's `vhost-user-scsi-pci`, by TCG | 11.1.3 (Debian 13, backports) |
//! | Linux's `virtio_scsi`, `sd`, `sg` and `dm-multipath`, in Debian's cloud kernel | 6.12.118 |
//! | sg3-utils | 1.48 |
//! | iscsi-test-cu, by SG_IO | 1.20 |
//! | smartctl | 7.4 |
//! | multipathd | 0.11.1 |
//! | nvme-cli | 2.13 |
//! | mke2fs, e2fsck | 1.47.2 |
//! | OVMF (`VirtioScsiDxe`), SeaBIOS | Debian 13's |
//!
//! The steps of the guest are in `guest.sh`, and those of guests of other protocols, too, in `../steps.sh`. Those that
//! QEMU's own SCSI disks can take were first tried with them.

mod conformance;
mod server;

use luge_qemu_test::{Bench, Boot, Daemon, Deadline, Disk, Lab, Machine, Reset, Running, TestError};
use serde_json::{Value, json};
use server::{Lun, THEIRS, add_lun, hbas, make_file, remove_lun, serve};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

/// Script of the guest.
const SCRIPT: &str = concat!(include_str!("../steps.sh"), include_str!("guest.sh"));

const ARGUMENTS: &str = "luge.guest=scsi nvme_core.multipath=N";

/// Steps before the reset of the machine.
const FIRST_STEPS: [&str; 21] = [
    "identify",
    "pages",
    "names",
    "capacity",
    "luns",
    "modes",
    "opcodes",
    "senses",
    "files",
    "commands",
    "compare_and_write",
    "ranges",
    "logs",
    "groups",
    "reset",
    "shared",
    "reservations",
    "old_reservations",
    "increments",
    "live",
    "reboot_under_load",
];

/// Steps after it.
const SECOND_STEPS: [&str; 2] = ["check_synced", "write_until_killed"];

/// Whether the tests have hours: `cargo verify long` sets the variable.
fn is_long() -> bool {
    std::env::var_os("LUGE_FUZZ_SECONDS").is_some()
}

fn boot(bench: &Bench<'_>, steps: &str) -> Result<Boot, TestError> {
    let guest = bench.lab().guest()?.with_script("scsi", SCRIPT, &bench.path("initramfs"))?;
    let (kernel, initramfs) = (guest.kernel, guest.initramfs);
    Ok(Boot::Kernel { kernel, initramfs, arguments: format!("{ARGUMENTS} {steps}") })
}

fn start(bench: &Bench<'_>, name: &str, daemon: &Daemon, steps: &str) -> Result<Running, TestError> {
    let hbas = hbas(daemon);
    let machine = Machine::new(name, boot(bench, steps)?);
    Machine { cpus: 2, hbas, reset: Reset::Boots, ..machine }.start(bench)
}

/// Waits for a word of the guest, and returns the rest of its line.
fn said(guest: &Running, word: &str) -> Result<String, TestError> {
    guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS))
}

fn passed(guest: &Running, step: &str) -> Result<(), TestError> {
    let outcome = said(guest, &format!("STEP {step} "))?;
    assert_eq!(outcome, "ok", "{step}:\n{}", guest.process.output.tail());
    Ok(())
}

/// Does what the guest wants, and tells it.
fn grant(
    guest: &mut Running,
    wanted: &str,
    work: impl FnOnce() -> Result<(), TestError>,
) -> Result<(), TestError> {
    assert_eq!(said(guest, "WANTED ")?, wanted, "{}", guest.process.output.tail());
    work()?;
    guest.process.send_line("done")
}

/// Adds a LUN, lets it grow, and removes it, when the guest wants it.
fn change_luns(bench: &Bench<'_>, daemon: &mut Daemon, guest: &mut Running) -> Result<(), TestError> {
    let late = Lun { controller: "first", target: 2, lun: 0 };
    let path = make_file(bench, "late", 16)?;
    let params = json!({ "name": "Late", "filename": path, "block_size": 512 });
    daemon.rpc.call("bdev_aio_create", params)?;
    grant(guest, "add", || add_lun(daemon, late, "Late"))?;
    grant(guest, "grow", || {
        let file = File::options().write(true).open(&path);
        file.and_then(|file| file.set_len(32 << 20))
            .map_err(|error| TestError::Host(format!("growing a file: {error}")))?;
        daemon.rpc.call("bdev_aio_rescan", json!({ "name": "Late" })).map(drop)
    })?;
    grant(guest, "remove", || remove_lun(daemon, late))
}

#[test]
fn a_linux_guest_uses_everything_and_keeps_its_files_through_resets_and_kills() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-guest")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 128)?)?;
    let steps = format!("steps={} again={}", FIRST_STEPS.join(","), SECOND_STEPS.join(","));
    let mut guest = start(&bench, "guest", &daemon, &steps)?;
    for step in FIRST_STEPS {
        match step {
            "live" => change_luns(&bench, &mut daemon, &mut guest)?,
            // The guest resets itself.
            "reboot_under_load" => break,
            _ => {}
        }
        passed(&guest, step)?;
    }

    // After the reset of the machine: the same QEMU, which has reset the adapters.
    passed(&guest, "check_synced")?;
    said(&guest, "SYNCED 3")?;
    // QEMU ends in the middle of a write, and another one takes its place.
    guest.process.kill();
    let mut guest = start(&bench, "next-guest", &daemon, "steps=none again=check_synced")?;
    passed(&guest, "check_synced")?;
    assert_eq!(said(&guest, "LUGE-GUEST done status=")?, "0");
    guest.process.wait(Deadline::within(60))?;
    drop(daemon);
    check_from_outside(&bench)
}

#[test]
fn libiscsis_tests_pass_for_every_command_that_there_is() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-conformance")?;
    let _turn = lab.turn()?;
    let daemon = serve(&bench, &make_file(&bench, "disk", 8)?)?;
    let suites = if is_long() { String::new() } else { conformance::FEW_SUITES.join(",") };
    let guest = start(&bench, "guest", &daemon, &format!("suites={suites} steps=conformance"))?;
    let mut outcomes = BTreeMap::new();
    loop {
        let line = said(&guest, "CONFORMS ")?;
        let Some((test, outcome)) = line.split_once(' ') else { break };
        outcomes.insert(test.to_owned(), outcome.to_owned());
    }
    passed(&guest, "conformance")?;
    assert!(outcomes.len() >= if is_long() { 200 } else { 20 }, "{outcomes:?}");
    let faults = conformance::faults(&outcomes);
    assert!(faults.is_empty(), "{}\nsee {}", faults.join("\n"), guest.process.output.log().display());
    Ok(())
}

/// Number of times that a LUN comes and goes.
const PLUGS: u8 = 10;
const PLUGS_LONG: u8 = 100;

#[test]
fn a_guest_at_work_sees_each_lun_that_comes_and_goes() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-plugs")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 8)?)?;
    let late = json!({ "name": "Late", "num_blocks": 16 << 11, "block_size": 512 });
    daemon.rpc.call("bdev_malloc_create", late)?;
    let plugs = if is_long() { PLUGS_LONG } else { PLUGS };
    let mut guest = start(&bench, "guest", &daemon, &format!("plugs={plugs} steps=plugs"))?;
    for n in 1..=plugs {
        let lun = Lun { controller: "first", target: 3, lun: n % 4 };
        grant(&mut guest, "plug", || add_lun(&mut daemon, lun, "Late"))?;
        grant(&mut guest, "unplug", || remove_lun(&mut daemon, lun))?;
    }
    grant(&mut guest, "unplugged", || Ok(()))?;
    passed(&guest, "plugs")
}

#[test]
fn a_guest_goes_on_by_one_path_when_the_other_one_is_removed() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-paths")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 8)?)?;
    let mut guest = start(&bench, "guest", &daemon, "steps=paths")?;
    grant(&mut guest, "cut", || remove_lun(&mut daemon, THEIRS))?;
    grant(&mut guest, "mend", || add_lun(&mut daemon, THEIRS, "Memory"))?;
    passed(&guest, "paths")
}

/// Milliseconds from the start of a removal to the end of QEMU.
const KILLS_AFTER_MS: [u64; 1] = [1];
const KILLS_AFTER_MS_LONG: [u64; 6] = [0, 1, 3, 10, 30, 100];

#[test]
fn a_lun_is_removed_while_its_guest_is_killed() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-killed")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 8)?)?;
    let memory = Lun { controller: "first", target: 1, lun: 0 };
    let kills: &[u64] = if is_long() { &KILLS_AFTER_MS_LONG } else { &KILLS_AFTER_MS };
    for &ms in kills {
        let mut guest = start(&bench, &format!("guest-{ms}"), &daemon, "steps=work_until_killed")?;
        said(&guest, "WORKING")?;
        std::thread::scope(|scope| {
            let removal = scope.spawn(|| remove_lun(&mut daemon, memory));
            std::thread::sleep(std::time::Duration::from_millis(ms));
            guest.process.kill();
            removal.join().expect("the thread does not panic")
        })?;
        let refused = remove_lun(&mut daemon, memory);
        assert!(matches!(refused, Err(TestError::Refused { .. })), "{ms} ms: it was removed twice");
        add_lun(&mut daemon, memory, "Memory")?;
    }
    let mut guest = start(&bench, "last-guest", &daemon, "steps=names,shared")?;
    passed(&guest, "names")?;
    passed(&guest, "shared")?;
    guest.process.wait(Deadline::within(60)).map(drop)
}

/// Serves the memory as an NVMe namespace and as a virtio disk, too.
fn serve_otherwise(bench: &Bench<'_>, daemon: &mut Daemon) -> Result<Machine, TestError> {
    const NQN: &str = "nqn.2016-06.io.spdk:cnode1";
    let folder = bench.path("nvme");
    fs::create_dir(&folder).map_err(|error| TestError::Host(format!("making a folder: {error}")))?;
    let mut call = |method: &str, params: Value| daemon.rpc.call(method, params);
    call("nvmf_create_transport", json!({ "trtype": "VFIOUSER" }))?;
    call("nvmf_create_subsystem", json!({ "nqn": NQN, "allow_any_host": true }))?;
    call("nvmf_subsystem_add_ns", json!({ "nqn": NQN, "namespace": { "nsid": 1, "bdev_name": "Memory" } }))?;
    let address = json!({ "trtype": "VFIOUSER", "traddr": folder, "trsvcid": "0" });
    call("nvmf_subsystem_add_listener", json!({ "nqn": NQN, "listen_address": address }))?;
    call("vhost_create_blk_controller", json!({ "ctrlr": "disk", "dev_name": "Memory" }))?;
    Ok(Machine {
        cpus: 2,
        hbas: hbas(daemon),
        controllers: vec![folder.join("cntrl")],
        disks: vec![Disk { socket: daemon.socket("disk"), queues: 1 }],
        ..Machine::new("guest", boot(bench, "steps=mixed_reservations")?)
    })
}

#[test]
fn one_reservation_holds_for_scsi_nvme_and_virtio_disks() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-mixed")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 8)?)?;
    let guest = serve_otherwise(&bench, &mut daemon)?.start(&bench)?;
    passed(&guest, "mixed_reservations")
}

/// Boots a guest from LUN 0 of target 0.
fn boot_from_lun(bench: &Bench<'_>, boot: Boot, step: &str) -> Result<(), TestError> {
    let guest = bench.lab().guest()?.with_script("scsi", SCRIPT, &bench.path("initramfs"))?;
    let arguments = format!("{ARGUMENTS} steps={step}");
    let disk = boot.disk(bench, &guest, &arguments)?;
    let daemon = serve(bench, &disk)?;
    let hbas = hbas(&daemon).into_iter().take(1).collect();
    let mut guest = Machine { hbas, memory_mib: 512, ..Machine::new("guest", boot) }.start(bench)?;
    passed(&guest, step)?;
    guest.process.wait(Deadline::within(60)).map(drop)
}

#[test]
fn uefi_boots_a_guest_from_a_lun() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-uefi")?;
    let _turn = lab.turn()?;
    boot_from_lun(&bench, Boot::Firmware, "booted_by_uefi")
}

#[test]
fn a_bios_boots_a_guest_from_a_lun() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("scsi-bios")?;
    let _turn = lab.turn()?;
    boot_from_lun(&bench, Boot::Bios, "booted_by_bios")
}

/// e2fsck on this side of the disk: a witness that never saw Luge.
fn check_from_outside(bench: &Bench<'_>) -> Result<(), TestError> {
    let mut check: Command = bench.lab().qemu().command("e2fsck");
    let output = check.arg("-fn").arg(bench.path("disk")).output();
    let output = output.map_err(|error| TestError::Host(format!("running e2fsck: {error}")))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
