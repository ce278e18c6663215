//! A disk on a socket.
//!
//! A thread accepts front ends, one of which is served at a time (`accept`).

use crate::accept::{Acceptor, Signals};
use crate::blk::{Access, BlkDisk};
use crate::log::Log;
use crate::status::{Departure, EndpointStatus, FrontEndCounts, Ledger};
use luge_core::{AttachError, Attachment, CoreHandle, Locality, best_first};
use luge_memory::{DmaSpace, NodeAmounts};
use luge_socket::{Permissions, Socket, SocketError};
use luge_volume::Volume;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use thiserror::Error;

/// The most queues of a disk.
pub const QUEUES_MAX: u16 = 256;

/// What an endpoint serves, and how.
pub struct EndpointConfig {
    /// Its name, for messages.
    pub name: String,
    /// The path of its socket.
    pub socket: PathBuf,
    /// Who may connect to it.
    pub permissions: Permissions,
    /// The volume.
    pub volume: Arc<Volume>,
    /// Whether guests can write.
    pub access: Access,
    /// The disk's serial number: the first 20 bytes count.
    pub serial: String,
    /// The cores that may serve its queues. One is chosen for each queue when that starts.
    pub cores: Vec<CoreHandle>,
    /// How many queues it offers: 1 to [`QUEUES_MAX`].
    pub queues_max: u16,
    /// Where guest memory is mapped for the SSDs.
    pub space: Arc<DmaSpace>,
}

/// Why an endpoint did not start.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// An impossible number of queues.
    #[error("{0} queues are not possible: a disk has 1 to 256")]
    Queues(u16),
    /// No core to serve it.
    #[error("a disk needs at least one core")]
    NoCores,
    /// The volume could not be opened on a core.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The socket could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The thread that accepts front ends could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What the connections of an endpoint share.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) disk: BlkDisk,
    pub(crate) space: Arc<DmaSpace>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) log: Log,
    /// The volume on each core that serves it.
    pub(crate) attachments: Vec<Attachment>,
    /// NUMA nodes of the devices beneath the volume.
    pub(crate) device_nodes: NodeAmounts,
}

/// A disk on a socket. Stops when dropped.
pub struct BlkEndpoint {
    served: Arc<Served>,
    socket: Arc<Socket>,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

impl BlkEndpoint {
    /// Opens the volume on all cores, and listens.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        let EndpointConfig { name, socket, permissions, volume, access, serial, cores, queues_max, space } =
            config;
        if !(1..=QUEUES_MAX).contains(&queues_max) {
            return Err(EndpointError::Queues(queues_max));
        }
        if cores.is_empty() {
            return Err(EndpointError::NoCores);
        }
        let socket = Arc::new(Socket::bind(&socket, &permissions)?);
        let volume = match access {
            Access::ReadWrite => volume,
            Access::ReadOnly => Arc::new(volume.read_only_view()),
        };
        let attachments = attach(&cores, &volume, queues_max)?;
        let disk = BlkDisk::new(volume.geometry(), access, &serial, queues_max);
        let (ledger, log) = (Arc::<Ledger>::default(), Log::default());
        let device_nodes = volume.nodes();
        let served = Arc::new(Served { name, disk, space, ledger, log, attachments, device_nodes });
        let signals = Arc::new(Signals::new().map_err(EndpointError::Thread)?);
        let acceptor = Acceptor::new(served.clone(), socket.clone(), signals.clone());
        let acceptor = acceptor.map_err(EndpointError::Thread)?;
        let thread = std::thread::Builder::new()
            .name(format!("accept-{}", served.name))
            .spawn(move || acceptor.run())
            .map_err(EndpointError::Thread)?;
        Ok(Self { served, socket, signals, thread: Some(thread) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.served.name
    }

    /// Its volume on each of its cores.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.served.attachments
    }

    /// How it is now. Does not wait for cores or front ends.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        self.served.ledger.read(EndpointStatus {
            name: self.served.name.clone(),
            socket: self.socket.path().to_owned(),
            read_only: self.served.disk.geometry().read_only,
            cores: self.served.attachments.iter().map(|attachment| attachment.core().id()).collect(),
            queues_max: self.served.disk.queues(),
            counts: FrontEndCounts::default(),
            front_end: None,
        })
    }

    /// Departure of the front end, to wait for.
    #[must_use]
    pub fn departure(&self) -> Departure {
        Departure(self.served.ledger.clone())
    }

    /// Cuts off the front end and those that wait, waits until every request that was taken has been answered,
    /// as long as the slowest SSD takes, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for BlkEndpoint {
    fn drop(&mut self) {
        self.signals.close();
        // Nobody can connect any more. It fails only if the socket is gone.
        let _ = shutdown(self.socket.listener(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has no sessions left, or the process would be gone.
            let _ = thread.join();
        }
    }
}

/// Opens the volume on the best of the cores, no more than there are queues: the SSD beneath has few
/// queues of its own.
fn attach(cores: &[CoreHandle], volume: &Arc<Volume>, queues: u16) -> Result<Vec<Attachment>, AttachError> {
    let locality = Locality { devices: volume.nodes(), ..Locality::default() };
    let best = best_first(cores, &locality);
    best.iter().take(queues.into()).map(|core| core.attach(volume)).collect()
}
