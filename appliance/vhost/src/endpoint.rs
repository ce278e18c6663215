//! A virtio device on a socket.
//!
//! A thread accepts front ends, one of which is served at a time (`luge_endpoint`).

use crate::coalescing::Coalescing;
use crate::config_notices::ConfigNotices;
use crate::device::VirtioDevice;
use crate::log::Log;
use crate::served::Served;
use crate::service::VhostUser;
use crate::state::HandedOver;
use crate::status::{EndpointStatus, Ledger};
use luge_core::{Descriptors, ServingCore};
use luge_endpoint::{BackoffLimits, BackoffStatus, Departure, Ending, EndpointError, Listening, PeerCounts};
use luge_memory::DmaSpace;
use luge_socket::Permissions;
use std::path::PathBuf;
use std::sync::Arc;

/// File descriptors of an endpoint with a front end that has no queues yet: listener and wake-up, the connection
/// and its copies, one that waits, and the files of a message, which are memory regions.
const DESCRIPTORS: u64 = 16;

/// Description of an endpoint.
pub struct EndpointConfig {
    /// Name of the endpoint, for messages.
    pub name: String,
    /// Path of the socket.
    pub socket: PathBuf,
    /// Who may connect to the socket.
    pub permissions: Permissions,
    /// Owner that the operator has named: all endpoints of an owner share its part of a core's time. Without
    /// one, the endpoints whose front ends share a memory file do.
    pub owner: Option<String>,
    /// The device.
    pub device: Arc<dyn VirtioDevice>,
    /// Address space of the SSDs, in which guest memory is mapped.
    pub space: Arc<DmaSpace>,
    /// Budget of the process's file descriptors.
    pub descriptors: Arc<Descriptors>,
    /// Limits of the back-off after front ends that were cut off for cause.
    pub backoff: BackoffLimits,
}

/// A virtio device on a socket. Stops when dropped.
pub struct Endpoint {
    served: Arc<Served>,
    listening: Listening<VhostUser>,
}

impl Endpoint {
    /// Makes the socket, and listens.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        Self::listen(config, None)
    }

    /// Makes the socket, listens, and serves a connection on that another endpoint has handed over. A connection
    /// that cannot be resumed is closed, and the log says why.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then, and the connection is closed.
    pub fn resume(config: EndpointConfig, connection: HandedOver) -> Result<Self, EndpointError> {
        Self::listen(config, Some(connection))
    }

    fn listen(config: EndpointConfig, resumed: Option<HandedOver>) -> Result<Self, EndpointError> {
        let EndpointConfig { name, socket, permissions, owner, device, space, descriptors, backoff } = config;
        let cores = device.cores().into_iter().map(ServingCore::new).collect();
        let (ledger, log) = (Arc::new(Ledger::new(backoff)), Log::default());
        let owner = owner.map(Arc::from);
        let (notices, coalescing) = (ConfigNotices::default(), Coalescing::default());
        let served =
            Served { name, owner, device, cores, space, descriptors, ledger, notices, coalescing, log };
        let served = Arc::new(served);
        let service = Arc::new(VhostUser(served.clone()));
        let listening = Listening::start(&service, &socket, &permissions, DESCRIPTORS, resumed)?;
        Ok(Self { served, listening })
    }

    /// Name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.served.name
    }

    /// Present status of the endpoint. Does not wait for cores or front ends.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        self.served.ledger.read(EndpointStatus {
            name: self.served.name.clone(),
            socket: self.listening.path().to_owned(),
            cores: self.served.cores.iter().map(|serving| serving.core().id()).collect(),
            queues_max: self.served.device.queues(),
            counts: PeerCounts::default(),
            backoff: BackoffStatus::default(),
            front_end: None,
            config: Some(self.served.notices.knowledge()),
        })
    }

    /// Departure of the front end, to wait for.
    #[must_use]
    pub fn departure(&self) -> Departure {
        Departure::new(self.served.ledger.peers())
    }

    /// Notices to the front end about the configuration space.
    #[must_use]
    pub fn notices(&self) -> ConfigNotices {
        self.served.notices.clone()
    }

    /// Coalescing of the interrupts of all queues.
    #[must_use]
    pub fn coalescing(&self) -> &Coalescing {
        &self.served.coalescing
    }

    /// Cuts off the front end and those that wait, waits until every request that was taken has been answered,
    /// as long as the slowest SSD takes, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }

    /// Stops as [`Self::stop`] does, but leaves the front end that is served to [`Self::resume`], in this process
    /// or another. None if there is no front end, it has broken the protocol, or it has been in the middle of a
    /// message for two seconds.
    #[must_use]
    pub fn hand_over(mut self) -> Option<HandedOver> {
        self.listening.end(Ending::HandOver)
    }
}
