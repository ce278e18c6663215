//! A stock Linux guest at work, while `luge serve` is killed and started again: QEMU connects again, and
//! the guest notices a pause. The guest has a virtio disk, or a LUN of a SCSI host bus adapter.

use luge_qemu_test::{Bench, Boot, Daemon, Deadline, Disk, Hba, Lab, Machine, Running, Serve, TestError};
use serde_json::json;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

const DISK_MIB: u64 = 64;

/// Milliseconds from a round's end to each kill: in the middle of a write, a flush, a read, a recovery.
const KILLS_AT_MS: [u64; 5] = [0, 7, 20, 41, 3];

/// Kind of the guest's disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Virtio,
    Scsi,
}

impl Kind {
    /// Name of the disk in the guest.
    const fn device(self) -> &'static str {
        match self {
            Self::Virtio => "/dev/vda",
            Self::Scsi => "/dev/sda",
        }
    }
}

fn serve(bench: &Bench<'_>, kind: Kind) -> Result<Daemon, TestError> {
    let mut daemon = Serve { cpu_mask: "0x3".to_owned(), ..Serve::default() }.start(bench)?;
    let mut call = |method: &str, params| daemon.rpc.call(method, params);
    call("framework_wait_init", json!({}))?;
    call("bdev_aio_create", json!({ "name": "Aio0", "filename": bench.path("disk"), "block_size": 512 }))?;
    match kind {
        Kind::Virtio => {
            call("vhost_create_blk_controller", json!({ "ctrlr": "disk", "dev_name": "Aio0" }))?;
        }
        Kind::Scsi => {
            call("vhost_create_scsi_controller", json!({ "ctrlr": "disk", "delay": true }))?;
            let lun = json!({ "ctrlr": "disk", "scsi_target_num": 0, "bdev_name": "Aio0" });
            call("vhost_scsi_controller_add_target", lun)?;
            call("vhost_start_scsi_controller", json!({ "ctrlr": "disk" }))?;
        }
    }
    Ok(daemon)
}

fn machine(bench: &Bench<'_>, daemon: &Daemon, kind: Kind) -> Result<Machine, TestError> {
    let script = include_str!("crashes.sh");
    let guest = bench.lab().guest()?.with_script("crashes", script, &bench.path("initramfs"))?;
    let boot = Boot::Kernel {
        kernel: guest.kernel,
        initramfs: guest.initramfs,
        arguments: format!("luge.guest=crashes luge.disk={}", kind.device()),
    };
    let (socket, queues) = (daemon.socket("disk"), 2);
    let mut machine = Machine { cpus: 2, ..Machine::new("guest", boot) };
    match kind {
        Kind::Virtio => machine.disks.push(Disk { socket, queues }),
        Kind::Scsi => machine.hbas.push(Hba { socket, queues }),
    }
    Ok(machine)
}

/// Waits for a word of the guest; returns the rest of that line. QEMU writes to the same output when its disk's
/// server is gone, also in the middle of a line.
fn said(guest: &Running, word: &str) -> Result<String, TestError> {
    let line = guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS))?;
    Ok(line.split("qemu-system-").next().unwrap_or_default().to_owned())
}

#[test]
fn a_guest_at_work_notices_nothing_of_servers_that_are_killed_but_pauses() -> Result<(), TestError> {
    survive("crashes", Kind::Virtio)
}

#[test]
fn a_guest_with_a_lun_notices_nothing_of_servers_that_are_killed_but_pauses() -> Result<(), TestError> {
    survive("crashes-scsi", Kind::Scsi)
}

fn survive(name: &str, kind: Kind) -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench(name)?;
    let _turn = lab.turn()?;
    let made = fs::File::create_new(bench.path("disk")).and_then(|file| file.set_len(DISK_MIB << 20));
    made.map_err(|error| TestError::Host(format!("making a disk: {error}")))?;
    let mut daemon = serve(&bench, kind)?;
    let mut guest = machine(&bench, &daemon, kind)?.start(&bench)?;
    for ms in KILLS_AT_MS {
        for _ in 0..3 {
            assert_eq!(said(&guest, "ROUND ")?, "right");
        }
        std::thread::sleep(Duration::from_millis(ms));
        daemon.process.kill();
        assert_eq!(daemon.process.wait(Deadline::within(60))?.signal(), Some(9));
        daemon = serve(&bench, kind)?;
    }
    guest.process.send_line("enough")?;
    assert_eq!(said(&guest, "WRONG ")?, "0", "rounds read other data than they wrote");
    for _ in 0..6 {
        assert_eq!(said(&guest, "FILE ")?, "right");
    }
    assert_eq!(said(&guest, "FSCK ")?, "clean");
    assert_eq!(said(&guest, "ERRORS ")?, "0");
    assert_eq!(said(&guest, "LUGE-GUEST done status=")?, "0");
    guest.process.wait(Deadline::within(60))?;
    Ok(())
}
