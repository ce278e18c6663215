//! What a core serves: one ring of one guest.

use crate::Kick;
use luge_block::Completion;
use luge_volume::{Graph, Ticks};
use std::any::Any;

/// A session of a core; the `session` of its requests' tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct SessionId(pub u16);

/// Whether a core may sleep, as far as one session knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Armed {
    /// The guest will kick; nothing is waiting.
    Quiet,
    /// Something is waiting already: do not sleep.
    Waiting,
}

/// One ring of one guest, served by one core. Nothing here blocks, locks or allocates.
///
/// To change a session's set-up, its owner takes it off the core (which waits until
/// nothing is in flight), changes it, and puts it back.
pub trait Session: Any + Send {
    /// It is on a core now, and takes requests from here on. `id` goes into all their tags.
    fn adopt(&mut self, id: SessionId);

    /// Takes requests from the ring, a batch at most, and submits them. Returns how many it
    /// took: zero means that there was nothing to do, or no room.
    fn take(&mut self, graph: &mut Graph) -> usize;

    /// Some of the session's requests have ended.
    fn finish(&mut self, done: &[Completion]);

    /// Makes what has ended visible to the guest, and tells it where it asked to be told. Called once
    /// a turn, after `take` and `finish`.
    fn publish(&mut self);

    /// Asks the guest to kick for what it adds from now on: the core wants to sleep.
    fn arm(&mut self) -> Armed;

    /// The core is awake: kicks are noise.
    fn disarm(&mut self);

    /// What the guest kicks, where it does; none for a guest whose ring must be polled.
    fn kick(&self) -> Option<&Kick>;

    /// Whether the core must keep polling: the ring runs and the guest will not kick.
    fn needs_polling(&self) -> bool;

    /// Time at which the session needs a turn although its guest does nothing: a time-out, or a limit.
    /// Past times ask for the next turn. Asked before the core sleeps; at the time or soon after it calls
    /// [`Self::take`], where [`Graph::now`] tells the time, as it does in every other turn.
    fn wake_at(&self) -> Option<Ticks> {
        None
    }

    /// Requests taken from the ring and not yet finished.
    fn in_flight(&self) -> usize;

    /// Takes nothing more from the ring; what is in flight goes on, also what was taken and
    /// not yet submitted. A session that is to leave its core is told so first.
    fn quiesce(&mut self);
}
