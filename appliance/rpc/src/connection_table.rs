//! Table of a server's connections: limits their number and the memory of their texts.
//!
//! When a limit is reached, the connection that has been idle longest is closed. A connection is idle
//! while it waits for a request, for the rest of one, or for its client to read an answer. A new
//! client is served however many others there are: at most half of the connections have calls that
//! wait for events, and all other calls end by themselves. A console needs no connection.
//!
//! Invariants
//! - There are at most [`CONNECTIONS_MAX`] connections with a client. Their texts take at most
//!   [`REQUEST_BYTES_MAX`] and [`ANSWER_BYTES_MAX`] in all; texts of up to [`SHORT_BYTES`] are not
//!   counted.
//! - A connection with a call under way and a client is never closed. One whose client has
//!   disconnected does not count, though its thread goes on until the call ends.
//!
//! Not here: threads, and reading and writing (`connections`).

use crate::RpcError;
use crate::caller::{Caller, WAITING_MAX, Waiting};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of connections with a client.
pub(crate) const CONNECTIONS_MAX: usize = 2 * WAITING_MAX;

/// Maximum number of connections, including those whose clients have disconnected.
const THREADS_MAX: usize = 8 * CONNECTIONS_MAX;

/// Maximum memory of unanswered requests, complete or not, of all connections together.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Maximum memory of answers that are being written, of all connections together.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Length up to which a text is not counted: it is read or written in one piece.
pub(crate) const SHORT_BYTES: usize = 16 << 10;

/// Time limit of a wait for a resource. Most calls end sooner.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// A limited resource that connections share.
#[derive(Clone, Copy)]
enum Resource {
    Connections,
    RequestBytes,
    AnswerBytes,
}

impl Resource {
    const fn limit(self) -> usize {
        match self {
            Self::Connections => CONNECTIONS_MAX,
            Self::RequestBytes => REQUEST_BYTES_MAX,
            Self::AnswerBytes => ANSWER_BYTES_MAX,
        }
    }

    /// Amount of the resource that a connection has.
    fn of(self, entry: &Entry) -> usize {
        match self {
            Self::Connections => usize::from(is_connected(&entry.stream)),
            Self::RequestBytes => entry.request_bytes,
            Self::AnswerBytes => entry.answer_bytes,
        }
    }

    fn shortage(self) -> RpcError {
        RpcError::busy(match self {
            Self::Connections => {
                format!("all {CONNECTIONS_MAX} RPC connections have calls under way: try again later")
            }
            Self::RequestBytes => format!(
                "requests of {} MiB are under way already: try again later, or send smaller ones",
                REQUEST_BYTES_MAX >> 20
            ),
            Self::AnswerBytes => format!(
                "answers of {} MiB are being sent already: try again later, or ask for less",
                ANSWER_BYTES_MAX >> 20
            ),
        })
    }
}

/// Activity of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    /// Waits for a request.
    Reading,
    /// Waits for the rest of a request.
    Receiving,
    /// Has a call under way.
    Calling,
    /// Waits for the client to read an answer.
    Writing,
}

/// A connection in the table.
struct Entry {
    stream: Arc<UnixStream>,
    activity: Activity,
    since: Instant,
    request_bytes: usize,
    answer_bytes: usize,
    is_closed: bool,
}

impl Entry {
    fn new(stream: Arc<UnixStream>) -> Self {
        Self {
            stream,
            activity: Activity::Reading,
            since: Instant::now(),
            request_bytes: 0,
            answer_bytes: 0,
            is_closed: false,
        }
    }

    fn is_idle(&self) -> bool {
        match self.activity {
            Activity::Reading => polled(&self.stream, PollFlags::IN).is_empty(),
            Activity::Calling => false,
            Activity::Receiving | Activity::Writing => true,
        }
    }

    fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.is_closed = true;
    }
}

/// Whether a connection has a client. A client that only shut down its writing side is still there.
pub(crate) fn is_connected(stream: &UnixStream) -> bool {
    !polled(stream, PollFlags::empty()).intersects(PollFlags::HUP | PollFlags::ERR)
}

fn polled(stream: &UnixStream, wanted: PollFlags) -> PollFlags {
    let mut descriptors = [PollFd::new(stream, wanted)];
    match poll(&mut descriptors, Some(&Timespec::default())) {
        Ok(_) => descriptors.first().map_or(PollFlags::empty(), PollFd::revents),
        Err(_) => PollFlags::empty(),
    }
}

type Entries = BTreeMap<u64, Entry>;

/// Connections of a server, by number.
#[derive(Default)]
pub(crate) struct ConnectionTable {
    entries: Mutex<Entries>,
    changed: Condvar,
    /// Number of calls that wait.
    pub(crate) waiting: Arc<Waiting>,
    /// Lock that is held while a long text is parsed, because the values take many times its bytes.
    pub(crate) parsing: Mutex<()>,
}

