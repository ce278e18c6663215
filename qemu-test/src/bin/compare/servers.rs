//! The two servers of a comparison, on the same CPU; the one without load sleeps.
//!
//! - Luge: `luge serve` with a null, a memory and a file device.
//! - The peer: `qemu-storage-daemon` with QEMU's null device, and files.

use crate::files::{Files, NULL_BYTES, Sizes};
use crate::measure::Lun;
use crate::peer::Peer;
use crate::rows::Device;
use luge_qemu_test::{Bench, Daemon, Serve, TestError};
use serde_json::json;
use std::path::PathBuf;

/// Memory of Luge besides its memory device, in MiB.
const LUGE_MIB: u32 = 64;

/// Memory of the load generator, in MiB.
const GENERATOR_MIB: u32 = 16;

/// Name of the host bus adapter.
const HBA: &str = "hba";

/// Both servers. Dropping the handle ends them and then removes their files.
pub(crate) struct Servers {
    luge: Daemon,
    peer: Peer,
    files: Files,
}

impl Servers {
    /// Starts both servers on `cpu`.
    ///
    /// # Errors
    /// If a server does not start.
    pub(crate) fn start(bench: &Bench<'_>, sizes: Sizes, cpu: u16) -> Result<Self, TestError> {
        let files = Files::create(sizes)?;
        let peer = Peer::start(bench, &files, cpu)?;
        let luge = start_luge(bench, &files, sizes, cpu)?;
        Ok(Self { luge, peer, files })
    }

    /// Socket of Luge's disk on `device`.
    pub(crate) fn luge(&self, device: Device) -> PathBuf {
        self.luge.socket(device.name())
    }

    /// Makes a host bus adapter with all of Luge's devices.
    ///
    /// # Errors
    /// If Luge refuses it.
    pub(crate) fn add_hba(&mut self) -> Result<(), TestError> {
        self.luge.rpc.call("vhost_create_scsi_controller", json!({ "ctrlr": HBA }))?;
        for (target, device) in Device::ALL.into_iter().enumerate() {
            let lun = json!({ "ctrlr": HBA, "scsi_target_num": target, "bdev_name": device.name() });
            self.luge.rpc.call("vhost_scsi_controller_add_target", lun)?;
        }
        Ok(())
    }

    /// LUN of Luge on `device`.
    pub(crate) fn lun(&self, device: Device) -> Lun {
        let target = (0..).zip(Device::ALL).find(|(_, one)| *one == device).map_or(0, |(target, _)| target);
        Lun { socket: self.luge.socket(HBA), target }
    }

    /// Socket of the peer's disk on `device`.
    pub(crate) fn peer(&self, device: Device) -> PathBuf {
        self.peer.socket(device)
    }

    /// Whether the files are in memory.
    pub(crate) fn files_in_memory(&self) -> bool {
        self.files.in_memory
    }
}

fn start_luge(bench: &Bench<'_>, files: &Files, sizes: Sizes, cpu: u16) -> Result<Daemon, TestError> {
    let serve = Serve {
        cpu_mask: format!("[{cpu}]"),
        memory_mib: sizes.memory_mib + LUGE_MIB,
        spare_memory_mib: GENERATOR_MIB,
        ..Serve::default()
    };
    let mut luge = serve.start(bench)?;
    // `null` would be a keyword of JSON.
    let [nothing, memory, file] = Device::ALL.map(Device::name);
    let bdevs = [
        ("bdev_null_create", json!({ "name": nothing, "num_blocks": NULL_BYTES / 512, "block_size": 512 })),
        (
            "bdev_malloc_create",
            json!({ "name": memory, "num_blocks": sizes.memory_mib << 11, "block_size": 512 }),
        ),
        ("bdev_aio_create", json!({ "name": file, "filename": files.file(), "block_size": 512 })),
    ];
    for (method, params) in bdevs {
        let bdev = luge.rpc.call(method, params)?;
        luge.rpc.call("vhost_create_blk_controller", json!({ "ctrlr": bdev, "dev_name": bdev }))?;
    }
    Ok(luge)
}
