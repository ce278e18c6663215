//! A stock Linux guest sees its disks become larger while it uses them.

use luge_qemu_test::{Bench, Boot, Daemon, Deadline, Disk, Lab, Machine, Serve, TestError};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// Time limit of one step of the guest.
const STEP_SECONDS: u32 = 240;

const BEFORE_MIB: u64 = 32;
const AFTER_MIB: u64 = 48;

/// Sectors of a MiB.
const SECTORS: u64 = 2048;

fn set_length(path: &Path, mib: u64) -> Result<(), TestError> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    let set = file.and_then(|file| file.set_len(mib << 20));
    set.map_err(|error| TestError::Host(format!("resizing {}: {error}", path.display())))
}

/// Serves a file and a disk in memory.
fn serve(bench: &Bench<'_>) -> Result<Daemon, TestError> {
    set_length(&bench.path("file"), BEFORE_MIB)?;
    let mut daemon = Serve { memory_mib: 64, ..Serve::default() }.start(bench)?;
    let file = json!({ "name": "Aio0", "filename": bench.path("file"), "block_size": 512 });
    daemon.rpc.call("bdev_aio_create", file)?;
    let memory = json!({ "name": "Malloc0", "num_blocks": BEFORE_MIB * SECTORS, "block_size": 512 });
    daemon.rpc.call("bdev_malloc_create", memory)?;
    for (disk, bdev) in [("file", "Aio0"), ("memory", "Malloc0")] {
        daemon.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": disk, "dev_name": bdev }))?;
    }
    Ok(daemon)
}

fn machine(bench: &Bench<'_>, daemon: &Daemon) -> Result<Machine, TestError> {
    let script = include_str!("resize.sh");
    let guest = bench.lab().guest()?.with_script("resize", script, &bench.path("initramfs"))?;
    let boot = Boot::Kernel {
        kernel: guest.kernel,
        initramfs: guest.initramfs,
        arguments: "luge.guest=resize".to_owned(),
    };
    let disks = ["file", "memory"].map(|disk| Disk { socket: daemon.socket(disk), queues: 1 }).into();
    Ok(Machine { disks, ..Machine::new("guest", boot) })
}

#[test]
fn a_linux_guest_sees_its_disks_become_larger_while_it_uses_them() -> Result<(), TestError> {
    let lab = Lab::shared();
    let bench = lab.bench("resize")?;
    let _turn = lab.turn()?;
    let mut daemon = serve(&bench)?;
    let mut guest = machine(&bench, &daemon)?.start(&bench)?;
    let said = |word: &str| guest.process.output.wait_line(word, Deadline::within(STEP_SECONDS));
    for disk in ["vda", "vdb"] {
        assert_eq!(said(&format!("{disk} before="))?, (BEFORE_MIB * SECTORS).to_string(), "{disk}");
    }
    said("WAITING")?;
    set_length(&bench.path("file"), AFTER_MIB)?;
    daemon.rpc.call("bdev_aio_rescan", json!({ "name": "Aio0" }))?;
    daemon.rpc.call("bdev_malloc_resize", json!({ "name": "Malloc0", "new_size": AFTER_MIB }))?;
    for disk in ["vda", "vdb"] {
        assert_eq!(said(&format!("{disk} after="))?, (AFTER_MIB * SECTORS).to_string(), "{disk}");
        assert_eq!(said(&format!("{disk} last="))?, "same", "{disk}");
    }
    for bdev in daemon.rpc.call("bdev_get_resize_status", Value::Null)?.as_array().into_iter().flatten() {
        let endpoint = &bdev["endpoints"][0];
        assert_eq!(endpoint["seen"], true, "{bdev}");
        assert_eq!(endpoint["notice"], "acknowledged", "{bdev}");
    }
    assert_eq!(said("FILE ")?, "same");
    assert_eq!(said("FSCK ")?, "clean");
    assert_eq!(said("ERRORS ")?, "0");
    assert_eq!(said("LUGE-GUEST done status=")?, "0");
    guest.process.wait(Deadline::within(60))?;
    Ok(())
}
