//! RPC server: the socket, and the thread that accepts its connections.

use crate::connections::Connections;
use crate::socket::LockedSocket;
use crate::{Dispatcher, ListenError};
use luge_socket::Permissions;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause after `accept` failed, which happens when the process is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Interval at which failures of `accept` are logged at most.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// RPC server. Dropping it ends its connections and removes the socket.
pub struct Server {
    socket: Arc<LockedSocket>,
    connections: Arc<Connections>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`, and answers calls by the dispatcher's methods.
    ///
    /// # Errors
    /// [`ListenError`] if the path is in use or cannot be used.
    pub fn start(
        path: &Path,
        permissions: &Permissions,
        dispatcher: Arc<Dispatcher>,
    ) -> Result<Self, ListenError> {
        let socket = LockedSocket::listen(path, permissions)?;
        Self::serve(socket, dispatcher, Connections::default())
    }

    fn serve(
        socket: LockedSocket,
        dispatcher: Arc<Dispatcher>,
        connections: Connections,
    ) -> Result<Self, ListenError> {
        let (socket, connections) = (Arc::new(socket), Arc::new(connections));
        let (accepting, open) = (socket.clone(), connections.clone());
        let thread = std::thread::Builder::new()
            .name("rpc".into())
            .spawn(move || accept(accepting.listener(), &open, &dispatcher))
            .map_err(ListenError::Serve)?;
        Ok(Self { socket, connections, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the accepting thread, whose `accept` fails with EINVAL from now on.
        let _ = shutdown(self.socket.listener(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.connections.end();
    }
}

fn accept(listener: &UnixListener, connections: &Arc<Connections>, dispatcher: &Arc<Dispatcher>) {
    let mut warned: Option<Instant> = None;
    for id in 0.. {
        match listener.accept() {
            Ok((stream, _)) => connections.serve(id, stream, dispatcher.clone()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                if warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
                    tracing::warn!("cannot accept an RPC connection: {error}; an idle one is closed for it");
                    warned = Some(Instant::now());
                }
                connections.free_descriptor();
                std::thread::sleep(PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
