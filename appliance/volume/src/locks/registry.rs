//! The members of a source, as the control plane adds and removes them.

use super::member::{Member, Peer, Signal, Tickets, link};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The locks on the blocks of one source.
#[derive(Default)]
pub(crate) struct Locks {
    tickets: Arc<Tickets>,
    members: Mutex<Vec<Arc<Member>>>,
}

impl Locks {
    /// Adds a member with these blocks of the source, on the core of `signal`.
    pub(crate) fn join(self: &Arc<Self>, blocks: Range<u64>, signal: &Arc<Signal>) -> Membership {
        let member = Arc::new(Member::new(self.tickets.clone(), blocks, signal.clone()));
        let mut members = self.members();
        members.iter().filter(|other| other.overlaps(&member)).for_each(|other| link(other, &member));
        members.push(member.clone());
        Membership { locks: self.clone(), member }
    }

    /// Removes a member, which uses no blocks any more.
    fn leave(&self, member: &Arc<Member>) {
        let mut members = self.members();
        members.retain(|other| !Arc::ptr_eq(other, member));
        let peers = std::mem::take(&mut *member.peers_mut());
        peers.iter().for_each(|Peer { member: other, .. }| other.forget(member));
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A volume's place among those that lock blocks, for as long as a core has the volume. Dropped by the control
/// plane.
pub struct Membership {
    locks: Arc<Locks>,
    member: Arc<Member>,
}

impl Membership {
    /// The member.
    #[must_use]
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.locks.leave(&self.member);
    }
}
