//! Functions on a socket.

use crate::function::FunctionSource;
use crate::served::{Log, Served};
use crate::service::VfioUser;
use luge_core::Descriptors;
use luge_endpoint::{BackoffLimits, Departure, EndpointError, Ledger, Listening, PeerState};
use luge_memory::DmaSpace;
use luge_socket::Permissions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File descriptors of an endpoint: listener and wake-up, the connection, its copies and the bell of its memory, those
/// that wait, and the files of a message.
const DESCRIPTORS: u64 = 33;

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
    /// Limits of the back-off after clients that were cut off for cause.
    pub backoff: BackoffLimits,
}

/// Functions on a socket, for one client at a time. Stops when dropped.
pub struct Endpoint {
    served: Arc<Served>,
    listening: Listening<VfioUser>,
}

impl Endpoint {
    /// Makes the socket, and listens.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        let EndpointConfig { name, socket, permissions, owner, source, space, descriptors, backoff } = config;
        let (ledger, log) = (Arc::new(Ledger::new(backoff)), Log::default());
        let owner = owner.map(Arc::from);
        let served = Arc::new(Served { name, owner, source, space, descriptors, ledger, log });
        let service = Arc::new(VfioUser(served.clone()));
        let listening = Listening::start(&service, &socket, &permissions, DESCRIPTORS, None)?;
        Ok(Self { served, listening })
    }

    /// Name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.served.name
    }

    /// Path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.listening.path()
    }

    /// Clients as they are now. Does not wait for them.
    #[must_use]
    pub fn clients(&self) -> PeerState {
        self.served.ledger.state()
    }

    /// Departure of the client, to wait for.
    #[must_use]
    pub fn departure(&self) -> Departure {
        Departure::new(&self.served.ledger)
    }

    /// Cuts off the client and those that wait, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}
