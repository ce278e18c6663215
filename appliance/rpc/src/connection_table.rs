//! Table of a server's connections: limits their number and the memory of their texts.
//!
//! When a limit is reached, the most expendable idle connection is closed (`entry`). A connection is idle
//! while it waits for a request, for the rest of one, or for its client to read an answer. A new
//! client is served however many others there are: at most half of the connections have calls that
//! wait for events, and all other calls end by themselves. A console needs no connection.
//!
//! A connection between two requests has no time limit: clients in the field keep one open for days. It
//! costs a thread and a file descriptor, of which [`CONNECTIONS_MAX`] are set aside.
//!
//! Invariants
//! - There are at most [`CONNECTIONS_MAX`] connections with a client. Their texts take at most
//!   [`REQUEST_BYTES_MAX`] and [`ANSWER_BYTES_MAX`] in all; requests of up to [`REQUEST_SHARE`] and answers of up to
//!   [`SHORT_BYTES`] are not counted, so that each connection has room for them, whatever others have.
//! - A connection with a call under way and a client is never closed. One whose client has
//!   disconnected does not count, though its thread goes on until the call ends.
//!
//! Not here: threads, and reading and writing (`connections`).

use crate::RpcError;
use crate::caller::{Caller, WAITING_MAX, Waiting};
use crate::entry::{Activity, Entry, is_connected};
use crate::log_limit::LogLimit;
use crate::parsing::Parsing;
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of connections with a client.
pub(crate) const CONNECTIONS_MAX: usize = 2 * WAITING_MAX;

/// Maximum number of connections, including those whose clients have disconnected.
const THREADS_MAX: usize = 4 * CONNECTIONS_MAX;

/// Maximum memory of unanswered requests, complete or not, of all connections together.
const REQUEST_BYTES_MAX: usize = 32 << 20;

/// Memory of a request that is not counted.
const REQUEST_SHARE: usize = 128 << 10;

/// Maximum memory of answers that are being written, of all connections together. As much again may wait
/// for its turn.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Length up to which an answer is not counted: it is written in one piece, as requests are read.
pub(crate) const SHORT_BYTES: usize = 16 << 10;

/// Limit on log lines about closed connections.
static EVICTIONS: LogLimit = LogLimit::new("closed RPC connections", 4);

