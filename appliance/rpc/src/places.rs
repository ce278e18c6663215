//! The places of a server's connections, and the memory that their texts take.
//!
//! Where one of these is short, the connection that has been idle longest is closed: idle is one
//! that waits for its client's next request, for the rest of one, or for its client to read an
//! answer. An operator gets in however many clients there are: at most half of the places are
//! taken by calls that wait for something to happen, and other calls end. A console needs no place.
//!
//! Invariants
//! - There are at most [`PLACES`] connections, and texts of [`REQUEST_BYTES`] and [`ANSWER_BYTES`]
//!   in all; short ones, up to [`SHORT_BYTES`], are not counted.
//! - A connection with a call under way whose client is there is never closed. One whose client
//!   left has no place any more, though its call may take until it notices.
//!
//! Not here: threads, and what is said on a connection (`connections`).

use crate::RpcError;
use crate::caller::{Caller, WAITING_MAX, Waiting};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections at one time whose clients are there.
pub(crate) const PLACES: usize = 2 * WAITING_MAX;

/// Connections at one time, with those whose clients left.
const THREADS_MAX: usize = 8 * PLACES;

/// Bytes of requests that have begun and are not answered, of all connections.
const REQUEST_BYTES: usize = 64 << 20;

/// Bytes of answers that are being written, of all connections.
const ANSWER_BYTES: usize = 64 << 20;

/// Bytes of a text that is not counted: one that is read or written in a piece.
pub(crate) const SHORT_BYTES: usize = 16 << 10;

/// Time limit of a wait for room: calls end soon.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// Resources that connections share, and may run out of.
#[derive(Clone, Copy)]
enum Resource {
    Places,
    RequestBytes,
    AnswerBytes,
}

impl Resource {
    const fn limit(self) -> usize {
        match self {
            Self::Places => PLACES,
            Self::RequestBytes => REQUEST_BYTES,
            Self::AnswerBytes => ANSWER_BYTES,
        }
    }

    fn of(self, place: &Place) -> usize {
        match self {
            Self::Places => usize::from(is_connected(&place.stream)),
            Self::RequestBytes => place.request_bytes,
            Self::AnswerBytes => place.answer_bytes,
        }
    }

    fn shortage(self) -> RpcError {
        RpcError::busy(match self {
            Self::Places => format!("all {PLACES} RPC connections have calls under way: try again later"),
            Self::RequestBytes => format!(
                "requests of {} MiB are under way already: try again later, or send smaller ones",
                REQUEST_BYTES >> 20
            ),
            Self::AnswerBytes => format!(
                "answers of {} MiB are being sent already: try again later, or ask for less",
                ANSWER_BYTES >> 20
            ),
        })
    }
}

/// State of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    /// Waits for a request.
    Reading,
    /// Waits for the rest of a request.
    Receiving,
    /// Has a call under way.
    Calling,
    /// Waits for its client to read an answer.
    Writing,
}

struct Place {
    stream: Arc<UnixStream>,
    doing: Doing,
    since: Instant,
    request_bytes: usize,
    answer_bytes: usize,
    is_closed: bool,
}

impl Place {
    fn is_idle(&self) -> bool {
        match self.doing {
            Doing::Reading => polled(&self.stream, PollFlags::IN).is_empty(),
            Doing::Calling => false,
            Doing::Receiving | Doing::Writing => true,
        }
    }

    fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.is_closed = true;
    }
}

/// Whether the client of a connection is there. One that only ended its own side is.
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

type Table = BTreeMap<u64, Place>;

/// The places of a server's connections.
#[derive(Default)]
pub(crate) struct Places {
    table: Mutex<Table>,
    changed: Condvar,
    /// Calls that wait.
    pub(crate) waiting: Arc<Waiting>,
    /// Held while a long text is parsed: its tree takes many times its bytes.
    pub(crate) parsing: Mutex<()>,
}

impl Places {
    /// Gives a new connection a place.
    ///
    /// # Errors
    /// -16 if all have calls under way.
    pub(crate) fn admit(&self, id: u64, stream: Arc<UnixStream>) -> Result<(), RpcError> {
        let mut table = self.make_room(id, Resource::Places, 1)?;
        if table.len() >= THREADS_MAX {
            return Err(Resource::Places.shortage());
        }
        let place = Place {
            stream,
            doing: Doing::Reading,
            since: Instant::now(),
            request_bytes: 0,
            answer_bytes: 0,
            is_closed: false,
        };
        table.insert(id, place);
        Ok(())
    }

