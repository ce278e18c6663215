//! Start of a controller's socket.

use crate::control::{Place, Platform};
use luge_rpc::RpcError;
use luge_vhost::{BackoffLimits, Endpoint, EndpointConfig, EndpointError, SocketError, VirtioDevice};
use rustix::io::Errno;
use std::sync::Arc;

/// Serves a device on a socket.
///
/// # Errors
/// -17 if the path is taken, -22 if the socket cannot be made, -24 without file descriptors.
pub fn start(platform: &Platform, place: Place, device: Arc<dyn VirtioDevice>) -> Result<Endpoint, RpcError> {
    let Place { name, socket, tenant } = place;
    let server = Endpoint::start(EndpointConfig {
        name,
        socket,
        permissions: platform.sockets.permissions,
        owner: tenant,
        device,
        space: platform.space.clone(),
        descriptors: platform.descriptors.clone(),
        backoff: BackoffLimits::default(),
    });
    server.map_err(|error| refusal(&error))
}

fn refusal(error: &EndpointError) -> RpcError {
    match error {
        EndpointError::Socket(SocketError::System { .. } | SocketError::Group { .. }) => {
            RpcError::invalid(error)
        }
        EndpointError::Socket(
            SocketError::Alive(_)
            | SocketError::NotASocket(_)
            | SocketError::Stale { .. }
            | SocketError::Lock { .. },
        ) => RpcError::exists(error),
        EndpointError::Thread(_) => RpcError::internal(error),
        EndpointError::Descriptors(_) => RpcError::errno(Errno::MFILE, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_socket_has_the_code_of_its_cause() {
        let system = std::io::Error::other("no");
        for (error, code) in [
            (EndpointError::Socket(SocketError::Alive("/s".into())), -17),
            (EndpointError::Socket(SocketError::NotASocket("/s".into())), -17),
            (EndpointError::Socket(SocketError::System { path: "/s".into(), source: system }), -22),
            (EndpointError::Thread(std::io::Error::other("no")), -32603),
        ] {
            assert_eq!(refusal(&error).code.0, code, "{error}");
        }
    }
}