/// Number that no connection has.
const NOBODY: u64 = u64::MAX;

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

    /// Length up to which a text takes nothing of the resource.
    const fn free_bytes(self) -> usize {
        match self {
            Self::Connections => 0,
            Self::RequestBytes => REQUEST_SHARE,
            Self::AnswerBytes => SHORT_BYTES,
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

type Entries = BTreeMap<u64, Entry>;

/// Connections of a server, by number.
#[derive(Default)]
pub(crate) struct ConnectionTable {
    entries: Mutex<Entries>,
    changed: Condvar,
    /// Number of calls that wait.
    pub(crate) waiting: Arc<Waiting>,
    /// Turns of parsing long texts.
    pub(crate) parsing: Parsing,
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
            entry.enter(Activity::Receiving);
        }
    }

    /// Records a new activity of a connection.
    pub(crate) fn enter(&self, id: u64, activity: Activity) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.enter(activity);
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Closes an idle connection, and waits up to `timeout` until its file descriptor is free; false if none is
    /// idle.
    pub(crate) fn close_one(&self, timeout: Duration) -> bool {
        let mut entries = self.lock();
        let before = entries.len();
        let is_closed = close_most_expendable(&mut entries, NOBODY, Resource::Connections);
        if is_closed {
            drop(self.changed.wait_timeout_while(entries, timeout, |entries| entries.len() >= before));
        }
        is_closed
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
    /// -16 if other connections leave too little, or too many answers wait already.
    pub(crate) fn hold_answer(&self, id: u64, bytes: usize) -> Result<(), RpcError> {
        self.queue_answer(id, bytes)?;
        let held = self.hold(id, Resource::AnswerBytes, bytes, |entry, bytes| entry.answer_bytes = bytes);
        self.dequeue_answer(id);
        held
    }

    /// Counts an answer among those that wait for room.
    ///
    /// # Errors
    /// -16 if others leave too little.
    fn queue_answer(&self, id: u64, bytes: usize) -> Result<(), RpcError> {
        let mut entries = self.lock();
        let others: usize = entries.values().map(|entry| entry.queued_bytes).sum();
        if others > 0 && others.saturating_add(bytes) > ANSWER_BYTES_MAX {
            return Err(Resource::AnswerBytes.shortage());
        }
        if let Some(entry) = entries.get_mut(&id) {
            entry.queued_bytes = bytes;
        }
        Ok(())
    }

    fn dequeue_answer(&self, id: u64) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.queued_bytes = 0;
        }
    }

    /// Forgets the memory of a connection's answer, which has been sent.
    pub(crate) fn release_answer(&self, id: u64) {
        if let Some(entry) = self.lock().get_mut(&id)
            && std::mem::take(&mut entry.answer_bytes) > 0
        {
            self.changed.notify_all();
        }
    }

    fn hold(
        &self,
        id: u64,
        resource: Resource,
        bytes: usize,
        set: impl Fn(&mut Entry, usize),
    ) -> Result<(), RpcError> {
        let bytes = if bytes > resource.free_bytes() { bytes } else { 0 };
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

    /// Removes a connection that has ended, and closes its file descriptor.
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
            if !is_closing(&entries, id, resource) && close_most_expendable(&mut entries, id, resource) {
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

/// Closes the most expendable of the idle connections; false if none is idle.
fn close_most_expendable(entries: &mut Entries, id: u64, resource: Resource) -> bool {
    let siblings = |entry: &Entry| entries.values().filter(|other| other.peer == entry.peer).count();
    let idle = others(entries, id, resource).filter(|(_, entry)| entry.is_idle());
    let ranked = idle.map(|(other, entry)| (other, entry.rank(siblings(entry))));
    let most = ranked.max_by(|(_, one), (_, other)| one.cmp(other)).map(|(most, _)| most);
    let Some(entry) = most.and_then(|most| entries.get_mut(&most)) else { return false };
    EVICTIONS.line(|| tracing::info!("an RPC connection is closed to make room: {entry}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections: u64) -> ConnectionTable {
        let table = ConnectionTable::default();
        for id in 0..connections {
            let (stream, theirs) = UnixStream::pair().unwrap();
            // Still connected for the table.
            std::mem::forget(theirs);
            table.admit(id, Arc::new(stream)).unwrap();
            table.enter(id, Activity::Calling);
        }
        table
    }

    #[test]
    fn answers_beyond_those_that_may_wait_for_room_are_refused_at_once() {
        let table = table(2);
        table.queue_answer(0, ANSWER_BYTES_MAX).unwrap();
        assert_eq!(table.queue_answer(1, 1).err().unwrap().code.0, -16);
        table.dequeue_answer(0);
        table.queue_answer(1, 1).unwrap();
    }

    #[test]
    fn a_connection_has_room_for_a_request_whatever_others_have() {
        let table = table(2);
        table.hold_request(0, REQUEST_BYTES_MAX).unwrap();
        table.hold_request(1, REQUEST_SHARE).unwrap();
        assert_eq!(table.hold_request(1, REQUEST_SHARE + 1).err().unwrap().code.0, -16);
    }

    #[test]
    fn an_answer_that_was_sent_leaves_its_room_to_others() {
        let table = table(2);
        table.hold_answer(0, ANSWER_BYTES_MAX).unwrap();
        table.release_answer(0);
        table.hold_answer(1, ANSWER_BYTES_MAX).unwrap();
    }

    #[test]
    fn an_idle_connection_is_closed_to_free_its_descriptor_and_a_call_goes_on() {
        let table = table(2);
        table.enter(1, Activity::Reading);
        assert!(table.close_one(Duration::ZERO));
        assert!(!table.close_one(Duration::ZERO));
    }
}
