//! The contract of sessions: one ring of one guest, served by one core.

use crate::Kick;
use luge_block::Completion;
use luge_volume::{Graph, Ticks, Work};
use std::any::Any;

/// A session of a core; the `session` of its requests' tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct SessionId(pub u16);

/// Answer of a session to a core that wants to sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    /// Nothing is waiting, and the guest will kick: the core may sleep.
    Quiet,
    /// Something is waiting already: the core must not sleep.
    Waiting,
}

/// Outcome of [`Session::take`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Took {
    /// The ring has nothing.
    Nothing,
    /// There are requests, and no room for them beneath.
    NoRoom,
    /// Requests were taken, or a part of one, with this much work: more than none.
    Work(Work),
}

/// Outcome of [`Session::publish`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// The guest has been shown everything.
    All,
    /// An interrupt has not reached the guest yet: to be called again in the next turn.
    Owing,
}

/// One ring of one guest, served by one core. Nothing here blocks, locks or allocates.
///
/// A session is put on a core once. To change its set-up, its owner takes it off the core, which waits
/// until nothing of it is in flight, and puts a new one there that goes on where it stopped.
pub trait Session: Any + Send {
    /// Puts the session on a core: it takes requests from now on. `id` goes into all their tags.
    fn adopt(&mut self, id: SessionId);

    /// Number of slots: slots in the tags of its requests are below this. For the times at which they begin; those in
    /// other slots have no latencies.
    fn request_slots(&self) -> usize {
        0
    }

    /// Takes requests from the ring, a batch at most, and submits them. Ends after about `allowance` of work;
    /// what is left of a request's chain beyond it is walked another time.
    fn take(&mut self, graph: &mut Graph, allowance: Work) -> Took;

    /// Ends requests of the session.
    fn finish(&mut self, done: &[Completion]);

    /// Shows the guest the requests that have ended, and interrupts it where it asked for that. Called at the end
    /// of a turn in which `take` or `finish` did something, or the session was changed.
    fn publish(&mut self) -> Published;

    /// Asks the guest to kick for what it adds from now on: the core wants to sleep.
    fn arm(&mut self) -> Armed;

    /// Tells the guest that it need not kick: the core is awake.
    fn disarm(&mut self);

    /// Eventfd of the guest's kicks; none for a guest whose ring must be polled.
    fn kick(&self) -> Option<&Kick>;

    /// Whether the core must keep polling: the ring runs and the guest will not kick.
    fn needs_polling(&self) -> bool;

    /// Time at which the session needs a turn although its guest does nothing: a time-out, or a limit.
    /// Past times ask for the next turn. Asked before the core sleeps; at the time or soon after it calls
    /// [`Self::take`], where [`Graph::now`] tells the time, as it does in every other turn.
    fn wake_at(&self) -> Option<Ticks> {
        None
    }

    /// Number of requests that have to end before the session can leave its core: those that were taken and are
    /// not finished, and those that an earlier process had in flight and that are still to be taken.
    fn in_flight(&self) -> usize;

    /// Stops taking new requests from the ring, before the session leaves its core. Nothing undoes it: the ring
    /// goes on in another session. Turns go on until [`Self::in_flight`] is zero; in them the session submits
    /// what it has taken, and takes what an earlier process had in flight.
    fn quiesce(&mut self);
}
