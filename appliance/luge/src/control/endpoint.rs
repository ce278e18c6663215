//! A vhost controller: a device on a socket.

use super::hba::Hba;
use super::record::Subsystem;
use luge_core::CoreHandle;
use luge_rpc::RpcError;
use luge_vhost::{BackoffStatus, BlkDevice, Coalescing, EndpointStatus, PeerCounts, VirtioDevice};
use std::path::PathBuf;
use std::sync::Arc;

/// A vhost controller.
pub struct Endpoint {
    /// Listener on the socket. Stops when dropped.
    pub server: Server,
    /// Device that is served.
    pub device: VhostDevice,
}

/// Listener of a controller.
pub enum Server {
    /// A listener that `vhost_start_scsi_controller` will start.
    Delayed(Delayed),
    /// A listener that a call is starting.
    Starting(Delayed),
    /// A listener that runs.
    Listening(luge_vhost::Endpoint),
}

/// A listener that is to be.
#[derive(Clone)]
pub struct Delayed {
    /// Name, socket and owner.
    pub place: Place,
    /// Coalescing of interrupts.
    pub coalescing: Coalescing,
}

/// Name, place and owner of a controller.
#[derive(Clone)]
pub struct Place {
    /// Name of the controller.
    pub name: String,
    /// Path of the socket.
    pub socket: PathBuf,
    /// Owner that the operator has named.
    pub tenant: Option<String>,
}

/// A device on a vhost-user socket.
pub enum VhostDevice {
    /// A virtio block device.
    Disk(Disk),
    /// A SCSI host bus adapter.
    Hba(Hba),
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
            Self::Hba(_) => Subsystem::VhostScsi,
        }
    }

    fn virtio(&self) -> &dyn VirtioDevice {
        match self {
            Self::Disk(disk) => &*disk.device,
            Self::Hba(hba) => &*hba.device,
        }
    }
}

impl Server {
    /// Coalescing of the interrupts of all queues.
    #[must_use]
    pub fn coalescing(&self) -> &Coalescing {
        match self {
            Self::Delayed(delayed) | Self::Starting(delayed) => &delayed.coalescing,
            Self::Listening(server) => server.coalescing(),
        }
    }
}

impl Endpoint {
    /// Status of the controller; without front ends where it does not listen.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        let place = match &self.server {
            Server::Listening(server) => return server.status(),
            Server::Delayed(delayed) | Server::Starting(delayed) => &delayed.place,
        };
        let device = self.device.virtio();
        EndpointStatus {
            name: place.name.clone(),
            socket: place.socket.clone(),
            cores: device.cores().iter().map(CoreHandle::id).collect(),
            queues_max: device.queues(),
            counts: PeerCounts::default(),
            backoff: BackoffStatus::default(),
            front_end: None,
            config: None,
        }
    }

    /// The virtio disk of a block device with its listener, if it is that one's.
    #[must_use]
    pub fn disk_of(&self, bdev: &str) -> Option<(&Disk, &luge_vhost::Endpoint)> {
        match (&self.device, &self.server) {
            (VhostDevice::Disk(disk), Server::Listening(server)) if disk.bdev == bdev => Some((disk, server)),
            _ => None,
        }
    }

    /// The host bus adapter, if it is one.
    #[must_use]
    pub const fn hba(&self) -> Option<&Hba> {
        match &self.device {
            VhostDevice::Hba(hba) => Some(hba),
            VhostDevice::Disk(_) => None,
        }
    }

    /// The host bus adapter of the controller `name`, to change it.
    ///
    /// # Errors
    /// -22 if it is a disk.
    pub fn hba_mut(&mut self, name: &str) -> Result<&mut Hba, RpcError> {
        match &mut self.device {
            VhostDevice::Hba(hba) => Ok(hba),
            VhostDevice::Disk(_) => Err(RpcError::invalid(format_args!(
                "vhost controller {name} is a disk without targets: vhost_create_scsi_controller makes one that has them"
            ))),
        }
    }

    /// Whether no call starts it, or adds or removes a LUN.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self.server, Server::Starting(_)) && self.hba().is_none_or(Hba::is_settled)
    }

    /// Cuts its front ends off, waits until every request that was taken has been answered, and takes the device
    /// off its cores. As slow as the slowest SSD.
    pub fn end(self) {
        let Self { server, device } = self;
        drop(server);
        drop(device);
    }
}
