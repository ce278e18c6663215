//! The control side of a front end: connects, also again, and says when it cannot.

use crate::arena::Arena;
use crate::error::BenchError;
use crate::options::Options;
use crate::ring::{Notifications, Ring};
use crate::talk::{Inflight, Talk, server};
use crate::time_limit;
use luge_spec::virtio::Features;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt::Display;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use vhost::vhost_user::Frontend;

/// Time for which a server that has gone is waited for.
const RETURN_LIMIT: Duration = Duration::from_secs(20);
/// Pause between two attempts to connect.
const ATTEMPT: Duration = Duration::from_millis(5);

/// A disk with its rings set up.
pub(crate) struct Disk<'a> {
    pub(crate) queues: Vec<Ring>,
    pub(crate) sectors: u64,
    /// Times that the server has gone and come back.
    pub(crate) reconnects: u64,
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

impl<'a> Disk<'a> {
    /// # Errors
    /// The server or the disk cannot do what is asked, or the server does wrong; `stop` was set.
    pub(crate) fn connect(options: &'a Options, stop: &'a AtomicBool) -> Result<Self, BenchError> {
        let stream = dial(options)?;
        let (frontend, set_up) = converse(&stream, options, stop, |talk| {
            let (features, sectors) = talk.negotiate()?;
            let mut memory = Arena::new(options.memory_bytes())?;
            let by_index = features.contains(Features::RING_EVENT_IDX);
            let notifications = if by_index { Notifications::EventIndex } else { Notifications::Flags };
            let rings = (0..options.queues).map(|_| Ring::new(options, notifications, &mut memory));
            let queues = rings.collect::<Result<Vec<_>, _>>()?;
            let inflight = options.reconnect.then(|| talk.get_inflight()).transpose()?;
            talk.start(&memory, &queues, inflight.as_ref())?;
            Ok((features, sectors, memory, queues, inflight))
        })?;
        let (features, sectors, memory, queues, inflight) = set_up;
        let connection = Connection::new(stream, frontend);
        Ok(Self { queues, sectors, reconnects: 0, options, stop, features, inflight, connection, memory })
    }

    /// The process at the other end of the socket.
    pub(crate) fn peer(&self) -> Option<i32> {
        self.connection.peer
    }

    /// Requests not yet answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.queues.iter().map(Ring::in_flight).sum()
    }

    /// Connects again if the server is gone and that is wanted; returns whether it was.
    ///
    /// # Errors
    /// The server is gone, and does not come back.
    pub(crate) fn check_connection(&mut self) -> Result<bool, BenchError> {
        let mut fds = [PollFd::new(&self.connection.stream, PollFlags::RDHUP)];
        if !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..)) {
            return Ok(false);
        }
        if !self.options.reconnect {
            return Err(server(self.options, &"the server has closed the connection"));
        }
        self.reconnect()?;
        Ok(true)
    }

    /// Connects to the server that comes after the one that is gone.
    fn reconnect(&mut self) -> Result<(), BenchError> {
        let end = Instant::now() + RETURN_LIMIT;
        loop {
            match self.connect_again() {
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

    fn connect_again(&self) -> Result<Connection, BenchError> {
        let stream = dial(self.options)?;
        let (frontend, ()) = converse(&stream, self.options, self.stop, |talk| {
            let (features, _) = talk.negotiate()?;
            if features != self.features {
                return Err(talk.wrong("it offers other features than before"));
            }
            talk.start(&self.memory, &self.queues, self.inflight.as_ref())
        })?;
        // What was added while there was no server was kicked for nobody.
        self.queues.iter().for_each(Ring::kick_anyway);
        Ok(Connection::new(stream, frontend))
    }
}

impl Connection {
    fn new(stream: UnixStream, frontend: Frontend) -> Self {
        let credentials = rustix::net::sockopt::socket_peercred(&stream).ok();
        let peer = credentials.map(|credentials| credentials.pid.as_raw_nonzero().get());
        Self { stream, peer, _frontend: frontend }
    }
}

fn dial(options: &Options) -> Result<UnixStream, BenchError> {
    UnixStream::connect(&options.socket).map_err(|e| server(options, &format_args!("cannot connect: {e}")))
}

/// Talks to the server, within limits of time.
fn converse<T>(
    stream: &UnixStream,
    options: &Options,
    stop: &AtomicBool,
    about: impl FnOnce(&mut Talk<'_>) -> Result<T, BenchError>,
) -> Result<(Frontend, T), BenchError> {
    let failed = |what: &dyn Display| server(options, what);
    let same = stream.try_clone().map_err(|e| failed(&e))?;
    let mut talk = Talk::new(Frontend::from_stream(same, u64::from(options.queues)), options);
    let result =
        time_limit::with_limit(stream, stop, || about(&mut talk)).map_err(|reason| failed(&reason))?;
    Ok((talk.end(), result?))
}
