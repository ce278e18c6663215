//! The channels of a core, and which of them are active.
//!
//! ```text
//!  (1) idle   --a volume on it is looked up-->                                  (2) active
//!  (2) active --polled QUIET_POLLS times for nothing, and nothing is in flight--> (1)
//! ```
//!
//! Each turn polls the active channels, and goes on through the others, a place a turn: an SSD that is reset waits for all its queues to be polled.
//! So the cost of a turn grows with the channels in use, not with those that are there.
//!
//! Invariant: a channel that requests were submitted to is active until they have ended.

use crate::buffer::BlockBuffer;
use crate::clock::Clock;
use crate::ids::ChannelId;
use crate::places::Places;
use crate::shares::Shares;
use crate::steps::PoolId;
use crate::{TenantNumber, Ticks};
use luge_block::{Channel, Completions, Refusal, Request};

/// Polls in a row for nothing, after which a channel without requests is idle.
const QUIET_POLLS: u8 = 64;

/// A channel, and what the graph keeps for it.
pub(crate) struct Opened {
    pub(crate) channel: Box<dyn Channel>,
    pub(crate) buffer: BlockBuffer,
    pub(crate) pool: PoolId,
    /// Parts of its room that tenants have; none for a channel whose requests end at once.
    pub(crate) shares: Option<Shares>,
    /// Something was submitted since the last commit.
    pub(crate) pending: bool,
    is_active: bool,
    /// Polls in a row for nothing.
    quiet: u8,
}

impl Opened {
    /// A channel with places for so many tenants.
    pub(crate) fn new(channel: Box<dyn Channel>, pool: PoolId, tenants: usize) -> Self {
        let buffer = BlockBuffer::new(channel.block_buffer());
        let shares = channel.keeps_requests().then(|| Shares::of(tenants));
        Self { channel, buffer, pool, shares, pending: false, is_active: false, quiet: 0 }
    }

    #[inline]
    pub(crate) fn submit(
        &mut self,
        request: &Request<'_>,
        tenant: Option<TenantNumber>,
    ) -> Result<(), Refusal> {
        self.channel.submit(request)?;
        self.took(1, tenant);
        Ok(())
    }

    /// Counts requests of a tenant that the channel has taken.
    #[inline]
    pub(crate) fn took(&mut self, requests: usize, tenant: Option<TenantNumber>) {
        self.pending |= requests > 0;
        if let Some(shares) = &mut self.shares {
            shares.enter(tenant, requests);
        }
    }

    /// Counts requests of a tenant that the channel has completed.
    #[inline]
    pub(crate) fn completed(&mut self, requests: usize, tenant: Option<TenantNumber>) {
        if let Some(shares) = &mut self.shares {
            shares.leave(tenant, requests);
        }
    }

    /// Number of requests of a tenant that the channel would take now.
    #[inline]
    pub(crate) fn room(&mut self, tenant: Option<TenantNumber>, clock: &Clock) -> usize {
        let free = self.channel.room();
        match &mut self.shares {
            Some(shares) => shares.room(free, tenant, Ticks(clock.now())),
            None => free,
        }
    }

    #[inline]
    fn poll(&mut self, done: &mut Completions) {
        let before = done.room();
        self.channel.poll(done);
        self.quiet = if done.room() == before { self.quiet.saturating_add(1) } else { 0 };
    }

    /// Whether the channel is to be idle.
    #[inline]
    fn is_over(&self) -> bool {
        self.quiet >= QUIET_POLLS && !self.pending && self.channel.in_flight() == 0
    }
}

/// The channels of a core.
pub(crate) struct Channels {
    opened: Places<Opened>,
    /// Active channels. Has room for all.
    active: Vec<ChannelId>,
    /// Place in the list of active ones that is polled first.
    first: usize,
    /// Index of the channel that was last polled in rotation.
    rotated: usize,
}