impl ConnectionTable {
    /// Adds a connection.
    ///
    /// # Errors
    /// -16 if all connections have calls under way.
    pub(crate) fn admit(&self, id: u64, stream: Arc<UnixStream>) -> Result<(), RpcError> {
        let mut entries = self.make_room(id, Resource::Connections, 1)?;
        if entries.len() >= THREADS_MAX {
            return Err(Resource::Connections.shortage());
        }
        entries.insert(id, Entry::new(stream));
        Ok(())
    }

    /// Records that a connection has received a part of a request.
    pub(crate) fn receive(&self, id: u64) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(&id).filter(|entry| entry.activity == Activity::Reading) {
            entry.activity = Activity::Receiving;
            entry.since = Instant::now();
        }
    }

    /// Records a new activity of a connection. A reading connection has been idle since its last answer.
    pub(crate) fn enter(&self, id: u64, activity: Activity) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.activity = activity;
            if activity != Activity::Reading {
                entry.since = Instant::now();
            }
        }
    }

    /// Records the memory of a connection's requests; waits for room if necessary.
    ///
    /// # Errors
    /// -16 if calls under way of other connections leave too little.
    pub(crate) fn hold_request(&self, id: u64, bytes: usize) -> Result<(), RpcError> {
        self.hold(id, Resource::RequestBytes, bytes, |entry, bytes| entry.request_bytes = bytes)
    }

    /// Records the memory of a connection's answer; waits for room if necessary.
    ///
    /// # Errors
    /// -16 if other connections leave too little.
    pub(crate) fn hold_answer(&self, id: u64, bytes: usize) -> Result<(), RpcError> {
        self.hold(id, Resource::AnswerBytes, bytes, |entry, bytes| entry.answer_bytes = bytes)
    }

    fn hold(
        &self,
        id: u64,
        resource: Resource,
        bytes: usize,
        set: impl Fn(&mut Entry, usize),
    ) -> Result<(), RpcError> {
        let bytes = if bytes > SHORT_BYTES { bytes } else { 0 };
        let mut entries = match bytes {
            0 => self.lock(),
            _ => self.make_room(id, resource, bytes)?,
        };
        if let Some(entry) = entries.get_mut(&id) {
            let had = resource.of(entry);
            set(entry, bytes);
            if had > bytes {
                self.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Removes a connection that has ended.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().remove(&id);
        self.changed.notify_all();
    }

    /// Ends all connections: reads no more requests, waits up to `timeout` for the answers, then closes.
    pub(crate) fn end(&self, timeout: Duration) {
        let mut entries = self.lock();
        for entry in entries.values() {
            let _ = entry.stream.shutdown(Shutdown::Read);
        }
        let waited = self.changed.wait_timeout_while(entries, timeout, |entries| !entries.is_empty());
        (entries, _) = waited.unwrap_or_else(PoisonError::into_inner);
        entries.values_mut().for_each(Entry::close);
    }

    /// Waits until connections other than `id` leave `wanted` of a resource; closes idle ones for that.
    ///
    /// # Errors
    /// -16 after [`ROOM_TIMEOUT`].
    fn make_room(
        &self,
        id: u64,
        resource: Resource,
        wanted: usize,
    ) -> Result<MutexGuard<'_, Entries>, RpcError> {
        let mut entries = self.lock();
        let begin = Instant::now();
        while !fits(&entries, id, resource, wanted) {
            if !is_closing(&entries, id, resource) && close_longest_idle(&mut entries, id, resource) {
                continue;
            }
            let left = ROOM_TIMEOUT.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(resource.shortage());
            }
            let waited = self.changed.wait_timeout(entries, left.min(Caller::LOOK));
            (entries, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(entries)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether connections other than `id` leave `wanted` of a resource. True if they have none at all.
fn fits(entries: &Entries, id: u64, resource: Resource, wanted: usize) -> bool {
    let others: usize = others(entries, id, resource).map(|(_, entry)| resource.of(entry)).sum();
    others == 0 || others.saturating_add(wanted) <= resource.limit()
}

/// Whether another connection that has some of a resource was closed and has not ended yet.
fn is_closing(entries: &Entries, id: u64, resource: Resource) -> bool {
    others(entries, id, resource).any(|(_, entry)| entry.is_closed)
}

/// Closes the connection that has been idle longest; false if none is idle.
fn close_longest_idle(entries: &mut Entries, id: u64, resource: Resource) -> bool {
    let idle = others(entries, id, resource).filter(|(_, entry)| entry.is_idle());
    let longest = idle.min_by_key(|(_, entry)| entry.since).map(|(longest, _)| longest);
    let Some(entry) = longest.and_then(|longest| entries.get_mut(&longest)) else { return false };
    tracing::info!("an RPC connection is closed to make room: it was idle for {:?}", entry.since.elapsed());
    entry.close();
    true
}

/// Connections other than `id` that have some of a resource.
fn others(entries: &Entries, id: u64, resource: Resource) -> impl Iterator<Item = (u64, &Entry)> {
    let has_some = move |entry: &Entry| resource.of(entry) > 0;
    entries
        .iter()
        .map(|(other, entry)| (*other, entry))
        .filter(move |(other, entry)| *other != id && has_some(entry))
}
