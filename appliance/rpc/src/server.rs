//! The RPC socket and the thread that accepts its connections.

use crate::connections::{Connections, UNREAD};
use crate::socket::Claim;
use crate::{Dispatcher, ListenError};
use luge_socket::Permissions;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long to leave the socket alone when the process is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening RPC socket. Dropping it ends its connections and removes the socket.
pub struct Server {
    listener: Arc<UnixListener>,
    connections: Arc<Connections>,
    thread: Option<JoinHandle<()>>,
    _claim: Claim,
}

impl Server {
    /// Listens at `path`, for those who may connect, for calls of the dispatcher's methods.
    ///
    /// # Errors
    /// [`ListenError`] if the path is in use or cannot be.
    pub fn start(
        path: &Path,
        permissions: &Permissions,
        dispatcher: Arc<Dispatcher>,
    ) -> Result<Self, ListenError> {
        let claim = Claim::listen(path, permissions)?;
        Self::serve(claim, dispatcher, Connections::new(UNREAD))
    }

    fn serve(
        (claim, listener): (Claim, UnixListener),
        dispatcher: Arc<Dispatcher>,
        connections: Connections,
    ) -> Result<Self, ListenError> {
        let (listener, connections) = (Arc::new(listener), Arc::new(connections));
        let (theirs, open) = (listener.clone(), connections.clone());
        let thread = std::thread::Builder::new()
            .name("rpc".into())
            .spawn(move || accept(&theirs, &open, &dispatcher))
            .map_err(ListenError::Serve)?;
        Ok(Self { listener, connections, thread: Some(thread), _claim: claim })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the accepting thread, whose `accept` fails with EINVAL from now on.
        let _ = shutdown(&*self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.connections.end();
    }
}

fn accept(listener: &UnixListener, connections: &Arc<Connections>, dispatcher: &Arc<Dispatcher>) {
    for id in 0.. {
        match listener.accept() {
            Ok((stream, _)) => connections.serve(id, stream, dispatcher.clone()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                tracing::warn!("cannot accept an RPC connection: {error}");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
