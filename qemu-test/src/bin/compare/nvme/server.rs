//! `luge serve` with a null and a memory volume, each behind NVMe controllers and a virtio disk.

use super::rows::CONTROLLERS_MAX;
use crate::files::NULL_BYTES;
use crate::rows::Device;
use luge_qemu_test::{Bench, Daemon, Rpc, Serve, TestError};
use serde_json::json;
use std::path::PathBuf;

/// Volumes of the server.
pub(crate) const DEVICES: [Device; 2] = [Device::Null, Device::Memory];

/// Memory of Luge besides its memory device, and of the load generator, in MiB.
const LUGE_MIB: u32 = 64;
const GENERATOR_MIB: u32 = 64;

/// The server. Dropping the handle ends it.
pub(crate) struct Server {
    luge: Daemon,
    controllers: PathBuf,
}

impl Server {
    /// Starts the server, with a core on each of `cpus`.
    ///
    /// # Errors
    /// If it does not start, or refuses a volume or a controller.
    pub(crate) fn start(bench: &Bench<'_>, memory_mib: u32, cpus: &[u16]) -> Result<Self, TestError> {
        let serve = Serve {
            cpu_mask: format!("{cpus:?}").replace(' ', ""),
            memory_mib: memory_mib + LUGE_MIB,
            spare_memory_mib: GENERATOR_MIB,
            ..Serve::default()
        };
        let (mut luge, controllers) = (serve.start(bench)?, bench.path("controllers"));
        luge.rpc.call("nvmf_create_transport", json!({ "trtype": "VFIOUSER" }))?;
        let [nothing, memory] = DEVICES.map(Device::name);
        let blocks = u64::from(memory_mib) << 11;
        let null = json!({ "name": nothing, "num_blocks": NULL_BYTES / 512, "block_size": 512 });
        luge.rpc.call("bdev_null_create", null)?;
        let malloc = json!({ "name": memory, "num_blocks": blocks, "block_size": 512 });
        luge.rpc.call("bdev_malloc_create", malloc)?;
        let server = Self { luge, controllers };
        DEVICES.into_iter().try_for_each(|device| server.serve(&mut server.luge.connect()?, device))?;
        Ok(server)
    }

    /// Makes a virtio disk and a subsystem of a volume, with as many controllers as a row has.
    fn serve(&self, rpc: &mut Rpc, device: Device) -> Result<(), TestError> {
        let (bdev, nqn) = (device.name(), format!("nqn.2016-06.io.spdk:{}", device.name()));
        rpc.call("vhost_create_blk_controller", json!({ "ctrlr": bdev, "dev_name": bdev }))?;
        rpc.call("nvmf_create_subsystem", json!({ "nqn": nqn, "allow_any_host": true }))?;
        rpc.call("nvmf_subsystem_add_ns", json!({ "nqn": nqn, "namespace": { "bdev_name": bdev } }))?;
        for folder in self.nvme(device, CONTROLLERS_MAX) {
            std::fs::create_dir_all(&folder)
                .map_err(|source| TestError::Io { doing: format!("making {}", folder.display()), source })?;
            let listen = json!({ "trtype": "VFIOUSER", "traddr": folder, "trsvcid": "0" });
            rpc.call("nvmf_subsystem_add_listener", json!({ "nqn": nqn, "listen_address": listen }))?;
        }
        Ok(())
    }

    /// Directories of so many controllers of a volume.
    pub(crate) fn nvme(&self, device: Device, controllers: u16) -> Vec<PathBuf> {
        (0..controllers).map(|number| self.controllers.join(format!("{}{number}", device.name()))).collect()
    }

    /// Socket of the virtio disk of a volume.
    pub(crate) fn virtio(&self, device: Device) -> PathBuf {
        self.luge.socket(device.name())
    }
}
