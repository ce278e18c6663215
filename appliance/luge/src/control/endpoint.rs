//! A vhost controller: a block device on a socket.

use luge_vhost::BlkDevice;
use std::sync::Arc;

/// A vhost controller, and what it serves.
pub struct Endpoint {
    /// Listener on the socket. Stops when dropped.
    pub server: luge_vhost::Endpoint,
    /// The block device as a disk.
    pub disk: Arc<BlkDevice>,
    /// Name of the block device.
    pub bdev: String,
}

impl Endpoint {
    /// Cuts its front ends off, waits until every request that was taken has been answered, and takes the disk
    /// off its cores. As slow as the slowest SSD.
    pub fn end(self) {
        let Self { server, disk, bdev: _ } = self;
        server.stop();
        drop(disk);
    }
}
