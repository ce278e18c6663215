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
