//! `luge serve` with two host bus adapters, as the guest's script describes them.

use luge_qemu_test::{Bench, Daemon, Hba, Serve, TestError};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Number of request queues of each adapter.
const QUEUES: u32 = 2;

/// A LUN of an adapter.
#[derive(Clone, Copy)]
pub struct Lun {
    pub controller: &'static str,
    pub target: u8,
    pub lun: u8,
}

/// LUN 0 of target 0 of the second adapter, which is the memory of LUN 0 of target 1 of the first one.
pub const THEIRS: Lun = Lun { controller: "second", target: 0, lun: 0 };

/// Makes a file of zeroes.
pub fn make_file(bench: &Bench<'_>, name: &str, mib: u64) -> Result<PathBuf, TestError> {
    let path = bench.path(name);
    let made = File::create_new(&path).and_then(|file| file.set_len(mib << 20));
    made.map_err(|error| TestError::Host(format!("making {}: {error}", path.display())))?;
    Ok(path)
}

/// Serves all disks, of which the first one is a file.
pub fn serve(bench: &Bench<'_>, disk: &Path) -> Result<Daemon, TestError> {
    let mut daemon =
        Serve { cpu_mask: "0x3".to_owned(), memory_mib: 192, ..Serve::default() }.start(bench)?;
    let mut call = |method: &str, params| daemon.rpc.call(method, params);
    call("bdev_aio_create", json!({ "name": "Disk", "filename": disk, "block_size": 512 }))?;
    call("bdev_malloc_create", json!({ "name": "Memory", "num_blocks": 32 << 11, "block_size": 512 }))?;
    call("bdev_malloc_create", json!({ "name": "Large", "num_blocks": 32 << 8, "block_size": 4096 }))?;
    for controller in ["first", "second"] {
        call("vhost_create_scsi_controller", json!({ "ctrlr": controller }))?;
    }
    let disk = json!({ "ctrlr": "first", "scsi_target_num": 0, "bdev_name": "Disk", "serial": "LUGE0001" });
    call("vhost_scsi_controller_add_target", disk)?;
    for (bdev, lun) in [("Memory", 0), ("Large", 1)] {
        add_lun(&mut daemon, Lun { controller: "first", target: 1, lun }, bdev)?;
    }
    add_lun(&mut daemon, THEIRS, "Memory")?;
    Ok(daemon)
}

/// Adds a LUN that is a block device.
pub fn add_lun(daemon: &mut Daemon, at: Lun, bdev: &str) -> Result<(), TestError> {
    let Lun { controller, target, lun } = at;
    let added = json!({ "ctrlr": controller, "scsi_target_num": target, "lun": lun, "bdev_name": bdev });
    assert_eq!(daemon.rpc.call("vhost_scsi_controller_add_target", added)?, target);
    Ok(())
}

/// Removes a LUN.
pub fn remove_lun(daemon: &mut Daemon, at: Lun) -> Result<(), TestError> {
    let Lun { controller, target, lun } = at;
    let removed = json!({ "ctrlr": controller, "scsi_target_num": target, "lun": lun });
    daemon.rpc.call("vhost_scsi_controller_remove_target", removed).map(drop)
}

/// Adapters of the machine.
pub fn hbas(daemon: &Daemon) -> Vec<Hba> {
    ["first", "second"].map(|name| Hba { socket: daemon.socket(name), queues: QUEUES }).into()
}
