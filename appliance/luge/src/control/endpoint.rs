//! A vhost controller: a block device on a socket.

use luge_vhost::BlkEndpoint;

/// A vhost controller and its block device.
pub struct Endpoint {
    /// Server on the socket. Stops when dropped.
    pub server: BlkEndpoint,
    /// Name of the block device.
    pub bdev: String,
}
