//! Wire layouts of NVMe, virtio and vhost-user: no I/O, no unsafe, sizes asserted.

pub mod nvme;
pub mod vhost_user;
pub mod virtio;
