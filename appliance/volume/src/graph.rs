//! A core's volumes, from the sessions' side: requests go down, completions come up.

use crate::ended_run::EndedRun;
use crate::handle::VolumeHandle;
use crate::ids::{Base, ChannelId, NodeId, VolumeId};
use crate::latency::SlotTimes;
use crate::layers::{Layers, Newcomer};
use crate::locks::Place;
use crate::{FenceId, ListId, Member, Node, Signal, TenantNumber, Ticks, TooManyFences, Volume, Wake};
use luge_block::{Channel, ChannelSize, Completion, Completions, CoreId, Lba};
use luge_memory::Span;
use luge_reservations::RightsWord;
use std::ops::Range;
use std::sync::Arc;

/// User of a volume on a core.
pub struct VolumeUser {
    /// Place among those that obey each other's locks.
    pub member: Arc<Member>,
    /// Rights while the volume is reserved.
    pub rights: Arc<RightsWord>,
}

/// Origin of completions that are passed up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Channels, which have room for others then.
    Channels,
    /// Nodes, and requests in parts or in steps.
    Above,
}

/// The channels, nodes and volumes of one core, and its turn.
pub struct Graph {
    layers: Layers,
    /// Completions on their way up.
    done: Completions,
}

/// A graph without a core: who has locked blocks is seen in its next turn.
impl Default for Graph {
    fn default() -> Self {
        struct NoCore;
        impl Wake for NoCore {
            fn wake(&self) {}
        }
        Self::new(Arc::new(Signal::new(Box::new(NoCore))))
    }
}

impl Graph {
    /// A graph of the core that `signal` ends the sleep of.
    ///
    /// # Panics
    /// If there is no memory for its buffers.
    #[must_use]
    pub fn new(signal: Arc<Signal>) -> Self {
        Self { layers: Layers::new(signal), done: Completions::default() }
    }

    /// Adds a channel.
    ///
    /// # Errors
    /// The channel itself if there are 65536 already.
    pub fn add_channel(&mut self, channel: Box<dyn Channel>) -> Result<ChannelId, Box<dyn Channel>> {
        self.layers.add_channel(channel)
    }

    /// Takes a channel out, whose volumes are gone and whose requests have completed.
    ///
    /// # Panics
    /// If that is not so.
    pub fn remove_channel(&mut self, id: ChannelId) -> Option<Box<dyn Channel>> {
        self.layers.remove_channel(id)
    }

    /// Gives a channel the present size of its device, and the volumes that are the whole of that device. The rest of
    /// what the channel had comes back in `size`.
    pub fn resize_channel(&mut self, id: ChannelId, size: &mut ChannelSize) {
        self.layers.resize_channel(id, size);
    }

    /// Puts a node on top of volumes, its parts, which no session and no other node uses.
    ///
    /// # Errors
    /// The node itself if there are 65536 already.
    ///
    /// # Panics
    /// If a part is another node's.
    pub fn add_node(&mut self, node: Box<dyn Node>, parts: &[VolumeId]) -> Result<NodeId, Box<dyn Node>> {
        self.layers.add_node(node, parts)
    }

    /// Takes a node out, whose volumes are gone and whose requests have completed. Its parts stay.
    ///
    /// # Panics
    /// If that is not so.
    pub fn remove_node(&mut self, id: NodeId) -> Option<Box<dyn Node>> {
        self.layers.remove_node(id)
    }

    /// Puts a volume on the channel of its device or the node of its composite, for somebody who has no registration
    /// with its reservations; `None` if there are 65536 already.
    pub fn add_volume(&mut self, core: CoreId, volume: &Volume, base: Base) -> Option<VolumeId> {
        let user = Newcomer {
            place: Place::Own(volume.join(&self.layers.signal)),
            rights: volume.reservations().strangers(),
        };
        self.layers.add_volume(core, volume, base, user)
    }

    /// Puts a volume on its base, for a user whom the control plane has let join with the signal of this core; `None` if
    /// there are 65536 already.
    pub fn add_volume_for(
        &mut self,
        core: CoreId,
        volume: &Volume,
        base: Base,
        VolumeUser { member, rights }: VolumeUser,
    ) -> Option<VolumeId> {
        self.layers.add_volume(core, volume, base, Newcomer { place: Place::Given(member), rights })
    }

