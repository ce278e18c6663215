//! Errors of subsystems and listeners, as RPC errors.

use luge_block::OpenError;
use luge_core::AttachError;
use luge_nvme_target::SubsystemError;
use luge_rpc::RpcError;
use luge_socket::SocketError;
use luge_vfio_user::EndpointError;
use rustix::io::Errno;

/// Error of a subsystem: -32602, as of SPDK, where the call is wrong.
pub fn subsystem(error: &SubsystemError) -> RpcError {
    match error {
        SubsystemError::Text { .. }
        | SubsystemError::NamespacesMax(_)
        | SubsystemError::ControllerIds { .. }
        | SubsystemError::NamespaceId { .. }
        | SubsystemError::NamespaceExists(_)
        | SubsystemError::Full(_)
        | SubsystemError::NoNamespace(_)
        | SubsystemError::BlockBytes(_) => RpcError::invalid_params(error),
        SubsystemError::NoCores => RpcError::internal(error),
        SubsystemError::Memory(_) => RpcError::no_memory(error),
        SubsystemError::NoCommonCore | SubsystemError::CoreInUse(_) => RpcError::busy(error),
        SubsystemError::Attach(AttachError::Open(OpenError::NoQueue { .. })) => RpcError::busy(error),
        SubsystemError::Attach(AttachError::Open(OpenError::Device { .. })) => {
            RpcError::errno(Errno::IO, error)
        }
        SubsystemError::Attach(AttachError::Open(OpenError::Memory { .. }) | AttachError::Full(_)) => {
            RpcError::no_memory(error)
        }
    }
}

/// Error of a listener's socket.
pub fn endpoint(error: &EndpointError) -> RpcError {
    match error {
        EndpointError::Socket(SocketError::System { .. } | SocketError::Group { .. }) => {
            RpcError::invalid_params(format_args!("parameter `listen_address.traddr`: {error}"))
        }
        EndpointError::Socket(
            SocketError::Alive(_)
            | SocketError::NotASocket(_)
            | SocketError::Stale { .. }
            | SocketError::Lock { .. },
        ) => RpcError::invalid_params(format_args!(
            "parameter `listen_address.traddr`: it already exists: {error}"
        )),
        EndpointError::Thread(_) => RpcError::internal(error),
        EndpointError::Descriptors(_) => RpcError::errno(Errno::MFILE, error),
    }
}
