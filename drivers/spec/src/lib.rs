//! Wire layouts of NVMe, SCSI, PCI, virtio, vhost-user and vfio-user: no I/O, no unsafe, sizes asserted.

mod bits;
pub mod nvme;
pub mod pci;
pub mod scsi;
pub mod vfio_user;
pub mod vhost_user;
pub mod virtio;
