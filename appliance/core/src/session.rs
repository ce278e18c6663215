//! What a core serves: one ring of one guest.

use luge_block::Completion;
use luge_volume::Graph;
use std::any::Any;
use std::os::fd::BorrowedFd;

/// A session of a core; the `session` of its requests' tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct SessionId(pub u16);

/// Whether a core may sleep, as far as one session knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    /// The guest will ring the bell; nothing is waiting.
    Quiet,
    /// Something is waiting already: do not sleep.
    Waiting,
}

/// One ring of one guest, served by one core. Nothing here blocks, locks or allocates,
/// except where it says so.
pub trait Session: Any + Send {
    /// The number that goes into the tags of all requests, told once before anything else.
    fn adopt(&mut self, id: SessionId);

    /// Takes requests from the ring, a batch at most, and submits them. Returns how many it
    /// took: zero means that there was nothing to do or no room.
    fn take(&mut self, graph: &mut Graph) -> usize;

    /// Some of the session's requests have ended.
    fn finish(&mut self, done: &[Completion]);

    /// Makes what has ended visible to the guest, and tells it where it asked to be told.
    /// Called after `take` and `finish`, once a turn.
    fn publish(&mut self);

    /// Asks the guest to ring the bell for what it adds from now on. The core may sleep then.
    fn arm(&mut self) -> Armed;

    /// The core is awake: bells are noise.
    fn disarm(&mut self);

    /// The file descriptor the guest rings (an eventfd), where there is one. A core empties it.
    fn bell(&self) -> Option<BorrowedFd<'_>>;

    /// Requests submitted to the graph and not yet finished, and requests taken from the
    /// ring and not yet wholly submitted.
    fn in_flight(&self) -> usize;

    /// Takes nothing more from the ring; what is in flight goes on. A session that is to
    /// leave its core is told so first.
    fn quiesce(&mut self);
}
