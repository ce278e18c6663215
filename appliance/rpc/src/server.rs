//! RPC server: the socket, and the thread that accepts its connections.

use crate::answer::closing_error;
use crate::connections::Connections;
use crate::log_limit::LogLimit;
use crate::socket::LockedSocket;
use crate::{Dispatcher, ListenError, RpcError};
use luge_socket::Permissions;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{Shutdown, shutdown};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause after `accept` failed, which happens when the process is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Limit on log lines about failures of `accept`.
static FAILURES: LogLimit = LogLimit::new("failures to accept RPC connections", 1);

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
    let mut spare = spare_descriptor();
    for id in 0.. {
        await_client(listener);
        match listener.accept() {
            Ok((stream, _)) => connections.serve(id, stream, dispatcher.clone()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                FAILURES.line(|| tracing::warn!("cannot accept an RPC connection: {error}"));
                if !connections.free_descriptor(PAUSE) {
                    drop(spare.take());
                    refuse(listener, &error);
                    spare = spare_descriptor();
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// Waits until a client connects or the server ends. `accept` alone would fail without a client when the process is
/// out of file descriptors.
fn await_client(listener: &UnixListener) {
    // Interrupted or out of memory: `accept` waits.
    let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], None);
}

/// File descriptor that is given up to refuse a client in words when there is no other.
fn spare_descriptor() -> Option<OwnedFd> {
    File::open("/dev/null").ok().map(OwnedFd::from)
}

/// Accepts a connection, if one descriptor is left for it, and tells its client the reason for its end.
fn refuse(listener: &UnixListener, reason: &io::Error) {
    // Nobody may be waiting by now.
    let _ = listener.set_nonblocking(true);
    if let Ok((stream, _)) = listener.accept() {
        let error =
            RpcError::kernel(reason, "no file descriptor is left for this connection: try again later");
        let _ = (&stream).write(&closing_error(error));
    }
    let _ = listener.set_nonblocking(false);
}

#[cfg(test)]
mod tests;
