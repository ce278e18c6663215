//! A connection in the table: its activity, its memory, and its rank when another needs the place.

use luge_socket::Peer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::geteuid;
use std::cmp::Reverse;
use std::fmt;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

/// Activity of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    /// Waits for a request.
    Reading,
    /// Waits for the rest of a request.
    Receiving,
    /// Has a call under way, or at hand.
    Calling,
    /// Waits for the client to read an answer.
    Writing,
}

/// A connection in the table.
pub(crate) struct Entry {
    pub(crate) stream: Arc<UnixStream>,
    /// Client's process; unknown if the kernel does not tell.
    pub(crate) peer: Option<Peer>,
    pub(crate) activity: Activity,
    since: Instant,
    has_called: bool,
    pub(crate) request_bytes: usize,
    /// Memory of the answer that is being sent.
    pub(crate) answer_bytes: usize,
    /// Memory of the answer that waits for room.
    pub(crate) queued_bytes: usize,
    pub(crate) is_closed: bool,
}

/// Order in which idle connections are closed, the greatest first: those of other users than root and
/// Luge's own; those of the process that has the most; those without a call so far; those that were idle
/// longest. A process with many connections so loses its own, and not those of others.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rank {
    is_foreign: bool,
    siblings: usize,
    is_mute: bool,
    since: Reverse<Instant>,
}

impl Entry {
    pub(crate) fn new(stream: Arc<UnixStream>) -> Self {
        Self {
            peer: Peer::of(&stream).ok(),
            stream,
            activity: Activity::Reading,
            since: Instant::now(),
            has_called: false,
            request_bytes: 0,
            answer_bytes: 0,
            queued_bytes: 0,
            is_closed: false,
        }
    }

    /// Begins an activity, or goes on with it. A reading connection has been idle since its last answer.
    pub(crate) fn enter(&mut self, activity: Activity) {
        if activity != Activity::Reading && activity != self.activity {
            self.since = Instant::now();
        }
        self.activity = activity;
        self.has_called |= activity == Activity::Calling;
    }

    pub(crate) fn is_idle(&self) -> bool {
        match self.activity {
            Activity::Reading => polled(&self.stream, PollFlags::IN).is_empty(),
            Activity::Calling => false,
            Activity::Receiving => true,
            Activity::Writing => polled(&self.stream, PollFlags::OUT).is_empty(),
        }
    }

    /// Rank of a connection whose process has `siblings` connections, itself included.
    pub(crate) fn rank(&self, siblings: usize) -> Rank {
        Rank {
            is_foreign: self.peer.is_some_and(is_foreign),
            siblings,
            is_mute: !self.has_called,
            since: Reverse(self.since),
        }
    }

    pub(crate) fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.is_closed = true;
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.since.elapsed();
        match self.peer {
            Some(Peer { user, process }) => {
                write!(f, "process {process} of user {user} left it idle for {idle:?}")
            }
            None => write!(f, "it was idle for {idle:?}"),
        }
    }
}

fn is_foreign(peer: Peer) -> bool {
    peer.user != 0 && peer.user != geteuid().as_raw()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const US: u32 = 0;
    const SOMEBODY: u32 = 4_000_000_000;

    fn entry(user: u32) -> Entry {
        let (stream, _) = UnixStream::pair().unwrap();
        Entry { peer: Some(Peer { user, process: 1 }), ..Entry::new(Arc::new(stream)) }
    }

    fn after_a_call(mut entry: Entry) -> Entry {
        entry.enter(Activity::Calling);
        entry.enter(Activity::Reading);
        entry
    }

    #[test]
    fn another_user_is_closed_before_root_whatever_else() {
        let (root, other) = (entry(US), after_a_call(entry(SOMEBODY)));
        assert!(other.rank(1) > root.rank(100));
    }

    #[test]
    fn the_process_with_more_connections_loses_one_even_if_another_never_called() {
        let (busy, mute) = (after_a_call(entry(US)), entry(US));
        assert!(busy.rank(3) > mute.rank(2));
    }

    #[test]
    fn a_client_without_a_call_is_closed_before_one_that_was_idle_longer() {
        let old = after_a_call(entry(US));
        let new = Entry { since: old.since + Duration::from_secs(1), ..entry(US) };
        assert!(new.rank(1) > old.rank(1));
    }

    #[test]
    fn of_equals_the_one_that_was_idle_longest_is_closed() {
        let old = entry(US);
        let new = Entry { since: old.since + Duration::from_secs(1), ..entry(US) };
        assert!(old.rank(1) > new.rank(1));
    }
}