    /// Notes that a connection has received a part of a request.
    pub(crate) fn receive(&self, id: u64) {
        if let Some(place) = self.lock().get_mut(&id).filter(|place| place.doing == Doing::Reading) {
            (place.doing, place.since) = (Doing::Receiving, Instant::now());
        }
    }

    /// Notes what a connection does from now on. One that reads has been idle since its last answer.
    pub(crate) fn enter(&self, id: u64, doing: Doing) {
        if let Some(place) = self.lock().get_mut(&id) {
            place.doing = doing;
            if doing != Doing::Reading {
                place.since = Instant::now();
            }
        }
    }

    /// Notes how many bytes of requests a connection holds from now on.
    ///
    /// # Errors
    /// -16 if others with calls under way hold too many.
    pub(crate) fn hold_request(&self, id: u64, bytes: usize) -> Result<(), RpcError> {
        self.hold(id, Resource::RequestBytes, bytes, |place, bytes| place.request_bytes = bytes)
    }

    /// Notes how many bytes of an answer a connection holds from now on.
    ///
    /// # Errors
    /// -16 if others hold too many.
    pub(crate) fn hold_answer(&self, id: u64, bytes: usize) -> Result<(), RpcError> {
        self.hold(id, Resource::AnswerBytes, bytes, |place, bytes| place.answer_bytes = bytes)
    }

    fn hold(
        &self,
        id: u64,
        resource: Resource,
        bytes: usize,
        set: impl Fn(&mut Place, usize),
    ) -> Result<(), RpcError> {
        let bytes = if bytes > SHORT_BYTES { bytes } else { 0 };
        let mut table = match bytes {
            0 => self.lock(),
            _ => self.make_room(id, resource, bytes)?,
        };
        if let Some(place) = table.get_mut(&id) {
            let had = resource.of(place);
            set(place, bytes);
            if had > bytes {
                self.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Frees the place of a connection that has ended.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().remove(&id);
        self.changed.notify_all();
    }

    /// Ends all connections: no more requests are read, and answers have until `timeout`.
    pub(crate) fn end(&self, timeout: Duration) {
        let mut table = self.lock();
        for place in table.values() {
            let _ = place.stream.shutdown(Shutdown::Read);
        }
        let waited = self.changed.wait_timeout_while(table, timeout, |table| !table.is_empty());
        (table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        table.values_mut().for_each(Place::close);
    }

    /// Waits until there is room for `wanted` beside what connections other than `id` have.
    fn make_room(
        &self,
        id: u64,
        resource: Resource,
        wanted: usize,
    ) -> Result<MutexGuard<'_, Table>, RpcError> {
        let mut table = self.lock();
        let begin = Instant::now();
        while !fits(&table, id, resource, wanted) {
            if !is_coming(&table, id, resource) && close_longest_idle(&mut table, id, resource) {
                continue;
            }
            let left = ROOM_TIMEOUT.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(resource.shortage());
            }
            let waited = self.changed.wait_timeout(table, left.min(Caller::LOOK));
            (table, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(table)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is room for `wanted`; always, where nobody else has any.
fn fits(table: &Table, id: u64, resource: Resource, wanted: usize) -> bool {
    let others: usize = others(table, id, resource).map(|(_, place)| resource.of(place)).sum();
    others == 0 || others.saturating_add(wanted) <= resource.limit()
}

/// Whether a connection that holds some of it was closed and has not ended yet.
fn is_coming(table: &Table, id: u64, resource: Resource) -> bool {
    others(table, id, resource).any(|(_, place)| place.is_closed)
}

/// Closes the connection that has been idle longest; false if none is idle.
fn close_longest_idle(table: &mut Table, id: u64, resource: Resource) -> bool {
    let idle = others(table, id, resource).filter(|(_, place)| place.is_idle());
    let longest = idle.min_by_key(|(_, place)| place.since).map(|(longest, _)| longest);
    let Some(place) = longest.and_then(|longest| table.get_mut(&longest)) else { return false };
    tracing::info!("an RPC connection is closed to make room: it was idle for {:?}", place.since.elapsed());
    place.close();
    true
}

/// The other connections that hold some of a resource.
fn others(table: &Table, id: u64, resource: Resource) -> impl Iterator<Item = (u64, &Place)> {
    let holds = move |place: &Place| resource.of(place) > 0;
    table
        .iter()
        .map(|(other, place)| (*other, place))
        .filter(move |(other, place)| *other != id && holds(place))
}
