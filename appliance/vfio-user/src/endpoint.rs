//! Functions on a socket.

use crate::function::FunctionSource;
use luge_core::{Descriptors, Promise, TooFewDescriptors};
use luge_memory::DmaSpace;
use luge_socket::{Permissions, Socket, SocketError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// File descriptors of an endpoint: listener and wake-up, the connection and its copies, those that wait, and the
/// files of a message.
const DESCRIPTORS: u64 = 32;

/// Description of an endpoint.
pub struct EndpointConfig {
    /// Name of the endpoint, for messages.
    pub name: String,
    /// Path of the socket.
    pub socket: PathBuf,
    /// Who may connect to the socket.
    pub permissions: Permissions,
    /// Owner that the operator has named: all endpoints of an owner share its part of a core's time. Without
    /// one, the endpoints whose clients share a memory file do.
    pub owner: Option<String>,
    /// Maker of the functions.
    pub source: Arc<dyn FunctionSource>,
    /// Address space of the SSDs, in which memory of clients is mapped; none where no SSD is to reach it.
    pub space: Option<Arc<DmaSpace>>,
    /// Budget of the process's file descriptors.
    pub descriptors: Arc<Descriptors>,
}

/// Reason why an endpoint did not start.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The socket could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The thread that accepts clients could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Too few file descriptors are left.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
}

/// Functions on a socket, for one client at a time. Stops when dropped.
pub struct Endpoint {
    name: String,
    _socket: Arc<Socket>,
    _descriptors: Promise,
}

impl Endpoint {
    /// Makes the socket, and listens.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        let EndpointConfig { name, socket, permissions, descriptors, .. } = config;
        let promise = descriptors.promise(DESCRIPTORS)?;
        let socket = Arc::new(Socket::bind(&socket, &permissions)?);
        Ok(Self { name, _socket: socket, _descriptors: promise })
    }

    /// Name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Cuts off the client and those that wait, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}
