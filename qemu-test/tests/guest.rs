//! A stock Linux guest on a disk of `luge serve`: its file system, its restart, and ours.

use luge_qemu_test::{Bench, Boot, Daemon, Deadline, Disk, Lab, Machine, Reset, Serve, TestError};
use serde_json::json;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

const DISK_MIB: u64 = 256;

/// Serves the file `disk` to a guest with two queues. The guest runs `guest.sh`.
fn serve(bench: &Bench<'_>) -> Result<Daemon, TestError> {
    let mut daemon = Serve { cpu_mask: "0x3".to_owned(), ..Serve::default() }.start(bench)?;
    let params = json!({ "name": "Aio0", "filename": bench.path("disk"), "block_size": 512 });
    daemon.rpc.call("bdev_aio_create", params)?;
    daemon.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": "disk", "dev_name": "Aio0" }))?;
    Ok(daemon)
}

fn machine(bench: &Bench<'_>, socket: PathBuf) -> Result<Machine, TestError> {
    let script = include_str!("guest.sh");
    let guest = bench.lab().guest()?.with_script("disk-test", script, &bench.path("initramfs"))?;
    let boot = Boot::Kernel {
        kernel: guest.kernel,
        initramfs: guest.initramfs,
        arguments: "luge.guest=disk-test".to_owned(),
    };
    let disks = vec![Disk { socket, queues: 2 }];
    Ok(Machine { cpus: 2, disks, reset: Reset::Boots, ..Machine::new("guest", boot) })
}

#[test]
fn a_linux_guest_keeps_its_files_through_its_restart_and_through_ours() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("guest")?;
    let _turn = lab.turn()?;
    make_disk(&bench.path("disk"))?;
    let mut daemon = serve(&bench)?;
    let mut guest = machine(&bench, daemon.socket("disk"))?.start(&bench)?;
    let said = |word: &str| guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS));

    assert_eq!(said("DISK bytes=")?, (DISK_MIB << 20).to_string());
    assert_eq!(said("DISK queues=")?, "2");
    assert_eq!(said("DISK packed=")?, "0", "Luge has no packed rings, and the guest was told that it has");
    assert_eq!(said("DISK readonly=")?, "0");
    assert_ne!(said("DISK discard_max=")?, "0");
    assert_ne!(said("DISK zeroes_max=")?, "0");
    let written = said("FILES written=")?;
    assert_eq!(said("FILES read=")?, written, "what was read back is not what was written");
    assert_eq!(said("FSCK ")?, "clean");

    // The guest has reset itself: the same QEMU, the same connection, new rings.
    assert_eq!(said("FSCK ")?, "clean", "after the reset");
    assert_eq!(said("FILES read=")?, written, "after the reset");
    assert_ne!(said("TRIMMED bytes=")?, "0");
    assert_eq!(said("FILES kept=")?, said("FILES expected=")?, "the rest after a discard");
    said("WAITING")?;

    // Ours: killed, and started again with the same disk. QEMU connects again.
    daemon.process.kill();
    assert_eq!(daemon.process.wait(Deadline::within(60))?.signal(), Some(9));
    daemon = serve(&bench)?;
    guest.process.send_line("go on")?;
    let said = |word: &str| guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS));
    assert_eq!(said("FSCK ")?, "clean", "after Luge was killed");
    assert_eq!(said("LUGE-GUEST done status=")?, "0");
    guest.process.wait(Deadline::within(60))?;
    drop(daemon);
    check_from_outside(&bench)
}

fn make_disk(path: &Path) -> Result<(), TestError> {
    let made = fs::File::create_new(path).and_then(|file| file.set_len(DISK_MIB << 20));
    made.map_err(|error| TestError::Host(format!("making {}: {error}", path.display())))
}

/// e2fsck on this side of the disk: a witness that never saw Luge.
fn check_from_outside(bench: &Bench<'_>) -> Result<(), TestError> {
    let mut check: Command = bench.lab().qemu().command("e2fsck");
    let output = check.arg("-fn").arg(bench.path("disk")).output();
    let output = output.map_err(|error| TestError::Host(format!("running e2fsck: {error}")))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}
