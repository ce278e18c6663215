//! An SSD with its namespaces, which are block devices.

use luge_core::Promise;
use luge_nvme::Controller;
use luge_vfio::{PciAddress, VfioUser};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// An SSD that is attached.
pub struct Ssd {
    /// Driver.
    pub controller: Arc<Controller>,
    /// Transport and address.
    pub address: SsdAddress,
    /// Name and identity of each block device that is one of its namespaces.
    pub bdevs: Vec<(String, Uuid)>,
    /// Promise of its file descriptors.
    pub descriptors: Promise,
}

impl Ssd {
    /// File descriptors of an SSD with so many queue pairs: its function, its interrupts and the wake-ups of its thread,
    /// the memory of its queues, each of which is mapped from a file.
    #[must_use]
    pub const fn descriptors(queue_pairs: u64) -> u64 {
        queue_pairs.saturating_add(16)
    }
}

/// Transport and address of an SSD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SsdAddress {
    /// A PCI function.
    Pcie(PciAddress),
    /// A vfio-user server: its socket, or the directory with its socket `cntrl`.
    VfioUser(PathBuf),
}

impl SsdAddress {
    /// Name of the transport.
    pub const fn transport(&self) -> &'static str {
        match self {
            Self::Pcie(_) => "PCIe",
            Self::VfioUser(_) => "VFIOUSER",
        }
    }

    /// Whether both are of one SSD, in any spelling.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::VfioUser(here), Self::VfioUser(there)) => socket(here) == socket(there),
            _ => self == other,
        }
    }
}

/// Socket of a server, by its real path where it has one.
fn socket(path: &Path) -> PathBuf {
    let socket = VfioUser::socket(path);
    socket.canonicalize().unwrap_or(socket)
}

impl std::fmt::Display for SsdAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pcie(address) => address.fmt(f),
            Self::VfioUser(path) => path.display().fmt(f),
        }
    }
}

impl Ssd {
    /// Shuts the SSD down and closes its function. As slow as the SSD.
    pub fn end(self) {
        let Self { controller, descriptors, .. } = self;
        if let Err(error) = controller.shutdown() {
            tracing::error!("{error}");
        }
        drop(controller);
        drop(descriptors);
    }
}
