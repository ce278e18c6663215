//! A volume on one core, as the other cores see it: the ticket that it shows, and what it has agreed to.

use super::signal::Signal;
use crate::VolumeId;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Ticket with the blocks of the source that it locks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lock {
    pub(crate) ticket: u64,
    pub(crate) blocks: Range<u64>,
}

impl Lock {
    pub(crate) fn overlaps(&self, blocks: &Range<u64>) -> bool {
        self.blocks.start < blocks.end && blocks.start < self.blocks.end
    }
}

/// Number of no volume.
const NO_VOLUME: u32 = u32::MAX;

/// Ticket of a member that neither has a lock nor asks for one.
pub(super) const NO_TICKET: u64 = 0;

/// The tickets of one source.
#[derive(Default)]
pub(super) struct Tickets {
    last: AtomicU64,
}

impl Tickets {
    /// Ticket that is higher than all before.
    fn next(&self) -> u64 {
        // Acquire and release: a ticket that was seen was taken before.
        self.last.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// The ticket changed while it was looked at.
pub(super) struct Changing;

/// A volume on one core.
pub struct Member {
    tickets: Arc<Tickets>,
    /// Blocks of the volume on its source.
    blocks: Range<u64>,
    signal: Arc<Signal>,
    /// Number of the volume on its core; [`NO_VOLUME`] until the core has it.
    volume: AtomicU32,
    /// Ticket that is shown.
    ticket: AtomicU64,
    first: AtomicU64,
    end: AtomicU64,
    peers: RwLock<Vec<Peer>>,
}

/// Another member with common blocks. The last ticket agreed to, by each of the two.
pub(super) struct Peer {
    pub(super) member: Arc<Member>,
    /// Ticket of the other one that this member has agreed to.
    given: Arc<AtomicU64>,
    /// Ticket of this member that the other one has agreed to.
    got: Arc<AtomicU64>,
}

/// Makes peers of two members.
pub(super) fn link(a: &Arc<Member>, b: &Arc<Member>) {
    let [given, got]: [Arc<AtomicU64>; 2] = Default::default();
    a.peers_mut().push(Peer { member: b.clone(), given: given.clone(), got: got.clone() });
    b.peers_mut().push(Peer { member: a.clone(), given: got, got: given });
}

impl Peer {
    /// Agrees to a ticket of the peer, or tells that it has seen none. Release: what this member had in flight has ended.
    pub(super) fn agree(&self, ticket: u64) {
        if self.given.load(Ordering::Relaxed) != ticket {
            self.given.store(ticket, Ordering::Release);
            self.member.call();
        }
    }

    /// Whether the peer has agreed to a ticket.
    pub(super) fn has_agreed(&self, ticket: u64) -> bool {
        self.got.load(Ordering::Acquire) == ticket
    }
}

impl Member {
    pub(super) fn new(tickets: Arc<Tickets>, blocks: Range<u64>, signal: Arc<Signal>) -> Self {
        Self {
            tickets,
            blocks,
            signal,
            volume: AtomicU32::new(NO_VOLUME),
            ticket: AtomicU64::new(NO_TICKET),
            first: AtomicU64::new(0),
            end: AtomicU64::new(0),
            peers: RwLock::default(),
        }
    }

    /// Blocks of the volume on its source.
    pub(super) fn blocks(&self) -> &Range<u64> {
        &self.blocks
    }

    /// First block of the volume on its source.
    pub(super) fn first(&self) -> u64 {
        self.blocks.start
    }

    /// Names the volume in the graph of its core.
    pub(super) fn name(&self, volume: VolumeId) {
        self.volume.store(volume.0.into(), Ordering::Release);
    }

    /// Lets the core look at the member, if it has it.
    pub(super) fn call(&self) {
        if let Ok(volume) = u16::try_from(self.volume.load(Ordering::Acquire)) {
            self.signal.mark(VolumeId(volume));
        }
    }

    /// (1) to (2): shows a new ticket for blocks of the source; returns the ticket.
    pub(super) fn show(&self, blocks: &Range<u64>) -> u64 {
        self.first.store(blocks.start, Ordering::Relaxed);
        self.end.store(blocks.end, Ordering::Relaxed);
        let ticket = self.tickets.next();
        // Release: whoever sees the ticket sees its blocks.
        self.ticket.store(ticket, Ordering::Release);
        ticket
    }

    /// (3) to (1): withdraws the ticket. Release: what was done under it is seen by whoever sees that it is gone.
    pub(super) fn withdraw(&self) {
        self.ticket.store(NO_TICKET, Ordering::Release);
        // The blocks of the next ticket are stored after that: see `lock`.
        fence(Ordering::Release);
    }

    /// Lock that the member has or asks for.
    ///
    /// # Errors
    /// [`Changing`]: the member marks its peers afterwards.
    pub(super) fn lock(&self) -> Result<Option<Lock>, Changing> {
        let ticket = self.ticket.load(Ordering::Acquire);
        if ticket == NO_TICKET {
            return Ok(None);
        }
        let blocks = self.first.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        // Blocks of a later ticket are seen only if the ticket is seen to have changed.
        fence(Ordering::Acquire);
        let same = self.ticket.load(Ordering::Relaxed) == ticket;
        if same { Ok(Some(Lock { ticket, blocks })) } else { Err(Changing) }
    }

    /// The peers, if nobody changes them now. Cores do not wait.
    pub(super) fn peers(&self) -> Option<RwLockReadGuard<'_, Vec<Peer>>> {
        self.peers.try_read().ok()
    }

    /// The peers, to be changed by the control plane.
    pub(super) fn peers_mut(&self) -> RwLockWriteGuard<'_, Vec<Peer>> {
        self.peers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a peer. Who waits for it looks again.
    pub(super) fn forget(&self, peer: &Arc<Self>) {
        self.peers_mut().retain(|other| !Arc::ptr_eq(&other.member, peer));
        self.call();
    }
}
