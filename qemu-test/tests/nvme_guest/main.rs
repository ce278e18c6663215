//! The NVMe target seen by software that is not ours: QEMU's client of vfio-user, Linux's driver, nvme-cli, ext4's
//! tools and UEFI's driver.
//!
//! | Witness | Version |
//! |---|---|
//! | QEMU's `vfio-user-pci`, by TCG | 11.1.3 (Debian 13, backports) |
//! | Linux's `nvme` driver, in Debian's cloud kernel | 6.12.118 |
//! | nvme-cli, libnvme | 2.13, 1.13 |
//! | mke2fs, e2fsck | 1.47.2 |
//! | OVMF (`NvmExpressDxe`), SeaBIOS | Debian 13's |
//! | Linux's `uio_pci_generic` | as the kernel |
//!
//! The steps of the guest are in `guest.sh`, and those of guests of other protocols, too, in `../steps.sh`. Those that
//! QEMU's own NVMe controller can take were first tried with it.

mod polling;

use luge_qemu_test::{
    Bench, Boot, Daemon, Deadline, Disk, Iommu, Lab, Machine, Reset, Running, Serve, TestError,
};
use serde_json::json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

/// Script of the guest.
const SCRIPT: &str = concat!(include_str!("../steps.sh"), include_str!("guest.sh"));

const NQN: &str = "nqn.2016-06.io.spdk:cnode1";

/// The kernel lets programs map registers of devices that have a driver (nvme-cli's show-regs), and shows
/// each controller's namespaces as disks of their own.
const ARGUMENTS: &str = "luge.guest=nvme iomem=relaxed nvme_core.multipath=N";

/// Memory that the kernel leaves to a driver in user space.
const POLLED_MEMORY: &str = "memmap=64K$0x8000000";

/// Steps before the reset of the machine.
const FIRST_STEPS: [&str; 18] = [
    "identify",
    "registers",
    "queues",
    "files",
    "ranges",
    "health",
    "errors",
    "features",
    "commands",
    "shared",
    "reset",
    "subsystem_reset",
    "format",
    "live",
    "reservations",
    "unbind",
    "polling",
    "reboot_under_load",
];

/// Steps after it.
const SECOND_STEPS: [&str; 2] = ["check_synced", "write_until_killed"];

fn make_file(bench: &Bench<'_>, name: &str, mib: u64) -> Result<PathBuf, TestError> {
    let path = bench.path(name);
    let made = File::create_new(&path).and_then(|file| file.set_len(mib << 20));
    made.map_err(|error| TestError::Host(format!("making {}: {error}", path.display())))?;
    Ok(path)
}

/// Makes a controller that listens in a new folder; returns its socket.
fn listen(bench: &Bench<'_>, daemon: &mut Daemon, folder: &str) -> Result<PathBuf, TestError> {
    let path = bench.path(folder);
    fs::create_dir(&path).map_err(|error| TestError::Host(format!("making {}: {error}", path.display())))?;
    let address = json!({ "trtype": "VFIOUSER", "traddr": path, "trsvcid": "0" });
    daemon.rpc.call("nvmf_subsystem_add_listener", json!({ "nqn": NQN, "listen_address": address }))?;
    Ok(path.join("cntrl"))
}

fn add_namespace(daemon: &mut Daemon, nsid: u32, bdev: &str) -> Result<(), TestError> {
    let namespace = json!({ "nsid": nsid, "bdev_name": bdev });
    let added = daemon.rpc.call("nvmf_subsystem_add_ns", json!({ "nqn": NQN, "namespace": namespace }))?;
    assert_eq!(added, nsid);
    Ok(())
}

/// A subsystem with a file and a disk in memory.
fn serve(bench: &Bench<'_>, disk: &Path) -> Result<Daemon, TestError> {
    let mut daemon =
        Serve { cpu_mask: "0x3".to_owned(), memory_mib: 128, ..Serve::default() }.start(bench)?;
    let mut call = |method: &str, params| daemon.rpc.call(method, params);
    call("bdev_aio_create", json!({ "name": "Disk", "filename": disk, "block_size": 512 }))?;
    call("bdev_malloc_create", json!({ "name": "Memory", "num_blocks": 32 << 11, "block_size": 512 }))?;
    call("nvmf_create_transport", json!({ "trtype": "VFIOUSER" }))?;
    let subsystem = json!({ "nqn": NQN, "serial_number": "LUGE0001", "allow_any_host": true });
    call("nvmf_create_subsystem", subsystem)?;
    add_namespace(&mut daemon, 1, "Disk")?;
    add_namespace(&mut daemon, 2, "Memory")?;
    Ok(daemon)
}

fn start(bench: &Bench<'_>, name: &str, sockets: &[PathBuf], steps: &str) -> Result<Running, TestError> {
    machine(bench, name, sockets, steps)?.start(bench)
}

