//! A stock Linux guest at work, while `luge serve` is killed and started again: QEMU connects again, and
//! the guest notices a pause.

use luge_qemu_test::{Bench, Boot, Daemon, Deadline, Disk, Lab, Machine, Running, Serve, TestError};
use serde_json::json;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

const DISK_MIB: u64 = 64;

/// Milliseconds from a round's end to each kill: in the middle of a write, a flush, a read, a recovery.
const KILLS_AT_MS: [u64; 5] = [0, 7, 20, 41, 3];

fn serve(bench: &Bench<'_>) -> Result<Daemon, TestError> {
    let mut daemon = Serve { cpu_mask: "0x3".to_owned(), ..Serve::default() }.start(bench)?;
    daemon.rpc.call("framework_wait_init", json!({}))?;
    let params = json!({ "name": "Aio0", "filename": bench.path("disk"), "block_size": 512 });
    daemon.rpc.call("bdev_aio_create", params)?;
    daemon.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": "disk", "dev_name": "Aio0" }))?;
    Ok(daemon)
}

fn machine(bench: &Bench<'_>, socket: PathBuf) -> Result<Machine, TestError> {
    let script = include_str!("crashes.sh");
    let guest = bench.lab().guest()?.with_script("crashes", script, &bench.path("initramfs"))?;
    let boot = Boot::Kernel {
        kernel: guest.kernel,
        initramfs: guest.initramfs,
        arguments: "luge.guest=crashes".to_owned(),
    };
    Ok(Machine { cpus: 2, disks: vec![Disk { socket, queues: 2 }], ..Machine::new("guest", boot) })
}

/// Waits for a word of the guest; returns the rest of that line. QEMU writes to the same output when its disk's
/// server is gone, also in the middle of a line.
fn said(guest: &Running, word: &str) -> Result<String, TestError> {
    let line = guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS))?;
    Ok(line.split("qemu-system-").next().unwrap_or_default().to_owned())
}

#[test]
fn a_guest_at_work_notices_nothing_of_servers_that_are_killed_but_pauses() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("crashes")?;
    let _turn = lab.turn()?;
    let made = fs::File::create_new(bench.path("disk")).and_then(|file| file.set_len(DISK_MIB << 20));
    made.map_err(|error| TestError::Host(format!("making a disk: {error}")))?;
    let mut daemon = serve(&bench)?;
    let mut guest = machine(&bench, daemon.socket("disk"))?.start(&bench)?;
    for ms in KILLS_AT_MS {
        for _ in 0..3 {
            assert_eq!(said(&guest, "ROUND ")?, "right");
        }
        std::thread::sleep(Duration::from_millis(ms));
        daemon.process.kill();
        assert_eq!(daemon.process.wait(Deadline::within(60))?.signal(), Some(9));
        daemon = serve(&bench)?;
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
