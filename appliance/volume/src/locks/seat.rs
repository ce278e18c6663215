//! A member, as its own core sees it: whose locks it obeys, and whose request has the next ticket.

use super::member::{Changing, Lock, Member, NO_TICKET, Peer};
use super::registry::Membership;
use crate::VolumeId;
use crate::hold::Hold;
use crate::shelf::SlotId;
use heapless::Deque;
use luge_block::STEP_MEMORY_BYTES;
use std::ops::Range;
use std::sync::Arc;

/// The most requests of a member that wait for a lock: as many as it has slots.
const WAITING_MAX: usize = (STEP_MEMORY_BYTES >> 16) as usize;

/// A request that wants blocks of the source.
struct Wish {
    id: SlotId,
    blocks: Range<u64>,
}

/// State of the member's own lock: (2) or (3).
struct Own {
    id: SlotId,
    lock: Lock,
    is_locked: bool,
}

/// A member on its core.
pub(crate) struct Seat {
    member: Arc<Member>,
    /// Kept by a graph that has joined by itself.
    _membership: Option<Membership>,
    own: Option<Own>,
    /// Requests that want the next tickets.
    wishes: Deque<Wish, WAITING_MAX>,
    /// Whether the peers are to look: the ticket has changed.
    changed: bool,
    /// Whether a ticket was withdrawn since the last look.
    rests: bool,
    /// Whether something is to be looked at again in the next turn.
    restless: bool,
}

impl Seat {
    pub(crate) fn new(member: Arc<Member>, membership: Option<Membership>, volume: VolumeId) -> Self {
        member.name(volume);
        Self {
            member,
            _membership: membership,
            own: None,
            wishes: Deque::new(),
            changed: false,
            rests: false,
            restless: true,
        }
    }

    /// Whether the member is to be looked at in the next turn although nobody marks it.
    pub(crate) fn is_restless(&self) -> bool {
        self.restless
    }

    /// Lets a request have the next ticket, for blocks that count from the start of the volume.
    ///
    /// # Panics
    /// If more requests wait than there are slots for.
    pub(crate) fn ask(&mut self, id: SlotId, blocks: Range<u64>) {
        let first = self.member.first();
        let wish = Wish { id, blocks: first + blocks.start..first + blocks.end };
        let asked = self.wishes.push_back(wish);
        assert!(asked.is_ok(), "more requests wait for locks than there are slots");
        self.member.call();
    }

    /// (3) to (1): the request that has locked blocks is over.
    ///
    /// # Panics
    /// If it has locked none.
    pub(crate) fn unlock(&mut self, id: SlotId) {
        let own = self.own.take().filter(|own| own.id == id && own.is_locked);
        assert!(own.is_some(), "a request unlocks blocks that it has not locked");
        self.member.withdraw();
        (self.changed, self.rests) = (true, true);
        self.member.call();
    }

    /// Obeys the locks of the peers, agrees to them where it may, and goes on with its own. Returns the request
    /// whose blocks are locked now, if there is one. `in_flight` is the number of requests that locks may have to
    /// wait for.
    pub(crate) fn look(&mut self, hold: &mut Hold, in_flight: impl FnOnce(&Hold) -> usize) -> Option<SlotId> {
        self.restless = true;
        let member = self.member.clone();
        let peers = member.peers()?;
        self.show_next(&peers);
        if std::mem::take(&mut self.changed) {
            peers.iter().for_each(|peer| peer.member.call());
        }
        let all_held = self.obey(hold, &peers);
        if hold.is_draining_locks() && in_flight(hold) == self.waiting() {
            hold.locks_drained();
        }
        let all_answered = self.answer(hold, &peers);
        let locked = self.lock_if_agreed(hold, &peers);
        self.restless = !all_held || !all_answered || hold.is_draining_locks() || self.is_asking();
        locked
    }

    /// Holds requests to all blocks that are locked or asked for, and to no others. Returns whether no lock was
    /// changing.
    fn obey(&self, hold: &mut Hold, peers: &[Peer]) -> bool {
        let mut all = true;
        hold.begin_locks();
        self.own.iter().for_each(|own| self.hold_back(hold, &own.lock));
        for peer in peers {
            match peer.member.lock() {
                Ok(lock) => lock.iter().for_each(|lock| self.hold_back(hold, lock)),
                Err(Changing) => all = false,
            }
        }
        hold.end_locks();
        all
    }

    /// Agrees to the locks of peers, as far as it may. Returns whether no lock was changing.
    fn answer(&self, hold: &Hold, peers: &[Peer]) -> bool {
        let mut all = true;
        for peer in peers {
            match peer.member.lock() {
                Ok(Some(lock)) if self.may_agree(hold, &lock) => peer.agree(lock.ticket),
                Ok(Some(_)) => {}
                Ok(None) => peer.agree(NO_TICKET),
                Err(Changing) => all = false,
            }
        }
        all
    }

    /// (2) to (3), if nothing is in flight and all peers agree; returns the request.
    fn lock_if_agreed(&mut self, hold: &Hold, peers: &[Peer]) -> Option<SlotId> {
        let own = self.own.as_mut().filter(|own| !own.is_locked)?;
        let ticket = own.lock.ticket;
        own.is_locked = hold.has_drained(ticket) && peers.iter().all(|peer| peer.has_agreed(ticket));
        own.is_locked.then_some(own.id)
    }

    /// (1) to (2): takes a ticket for the next request that wants one. Not before each core has seen that the last
    /// one was withdrawn, and has had a turn in which it takes what it held.
    fn show_next(&mut self, peers: &[Peer]) {
        let rests = std::mem::take(&mut self.rests);
        if self.own.is_none()
            && !rests
            && peers.iter().all(|peer| peer.has_agreed(NO_TICKET))
            && let Some(Wish { id, blocks }) = self.wishes.pop_front()
        {
            let ticket = self.member.show(&blocks);
            self.own = Some(Own { id, lock: Lock { ticket, blocks }, is_locked: false });
            self.changed = true;
        }
    }

    /// Holds new requests to the blocks of a lock that are the volume's.
    fn hold_back(&self, hold: &mut Hold, lock: &Lock) {
        let first = self.member.first();
        let blocks = lock.blocks.start.saturating_sub(first)..lock.blocks.end.saturating_sub(first);
        hold.keep_lock(lock.ticket, blocks);
    }

    /// Whether nothing is in flight that a lock of a peer must wait for, and it is not this member's turn before.
    fn may_agree(&self, hold: &Hold, lock: &Lock) -> bool {
        let first = |own: &Own| own.lock.ticket < lock.ticket && own.lock.overlaps(&lock.blocks);
        hold.has_drained(lock.ticket) && !self.own.as_ref().is_some_and(first)
    }

    fn is_asking(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.is_locked) || (self.own.is_none() && !self.wishes.is_empty())
    }

    /// Number of requests that the volume has taken and that wait for a lock.
    fn waiting(&self) -> usize {
        self.wishes.len() + usize::from(self.own.as_ref().is_some_and(|own| !own.is_locked))
    }
}

/// Way in which a volume of a graph has become a member.
pub(crate) enum Place {
    /// The control plane has joined, and leaves.
    Given(Arc<Member>),
    /// The graph has joined by itself.
    Own(Membership),
}

impl Place {
    /// The seat of a volume.
    pub(crate) fn seat(self, volume: VolumeId) -> Seat {
        match self {
            Self::Given(member) => Seat::new(member, None, volume),
            Self::Own(membership) => Seat::new(membership.member().clone(), Some(membership), volume),
        }
    }
}
