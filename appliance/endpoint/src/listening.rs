//! A socket with the threads of its connections.

use crate::accept::Acceptor;
use crate::service::Service;
use crate::signals::{Ending, Signals};
use luge_core::{Promise, TooFewDescriptors};
use luge_socket::{Permissions, Socket, SocketError};
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use thiserror::Error;

/// Reason why an endpoint did not start.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The socket could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The thread that accepts peers could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// Too few file descriptors are left.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
}

/// A socket whose connections are accepted and served. Cuts them off when dropped.
pub struct Listening<S: Service> {
    socket: Arc<Socket>,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<Option<S::Resumed>>>,
    _descriptors: Promise,
}

impl<S: Service> Listening<S> {
    /// Promises `descriptors` file descriptors, makes the socket and listens; serves a connection on that another
    /// endpoint has handed over, if there is one.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then, and the connection is closed.
    pub fn start(
        service: &Arc<S>,
        path: &Path,
        permissions: &Permissions,
        descriptors: u64,
        resumed: Option<S::Resumed>,
    ) -> Result<Self, EndpointError> {
        let promise = service.descriptors().promise(descriptors)?;
        let socket = Arc::new(Socket::bind(path, permissions)?);
        let signals = Arc::new(Signals::new().map_err(EndpointError::Thread)?);
        let acceptor = Acceptor::new(service.clone(), socket.clone(), signals.clone());
        let mut acceptor = acceptor.map_err(EndpointError::Thread)?;
        resumed.map(|connection| acceptor.resume(connection)).transpose().map_err(EndpointError::Thread)?;
        let thread = std::thread::Builder::new()
            .name(format!("accept-{}", service.name()))
            .spawn(move || acceptor.run())
            .map_err(EndpointError::Thread)?;
        Ok(Self { socket, signals, thread: Some(thread), _descriptors: promise })
    }

    /// Path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Ends the connections; returns the one that is handed over, if there is one. The second call does nothing.
    pub fn end(&mut self, ending: Ending) -> Option<S::Resumed> {
        let thread = self.thread.take()?;
        self.signals.close(ending);
        // Nobody can connect any more. It fails only if the socket is gone.
        let _ = shutdown(self.socket.listener(), Shutdown::Both);
        // A thread that panicked has no sessions left, or the process would be gone.
        thread.join().ok().flatten()
    }
}

impl<S: Service> Drop for Listening<S> {
    fn drop(&mut self) {
        self.end(Ending::CutOff);
    }
}
