//! Wire layouts of NVMe, virtio and vhost-user: no I/O, no unsafe, sizes asserted.
