//! A disk on a socket.
//!
//! One thread per endpoint accepts front ends and serves one at a time: a disk has one guest.
//! A second one that connects waits in the socket's backlog until the first has left.

use crate::blk::{Access, BlkDisk};
use crate::connection::{End, serve};
use crate::socket::{Socket, SocketError};
use crate::status::{EndpointStatus, Ledger};
use luge_core::{AttachError, Attachment, CoreHandle};
use luge_memory::DmaSpace;
use luge_volume::Volume;
use rustix::net::{Shutdown, shutdown};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The most queues of a disk.
pub const QUEUES_MAX: u16 = 256;

/// A line about front ends is logged this often at most, per endpoint and kind of line.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How long to wait when the kernel cannot accept: it is out of memory or file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Queue 0 of one disk after the other starts on another core.
static NEXT_CORE: AtomicUsize = AtomicUsize::new(0);

/// What an endpoint serves, and how.
pub struct EndpointConfig {
    /// Its name, for messages.
    pub name: String,
    /// The path of its socket.
    pub socket: PathBuf,
    /// The volume.
    pub volume: Arc<Volume>,
    /// Whether guests can write.
    pub access: Access,
    /// The disk's serial number: the first 20 bytes count.
    pub serial: String,
    /// The cores that serve its queues, in turn.
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
    /// The thread could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// What the connections of an endpoint share.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) disk: BlkDisk,
    pub(crate) space: Arc<DmaSpace>,
    pub(crate) ledger: Ledger,
    places: Vec<Attachment>,
    first_place: usize,
}

impl Served {
    /// The volume on the core that serves a queue.
    pub(crate) fn place(&self, queue: u16) -> Option<&Attachment> {
        let at = self.first_place.wrapping_add(queue.into()).checked_rem(self.places.len())?;
        self.places.get(at)
    }
}

/// How a connection is cut off.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    inside: Option<UnixStream>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in; not any more once the gate is closed.
    fn enter(&self, stream: &UnixStream) -> io::Result<bool> {
        let mut state = self.lock();
        state.inside = Some(stream.try_clone()?);
        Ok(!state.closed)
    }

    fn leave(&self) {
        self.lock().inside = None;
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Cuts off who is inside, in the middle of a message if need be, and lets nobody in.
    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Some(stream) = &state.inside {
            // It fails only if the front end has gone already.
            let _ = shutdown(stream, Shutdown::Both);
        }
    }
}

/// A disk on a socket. Stops when dropped.
pub struct BlkEndpoint {
    served: Arc<Served>,
    socket: Arc<Socket>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl BlkEndpoint {
    /// Opens the volume on all cores, and listens.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is kept then.
    pub fn start(config: EndpointConfig) -> Result<Self, EndpointError> {
        let EndpointConfig { name, socket, volume, access, serial, cores, queues_max, space } = config;
        if !(1..=QUEUES_MAX).contains(&queues_max) {
            return Err(EndpointError::Queues(queues_max));
        }
        if cores.is_empty() {
            return Err(EndpointError::NoCores);
        }
        let socket = Arc::new(Socket::bind(&socket)?);
        let places = cores.iter().map(|core| core.attach(&volume)).collect::<Result<Vec<_>, _>>()?;
        let disk = BlkDisk::new(volume.geometry(), access, &serial, queues_max);
        let first_place = NEXT_CORE.fetch_add(1, Relaxed);
        let served = Arc::new(Served { name, disk, space, ledger: Ledger::default(), places, first_place });
        let gate = Arc::new(Gate::default());
        let (theirs, listener, entrance) = (served.clone(), socket.clone(), gate.clone());
        let thread = std::thread::Builder::new()
            .name(format!("vhost-{}", served.name))
            .spawn(move || listen(&theirs, &listener, &entrance))
            .map_err(EndpointError::Thread)?;
        Ok(Self { served, socket, gate, thread: Some(thread) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.served.name
    }

    /// How it is now. Does not wait for cores or front ends.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        self.served.ledger.read(EndpointStatus {
            name: self.served.name.clone(),
            socket: self.socket.path().to_owned(),
            read_only: self.served.disk.geometry().read_only,
            cores: self.served.places.iter().map(|place| place.core().id()).collect(),
            queues_max: self.served.disk.queues(),
            connections: 0,
            protocol_errors: 0,
            front_end: None,
        })
    }

    /// Cuts off the front end, waits until every request that was taken has been answered,
    /// as long as the slowest SSD takes, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for BlkEndpoint {
    fn drop(&mut self) {
        self.gate.close();
        // Wakes the thread if it waits for a front end. It fails only if the socket is gone.
        let _ = shutdown(self.socket.listener(), Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has no sessions left, or the process would be gone.
            let _ = thread.join();
        }
    }
}

/// The endpoint's thread: one front end after the other.
fn listen(served: &Arc<Served>, socket: &Socket, gate: &Gate) {
    let mut log = Log::default();
    while !gate.is_closed() {
        match socket.listener().accept() {
            Ok((stream, _)) => welcome(stream, served, gate, &mut log),
            Err(_) if gate.is_closed() => {}
            Err(error) => {
                log.deaf.line(|| tracing::warn!("{}: cannot accept a front end: {error}", served.name));
                std::thread::sleep(ACCEPT_AGAIN);
            }
        }
    }
}

fn welcome(stream: UnixStream, served: &Arc<Served>, gate: &Gate, log: &mut Log) {
    if !gate.enter(&stream).unwrap_or(false) {
        return;
    }
    served.ledger.connected();
    log.came.line(|| tracing::info!("{}: a front end has connected", served.name));
    match serve(stream, served) {
        End::Left => log.left.line(|| tracing::info!("{}: the front end has left", served.name)),
        End::Fault(_) if gate.is_closed() => {}
        End::Fault(error) => {
            served.ledger.protocol_error();
            log.fault.line(|| tracing::warn!("{}: the front end was cut off: {error}", served.name));
        }
    }
    served.ledger.disconnected();
    gate.leave();
}

/// What is logged of front ends, which come and go as fast as they like: a line of each kind
/// now and then.
#[derive(Default)]
struct Log {
    came: Limit,
    left: Limit,
    fault: Limit,
    deaf: Limit,
}

#[derive(Default)]
struct Limit {
    last: Option<Instant>,
}

impl Limit {
    fn line(&mut self, write: impl FnOnce()) {
        if self.last.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            self.last = Some(Instant::now());
            write();
        }
    }
}
