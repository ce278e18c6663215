//! The control side of a front end: connects, also again, and says when it cannot.

use super::open::Open;
use super::ring::{Notifications, Ring};
use super::talk::{Inflight, Parties, Talk, server};
use super::time_limit;
use crate::arena::Arena;
use crate::error::BenchError;
use crate::options::Options;
use crate::queue::{Connected, Disk};
use luge_spec::virtio::Features;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt::Display;
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use vhost::vhost_user::Frontend;

/// Time for which a server that has gone is waited for.
const RETURN_LIMIT: Duration = Duration::from_secs(20);
/// Pause between two attempts to connect.
const ATTEMPT: Duration = Duration::from_millis(5);

/// A disk of one kind whose rings are set up.
pub(crate) struct VhostDisk<'a, K> {
    kind: PhantomData<K>,
    path: &'a Path,
    sectors: u64,
    reconnects: u64,
    options: &'a Options,
    stop: &'a AtomicBool,
    features: Features,
    /// Memory in which the server notes the requests in flight; only with `--reconnect`.
    inflight: Option<Inflight>,
    connection: Connection,
    /// Memory of the rings and buffers. Dropped after the connection.
    memory: Arena,
}

/// A connection. The server stops serving when it closes.
struct Connection {
    stream: UnixStream,
    peer: Option<i32>,
    _frontend: Frontend,
}

impl<'a, K: Open> VhostDisk<'a, K> {
    /// # Errors
    /// The server or the disk cannot do what is asked, or the server does wrong; `stop` was set.
    pub(crate) fn connect(
        options: &'a Options,
        path: &'a Path,
        stop: &'a AtomicBool,
    ) -> Result<Connected<Self>, BenchError> {
        let stream = dial(path)?;
        let caller = Caller { options, path, stop, rings: Self::rings(options) };
        let (frontend, set_up) = caller.converse(&stream, |talk| {
            let features = talk.negotiate::<K>()?;
            let mut memory = Arena::alone(options.memory_bytes(K::SLOT_BYTES))?;
            let by_index = features.contains(Features::RING_EVENT_IDX);
            let notifications = if by_index { Notifications::EventIndex } else { Notifications::Flags };
            let rings = (0..options.queues).map(|_| Ring::<K>::new(options, notifications, &mut memory));
            let mut queues = rings.collect::<Result<Vec<_>, _>>()?;
            let inflight = options.reconnect.then(|| talk.get_inflight::<K>()).transpose()?;
            talk.start(&memory, &queues, inflight.as_ref())?;
            let sectors = K::open(talk, features, &mut queues)?;
            Ok((features, sectors, memory, queues, inflight))
        })?;
        let (features, sectors, memory, queues, inflight) = set_up;
        let connection = Connection::new(stream, frontend);
        let (kind, reconnects) = (PhantomData, 0);
        let disk =
            Self { kind, path, sectors, reconnects, options, stop, features, inflight, connection, memory };
        Ok(Connected { disk, queues })
    }

    fn rings(options: &Options) -> u64 {
        u64::from(K::FIRST_QUEUE) + u64::from(options.queues)
    }

    /// Connects to the server that comes after the one that is gone.
    fn reconnect(&mut self, queues: &[Ring<K>]) -> Result<(), BenchError> {
        let end = Instant::now() + RETURN_LIMIT;
        loop {
            match self.connect_again(queues) {
                Ok(connection) => {
                    self.connection = connection;
                    self.reconnects += 1;
                    return Ok(());
                }
                Err(error) if self.stop.load(Relaxed) || Instant::now() > end => return Err(error),
                // It is not there yet, or has gone once more.
                Err(_) => std::thread::sleep(ATTEMPT),
            }
        }
    }

    fn connect_again(&self, queues: &[Ring<K>]) -> Result<Connection, BenchError> {
        let stream = dial(self.path)?;
        let Self { options, path, stop, .. } = *self;
        let caller = Caller { options, path, stop, rings: Self::rings(options) };
        let (frontend, ()) = caller.converse(&stream, |talk| {
            let features = talk.negotiate::<K>()?;
            if features != self.features {
                return Err(talk.wrong("it offers other features than before"));
            }
            talk.start(&self.memory, queues, self.inflight.as_ref())
        })?;
        // What was added while there was no server was kicked for nobody.
        queues.iter().for_each(Ring::kick_anyway);
        Ok(Connection::new(stream, frontend))
    }
}

impl<K: Open> Disk for VhostDisk<'_, K> {
    type Queue = Ring<K>;

    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn peer(&self) -> Option<i32> {
        self.connection.peer
    }

    fn reconnects(&self) -> u64 {
        self.reconnects
    }

    fn check(&mut self, queues: &[Ring<K>]) -> Result<bool, BenchError> {
        let mut fds = [PollFd::new(&self.connection.stream, PollFlags::RDHUP)];
        if !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..)) {
            return Ok(false);
        }
        if !self.options.reconnect {
            return Err(server(self.path, &"the server has closed the connection"));
        }
        self.reconnect(queues)?;
        Ok(true)
    }
}

impl Connection {
    fn new(stream: UnixStream, frontend: Frontend) -> Self {
        let credentials = rustix::net::sockopt::socket_peercred(&stream).ok();
        let peer = credentials.map(|credentials| credentials.pid.as_raw_nonzero().get());
        Self { stream, peer, _frontend: frontend }
    }
}

fn dial(path: &Path) -> Result<UnixStream, BenchError> {
    UnixStream::connect(path).map_err(|e| server(path, &format_args!("cannot connect: {e}")))
}

/// Party that talks to a server.
struct Caller<'a> {
    options: &'a Options,
    path: &'a Path,
    stop: &'a AtomicBool,
    /// Number of rings, also those that are not used.
    rings: u64,
}

impl Caller<'_> {
    /// Talks to the server, within limits of time.
    fn converse<T>(
        &self,
        stream: &UnixStream,
        about: impl FnOnce(&mut Talk<'_>) -> Result<T, BenchError>,
    ) -> Result<(Frontend, T), BenchError> {
        let failed = |what: &dyn Display| server(self.path, what);
        let same = stream.try_clone().map_err(|e| failed(&e))?;
        let frontend = Frontend::from_stream(same, self.rings);
        let mut talk = Talk::new(frontend, Parties { options: self.options, path: self.path, stream });
        let result = time_limit::with_limit(stream, self.stop, || about(&mut talk));
        let result = result.map_err(|reason| failed(&reason))?;
        Ok((talk.end(), result?))
    }
}
