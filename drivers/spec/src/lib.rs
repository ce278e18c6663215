//! Wire layouts of NVMe and virtio: no I/O, no unsafe, sizes asserted.

pub mod nvme;
pub mod vhost_user;
pub mod virtio;
