//! The two servers that are compared, both on the same CPU; the one that is not asked sleeps.
//!
//! - Luge: `luge serve` with a null, a memory and a file device.
//! - The peer: `qemu-storage-daemon` with QEMU's null device, and files.

use crate::files::{Files, Sizes};
use crate::peer::Peer;
use crate::rows::Device;
use luge_qemu_test::{Bench, Daemon, Serve, TestError};
use serde_json::json;
use std::path::PathBuf;

/// Memory that Luge needs besides that of its memory device, in MiB.
const LUGE_MIB: u32 = 64;

/// Memory of the load generator, in MiB.
const GENERATOR_MIB: u32 = 16;

/// Size of a null disk.
pub(crate) const NULL_BYTES: u64 = 1 << 30;

/// Both servers. Dropping it ends them, and then removes their files.
pub(crate) struct Servers {
    luge: Daemon,
    peer: Peer,
    files: Files,
}

impl Servers {
    /// # Errors
    /// One of them does not start.
    pub(crate) fn start(bench: &Bench<'_>, sizes: Sizes, cpu: u16) -> Result<Self, TestError> {
        let files = Files::create(sizes)?;
        let peer = Peer::start(bench, &files, cpu)?;
        let luge = start_luge(bench, (&files, sizes), cpu)?;
        Ok(Self { luge, peer, files })
    }

    /// Where Luge serves `device`.
    pub(crate) fn luge(&self, device: Device) -> PathBuf {
        self.luge.socket(device.name())
    }

    /// Where the peer serves `device`.
    pub(crate) fn peer(&self, device: Device) -> PathBuf {
        self.peer.socket(device)
    }

    /// Whether files are in memory.
    pub(crate) fn files_in_memory(&self) -> bool {
        self.files.in_memory
    }
}

fn start_luge(bench: &Bench<'_>, (files, sizes): (&Files, Sizes), cpu: u16) -> Result<Daemon, TestError> {
    let serve = Serve {
        cpu_mask: format!("[{cpu}]"),
        memory_mib: sizes.memory_mib + LUGE_MIB,
        spare_memory_mib: GENERATOR_MIB,
        ..Serve::default()
    };
    let mut luge = serve.start(bench)?;
    // `null` by itself is a word of JSON.
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