/// A machine whose guest takes steps.
fn machine(bench: &Bench<'_>, name: &str, sockets: &[PathBuf], steps: &str) -> Result<Machine, TestError> {
    let guest = bench.lab().guest()?.with_script("nvme", SCRIPT, &bench.path("initramfs"))?;
    let boot = Boot::Kernel {
        kernel: guest.kernel,
        initramfs: guest.initramfs,
        arguments: format!("{ARGUMENTS} {steps}"),
    };
    let controllers = sockets.to_vec();
    Ok(Machine { cpus: 2, controllers, reset: Reset::Boots, ..Machine::new(name, boot) })
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

/// Adds a namespace, lets it grow, and removes it, when the guest wants it.
fn change_namespaces(bench: &Bench<'_>, daemon: &mut Daemon, guest: &mut Running) -> Result<(), TestError> {
    assert_eq!(said(guest, "WANTED ")?, "add");
    let late = json!({ "name": "Late", "filename": make_file(bench, "late", 16)?, "block_size": 512 });
    daemon.rpc.call("bdev_aio_create", late)?;
    add_namespace(daemon, 3, "Late")?;
    guest.process.send_line("added")?;
    assert_eq!(said(guest, "WANTED ")?, "grow");
    let file = File::options().write(true).open(bench.path("late"));
    file.and_then(|file| file.set_len(32 << 20))
        .map_err(|error| TestError::Host(format!("growing a file: {error}")))?;
    daemon.rpc.call("bdev_aio_rescan", json!({ "name": "Late" }))?;
    guest.process.send_line("grown")?;
    assert_eq!(said(guest, "WANTED ")?, "remove");
    daemon.rpc.call("nvmf_subsystem_remove_ns", json!({ "nqn": NQN, "nsid": 3 }))?;
    guest.process.send_line("removed")
}

#[test]
fn a_linux_guest_uses_everything_and_keeps_its_files_through_resets_and_kills() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("nvme-guest")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 128)?)?;
    let sockets = [listen(&bench, &mut daemon, "first")?, listen(&bench, &mut daemon, "second")?];
    let (first, second) = (FIRST_STEPS.join(","), SECOND_STEPS.join(","));
    let steps = format!("{POLLED_MEMORY} steps={first} again={second}");
    let mut guest = start(&bench, "guest", &sockets, &steps)?;
    for step in FIRST_STEPS {
        match step {
            "live" => change_namespaces(&bench, &mut daemon, &mut guest)?,
            // The guest resets itself.
            "reboot_under_load" => break,
            _ => {}
        }
        passed(&guest, step)?;
    }

    // After the reset of the machine: the same QEMU, which has reset the controllers.
    passed(&guest, "check_synced")?;
    said(&guest, "SYNCED 3")?;
    // QEMU ends in the middle of a write, and another one takes its place.
    guest.process.kill();
    let mut guest = start(&bench, "next-guest", &sockets, "steps=none again=check_synced")?;
    passed(&guest, "check_synced")?;
    assert_eq!(said(&guest, "LUGE-GUEST done status=")?, "0");
    guest.process.wait(Deadline::within(60))?;
    drop(daemon);
    check_from_outside(&bench)
}

/// Boots a guest from the first namespace.
fn boot_from_namespace(bench: &Bench<'_>, boot: Boot, step: &str) -> Result<(), TestError> {
    let guest = bench.lab().guest()?.with_script("nvme", SCRIPT, &bench.path("initramfs"))?;
    let arguments = format!("{ARGUMENTS} steps={step}");
    let disk = boot.disk(bench, &guest, &arguments)?;
    let mut daemon = serve(bench, &disk)?;
    let controllers = vec![listen(bench, &mut daemon, "first")?];
    let mut guest = Machine { controllers, memory_mib: 512, ..Machine::new("guest", boot) }.start(bench)?;
    passed(&guest, step)?;
    guest.process.wait(Deadline::within(60)).map(drop)
}

#[test]
fn uefi_boots_a_guest_from_a_namespace() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("nvme-uefi")?;
    let _turn = lab.turn()?;
    boot_from_namespace(&bench, Boot::Firmware, "booted_by_firmware")
}

#[test]
fn a_bios_boots_a_guest_from_a_namespace() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("nvme-bios")?;
    let _turn = lab.turn()?;
    boot_from_namespace(&bench, Boot::Bios, "booted_by_bios")
}

#[test]
fn a_reservation_of_a_host_holds_for_a_virtio_disk_of_the_volume() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("nvme-reservations")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 16)?)?;
    let virtio = json!({ "ctrlr": "virtio", "dev_name": "Memory" });
    daemon.rpc.call("vhost_create_blk_controller", virtio)?;
    let sockets = [listen(&bench, &mut daemon, "first")?, listen(&bench, &mut daemon, "second")?];
    let disks = vec![Disk { socket: daemon.socket("virtio"), queues: 1 }];
    let machine = machine(&bench, "guest", &sockets, "steps=virtio_reservations")?;
    let mut guest = Machine { disks, ..machine }.start(&bench)?;
    passed(&guest, "virtio_reservations")?;
    guest.process.wait(Deadline::within(60))?;
    Ok(())
}

#[test]
fn a_guest_with_an_iommu_of_its_own_reads_and_writes_in_reasonable_time() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("nvme-iommu")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench, &make_file(&bench, "disk", 128)?)?;
    let sockets = [listen(&bench, &mut daemon, "first")?, listen(&bench, &mut daemon, "second")?];
    let steps = "intel_iommu=on iommu.strict=1 steps=translated,files";
    let machine = Machine { iommu: Iommu::Intel, ..machine(&bench, "guest", &sockets, steps)? };
    let mut guest = machine.start(&bench)?;
    for step in ["translated", "files"] {
        passed(&guest, step)?;
    }
    guest.process.wait(Deadline::within(60))?;
    Ok(())
}

/// e2fsck on this side of the disk: a witness that never saw Luge.
fn check_from_outside(bench: &Bench<'_>) -> Result<(), TestError> {
    let mut check: Command = bench.lab().qemu().command("e2fsck");
    let output = check.arg("-fn").arg(bench.path("disk")).output();
    let output = output.map_err(|error| TestError::Host(format!("running e2fsck: {error}")))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
