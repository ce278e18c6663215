//! A vhost controller: a block device on a socket.

use luge_vhost::BlkEndpoint;

/// A vhost controller, and what it serves.
pub struct Endpoint {
    /// What listens on the socket. Stops when dropped.
    pub server: BlkEndpoint,
    /// The block device.
    pub bdev: String,
}