impl Channels {
    pub(crate) fn new() -> Self {
        Self { opened: Places::new(), active: Vec::new(), first: 0, rotated: 0 }
    }

    /// Whether no other one can be added.
    pub(crate) fn are_full(&self) -> bool {
        self.opened.are_full()
    }

    /// Adds a channel, and makes room for it in the list of active ones; none if there is no number left.
    pub(crate) fn add(&mut self, opened: Opened) -> Option<ChannelId> {
        let id = self.opened.add(|_| opened)?;
        self.active.reserve(self.opened.len().saturating_sub(self.active.len()));
        Some(ChannelId(id))
    }

    /// Makes places in all channels for so many tenants.
    pub(crate) fn reach_tenants(&mut self, tenants: usize) {
        let shares = self.opened.iter_mut().flatten().filter_map(|opened| opened.shares.as_mut());
        shares.for_each(|shares| shares.reach(tenants));
    }

    /// Takes a channel out.
    pub(crate) fn remove(&mut self, id: ChannelId) -> Option<Opened> {
        self.active.retain(|&active| active != id);
        self.opened.remove(id.0)
    }

    /// Whether requests are in flight.
    pub(crate) fn have_requests(&self) -> bool {
        let opened = self.active.iter().filter_map(|&id| self.get(id));
        opened.map(|opened| opened.channel.in_flight()).any(|in_flight| in_flight > 0)
    }

    /// A channel, for a look at it.
    pub(crate) fn get(&self, id: ChannelId) -> Option<&Opened> {
        self.opened.get(usize::from(id.0))?.as_ref()
    }

    /// A channel, for a change other than a request.
    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut Opened> {
        self.opened.get_mut(usize::from(id.0))?.as_mut()
    }

    /// A channel, for requests: it is active from now on.
    #[inline]
    pub(crate) fn activate(&mut self, id: ChannelId) -> Option<&mut Opened> {
        let opened = self.opened.get_mut(usize::from(id.0))?.as_mut()?;
        if !opened.is_active {
            (opened.is_active, opened.quiet) = (true, 0);
            self.active.push(id);
        }
        Some(opened)
    }

    /// Commits the channels that have new requests.
    #[inline]
    pub(crate) fn commit(&mut self) {
        for &ChannelId(id) in &self.active {
            let opened = self.opened.get_mut(usize::from(id)).and_then(Option::as_mut);
            if let Some(opened) = opened.filter(|opened| opened.pending) {
                opened.pending = false;
                opened.channel.commit();
            }
        }
    }

    /// Polls the active channels, and goes on through the others by one place. Where there is no room for all completions, the channel after the
    /// last one polled is first the next time, so that none waits for ever.
    #[inline]
    pub(crate) fn poll(&mut self, done: &mut Completions) {
        let mut at = self.first;
        for _ in 0..self.active.len() {
            at = if at < self.active.len() { at } else { 0 };
            at = self.poll_active(at, done);
            if done.room() == 0 {
                self.first = at;
                return;
            }
        }
        if self.active.len() < self.opened.len() {
            self.poll_in_rotation(done);
        }
    }

    /// Polls the active channel at a place of the list; returns the place of the next one.
    #[inline]
    fn poll_active(&mut self, at: usize, done: &mut Completions) -> usize {
        let Some(&ChannelId(id)) = self.active.get(at) else { return at };
        let Some(Some(opened)) = self.opened.get_mut(usize::from(id)) else { return at + 1 };
        opened.poll(done);
        if opened.is_over() {
            opened.is_active = false;
            self.active.swap_remove(at);
            return at;
        }
        at + 1
    }

    #[inline(never)]
    fn poll_in_rotation(&mut self, done: &mut Completions) {
        let next = self.rotated + 1;
        self.rotated = if next < self.opened.len() { next } else { 0 };
        if let Some(Some(opened)) = self.opened.get_mut(self.rotated)
            && !opened.is_active
        {
            opened.poll(done);
        }
    }
}