    /// Takes a volume out, whose requests have completed, and which is no part of a node.
    ///
    /// # Panics
    /// If that is not so: the volume's number may be another's next, which would be told of requests
    /// that are not its own.
    pub fn remove_volume(&mut self, id: VolumeId) {
        self.layers.remove_volume(id);
    }

    /// Fences blocks of a volume: it takes no request until nothing of it is in flight, and then none that
    /// touches the blocks, until the fence is lifted.
    ///
    /// # Errors
    /// [`TooManyFences`].
    pub fn raise_fence(&mut self, id: VolumeId, blocks: Range<Lba>) -> Result<FenceId, TooManyFences> {
        self.layers.raise_fence(id, blocks.start.0..blocks.end.0)
    }

    /// Lets a volume take no request until nothing of it is in flight: see [`Self::drain`].
    pub fn begin_drain(&mut self, id: VolumeId) {
        self.layers.begin_drain(id);
    }

    /// Whether nothing is in flight that began before a volume's fences were raised, or before it was to drain. To be
    /// asked every turn until it is so.
    pub fn drain(&mut self, id: VolumeId) -> bool {
        self.layers.drain(id)
    }

    /// Lifts a fence.
    pub fn lift_fence(&mut self, id: VolumeId, fence: FenceId) {
        self.layers.lift_fence(id, fence);
    }

    /// A list that a volume has reserved: [`crate::SPANS_MAX`] spans. The volume may have gone.
    #[cold]
    pub fn list(&mut self, id: &ListId) -> &mut [Span] {
        self.layers.cutters.list(id)
    }

    /// Returns a list that becomes no request. The volume may have gone.
    #[cold]
    pub fn release_list(&mut self, id: ListId) {
        self.layers.cutters.release_list(id);
    }

    /// Gives a session the times of its slots; what its number had before comes back. The latencies of requests in other
    /// slots are measured only while all requests of their volume began in one turn.
    pub fn open_session(&mut self, session: u16, times: &mut SlotTimes) {
        self.layers.times.open(session, times);
    }

    /// Makes a place in all channels for a tenant, before its first visit.
    pub fn reach_tenant(&mut self, tenant: TenantNumber) {
        self.layers.reach_tenant(tenant);
    }

    /// Begins the visit of a tenant: requests that sessions submit from now on are its own.
    #[inline]
    pub fn begin_visit(&mut self, tenant: TenantNumber) {
        self.layers.visitor = Some(tenant);
        // What a node found full was not asked for by this tenant.
        self.layers.used_up = false;
    }

