//! The contract of volumes that are made of other volumes, on one core.

use crate::{Ticks, VolumeId};
use luge_block::{CheckedTransfer, Completion, Completions, Refusal, Request};

/// Volumes that nodes are made of, by their numbers on the core's graph.
pub trait Parts {
    /// Number of requests that a part would take now; zero for a part that is gone.
    fn room(&mut self, part: VolumeId) -> usize;

    /// Submits a request whose blocks count from the start of a part, as of
    /// [`VolumeHandle::submit`](crate::VolumeHandle::submit).
    ///
    /// # Errors
    /// [`Refusal`]; [`Status::Gone`](luge_block::Status::Gone) for a part that is gone.
    fn submit(&mut self, part: VolumeId, request: &Request<'_>) -> Result<(), Refusal>;

    /// The time, the same for all that happens in one part of a turn.
    fn now(&self) -> Ticks;
}

/// A [`Composite`](crate::Composite) as one core sees it: like a [`Channel`](luge_block::Channel), but on top
/// of volumes. Nothing here blocks, locks or allocates.
///
/// A node owns preallocated slots for what it has to remember of a request: its tag, and its memory
/// where that is used after `submit`. Requests to parts have tags of the node's own, of any session and
/// slot. A node that makes one request of each may use those of the request (`Tag::of_session`) and
/// then needs no slots.
pub trait Node: Send {
    /// Number of requests that it would take now. Zero: ask again after a turn.
    fn room(&self, parts: &mut dyn Parts) -> usize;

    /// Takes a request, or says why not.
    ///
    /// # Errors
    /// [`Refusal`]; the request's memory is then not touched.
    fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal>;

    /// Takes checked reads and writes in order, until one is refused; returns how many it took, and why not
    /// the next.
    fn submit_all(
        &mut self,
        transfers: &[CheckedTransfer<'_>],
        parts: &mut dyn Parts,
    ) -> (usize, Option<Refusal>) {
        for (taken, transfer) in transfers.iter().enumerate() {
            if let Err(refusal) = self.submit(transfer, parts) {
                return (taken, Some(refusal));
            }
        }
        (transfers.len(), None)
    }

    /// Takes the completions of requests to its parts, goes on with what has waited for them or for
    /// time to pass, and adds the completions of its own requests, as many as `done` has room for.
    /// Called once a turn.
    fn turn(&mut self, ended: &[Completion], parts: &mut dyn Parts, done: &mut Completions);

    /// Requests taken and not yet handed out as completions.
    fn in_flight(&self) -> usize;

    /// Time of a turn that the node needs although nothing else happens: neither a completion of one of
    /// its parts nor a new request. Past times ask for the next turn, so that the core does not sleep.
    /// Asked before a core sleeps; it turns at the time or soon after, and [`Parts::now`] tells the time.
    ///
    /// A node that does not say gets turns for as long as it has requests.
    fn wake_at(&self) -> Option<Ticks> {
        (self.in_flight() > 0).then_some(Ticks::PAST)
    }
}
