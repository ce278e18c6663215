//! A vhost controller: a device on a socket.

use super::record::Subsystem;
use luge_vhost::BlkDevice;
use std::sync::Arc;

/// A vhost controller.
pub struct Endpoint {
    /// Listener on the socket. Stops when dropped.
    pub server: luge_vhost::Endpoint,
    /// Device that is served.
    pub device: VhostDevice,
}

/// A device on a vhost-user socket.
pub enum VhostDevice {
    /// A virtio block device.
    Disk(Disk),
}

/// A block device as a virtio disk.
pub struct Disk {
    /// The virtio device.
    pub device: Arc<BlkDevice>,
    /// Name of the block device.
    pub bdev: String,
}

impl VhostDevice {
    /// Subsystem of the configuration that has the calls for such a device.
    #[must_use]
    pub const fn subsystem(&self) -> Subsystem {
        match self {
            Self::Disk(_) => Subsystem::VhostBlk,
        }
    }

    /// Names of the block devices that it serves.
    #[must_use]
    pub fn bdevs(&self) -> Vec<String> {
        match self {
            Self::Disk(disk) => vec![disk.bdev.clone()],
        }
    }
}

impl Endpoint {
    /// The virtio disk of a block device, if it is that one's.
    #[must_use]
    pub fn disk_of(&self, bdev: &str) -> Option<&Disk> {
        match &self.device {
            VhostDevice::Disk(disk) => Some(disk).filter(|disk| disk.bdev == bdev),
        }
    }

    /// Cuts its front ends off, waits until every request that was taken has been answered, and takes the device
    /// off its cores. As slow as the slowest SSD.
    pub fn end(self) {
        let Self { server, device } = self;
        server.stop();
        drop(device);
    }
}
