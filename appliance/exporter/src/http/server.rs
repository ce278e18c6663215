//! Listener: a thread for each connection, a bounded number of them.

use super::connection::{Rules, serve};
use super::open::OpenConnections;
use super::request::Request;
use super::response::Response;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Pause after a failed accept, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Stack of a connection's thread.
const STACK_BYTES: usize = 256 << 10;

/// An HTTP server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    rules: Rules,
}

impl Server {
    /// Listens on an address.
    ///
    /// # Errors
    /// Error of the kernel.
    pub fn listen(address: SocketAddr, rules: Rules) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address)?, rules })
    }

    /// Address, with the port that the kernel chose if none was given.
    ///
    /// # Errors
    /// Error of the kernel.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves requests until the process ends.
    pub fn run(self, answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> ! {
        let (answer, rules) = (Arc::new(answer), Arc::new(self.rules));
        let open = OpenConnections::default();
        loop {
            let Ok((stream, _)) = self.listener.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            let Some(entry) = open.enter(stream) else { continue };
            let (answer, rules) = (Arc::clone(&answer), Arc::clone(&rules));
            // A client that breaks off or takes too long gets no answer, and if no thread can be made, it is
            // closed with its entry.
            let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
                let _ = serve(&entry.stream, &rules, &*answer);
            });
        }
    }
}