    /// A volume, looked up once for a batch of requests of the tenant whose visit it is; none that is gone.
    #[inline]
    pub fn volume(&mut self, id: VolumeId) -> Option<VolumeHandle<'_>> {
        let visitor = self.layers.visitor;
        let mut volume = self.layers.volume(id)?;
        volume.set_tenant(visitor);
        Some(volume)
    }

    /// Starts all that was submitted, with one doorbell per channel.
    #[inline]
    pub fn commit(&mut self) {
        if !self.layers.signal.is_quiet() {
            self.layers.look_at_locks();
        }
        if self.layers.cutters.are_busy() && !self.layers.cutters.parts_go_first() {
            self.layers.go_on();
        }
        self.layers.clock.pass();
        self.layers.channels.commit();
    }

    /// Byte of the request's memory in which it differed first from the blocks, of a comparison that has failed: of
    /// one of the last on this core. None where that is not known, as where a device has compared by itself.
    #[must_use]
    pub fn mismatch(&self, session: u16, slot: u16) -> Option<u64> {
        self.layers.mismatches.of(session, slot)
    }

    /// Collects completions from the channels, passes each through the volumes and nodes that its
    /// request came down through, and hands them to `up`: those at once that follow each other on one
    /// way. Returns how many.
    #[inline]
    pub fn poll(&mut self, mut up: impl FnMut(&[Completion])) -> usize {
        self.done.clear();
        self.layers.channels.poll(&mut self.done);
        let mut ended =
            if self.done.as_slice().is_empty() { 0 } else { self.pass_up(Origin::Channels, &mut up) };
        if !self.layers.order.is_empty() {
            ended += self.turn_nodes(&mut up);
        }
        if self.layers.cutters.are_busy() || self.layers.steps.are_busy() {
            ended += self.turn_cutters(&mut up);
        }
        ended
    }

    /// Requests taken and not yet completed, over all volumes: one that became others counts with them.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.layers.in_flight()
    }

    /// The time: the same for all sessions that take in a turn.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Ticks {
        Ticks(self.layers.clock.now())
    }

    /// Sets the time for a turn that begins at `now`.
    #[inline]
    pub fn begin_turn(&mut self, now: Ticks) {
        self.layers.clock.set(now);
    }

    /// Whether a volume had no room since the last call, and has some again in the next turn.
    #[inline]
    pub fn take_used_up(&mut self) -> bool {
        std::mem::take(&mut self.layers.used_up)
    }

    /// Whether the core must poll: a channel has requests, or a request in parts goes on, without an event.
    #[must_use]
    pub fn needs_polling(&self) -> bool {
        self.layers.needs_polling()
    }

    /// The first time at which a node needs a turn although nothing happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Ticks> {
        self.layers.wake_at()
    }

    /// Hands the completions to their volumes, and from there to the parents: to `up`, or to a node's
    /// list. Returns how many went to `up`.
    #[inline]
    fn pass_up(&mut self, origin: Origin, mut up: impl FnMut(&[Completion])) -> usize {
        let Layers { volumes, nodes, channels, clock, cutters, steps, times, .. } = &mut self.layers;
        let (mut rest, mut count) = (self.done.as_slice(), 0);
        while let Some(first) = rest.first() {
            let tag = first.tag();
            let (run, id) = (EndedRun::split_off(&mut rest, tag), tag.volume());
            let volume = volumes.get_mut(usize::from(id)).and_then(Option::as_mut);
            let Some(volume) = volume else { panic!("a request of volume {id} ends, which is not there") };
            if origin == Origin::Channels
                && let Some(opened) = volume.base.opened(channels)
            {
                opened.completed(run.ended.len(), volume.tenant);
            }
            if tag.is_of_level(volume.level) {
                if tag.is_step() {
                    steps.end_parts(run.ended);
                } else if cutters.end_parts(volume.level, run.ended) {
                    volume.base.free_buffer(channels);
                }
                continue;
            }
            volume.end(&run, clock.now(), times);
            match volume.parent {
                None => {
                    count += run.ended.len();
                    up(run.ended);
                }
                Some(node) => {
                    volume.count_failures(run.ended);
                    node.of(nodes).hand(run.ended);
                }
            }
        }
        count
    }

    /// Gives each node its turn, those beneath before those above; returns how many completions went
    /// to `up`.
    #[cold]
    fn turn_nodes(&mut self, up: &mut dyn FnMut(&[Completion])) -> usize {
        let mut count = 0;
        for index in 0..self.layers.order.len() {
            let Some(&id) = self.layers.order.get(index) else { break };
            self.done.clear();
            self.layers.turn_node(id, &mut self.done);
            count += self.pass_up(Origin::Above, &mut *up);
        }
        // What nodes have submitted need not wait for the next turn.
        self.layers.channels.commit();
        count
    }

    /// Lets requests in steps go on, and those in parts if it is their turn; hands out the completions of those that
    /// are over, and returns how many went to `up`.
    #[cold]
    fn turn_cutters(&mut self, up: &mut dyn FnMut(&[Completion])) -> usize {
        if self.layers.cutters.parts_go_first() {
            self.layers.go_on();
        }
        self.layers.go_on_steps();
        self.layers.channels.commit();
        self.layers.cutters.begin_turn();
        let mut count = 0;
        loop {
            self.done.clear();
            while self.done.room() > 0
                && let Some(end) = self.layers.cutters.next_over().or_else(|| self.layers.next_step_over())
            {
                // There is room.
                let _ = self.done.push(end.tag(), end.status());
            }
            if self.done.as_slice().is_empty() {
                return count;
            }
            count += self.pass_up(Origin::Above, &mut *up);
        }
    }
}
