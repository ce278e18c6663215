//! The channels, nodes and volumes of one core, named by index.
//!
//! ```text
//!   session        session         a volume has one parent: sessions, or one node
//!      |              |
//!   volume         volume          an extent of its base
//!      |              |
//!      |            node           of several volumes, its parts
//!      |           /    \
//!      |      volume  volume
//!       \      /         \
//!       channel         channel    of a device; volumes share it
//! ```

use crate::channels::{Channels, Opened};
use crate::clock::Clock;
use crate::cutter::Cutters;
use crate::extent::{Extent, Mounted};
use crate::hold::{FenceId, Hold, TooManyFences};
use crate::ids::{Base, ChannelId, NodeId, VolumeId};
use crate::latency::{SessionTimes, Stopwatch};
use crate::limits::Limits;
use crate::locks::{Place, Signal};
use crate::mismatch::Mismatches;
use crate::places::Places;
use crate::steps::{PoolId, Steps};
use crate::{Node, TenantNumber, Ticks, Volume};
use luge_block::{Channel, ChannelSize, Completion, Completions, CoreId, Lba, Tag};
use luge_reservations::RightsWord;
use std::ops::Range;
use std::sync::Arc;

impl Base {
    /// The channel; none for a node.
    #[inline]
    pub(crate) fn opened(self, channels: &mut Channels) -> Option<&mut Opened> {
        let Self::Channel(id) = self else { return None };
        channels.get_mut(id)
    }

    /// Takes the block buffer of a channel back.
    #[cold]
    pub(crate) fn free_buffer(self, channels: &mut Channels) {
        self.opened(channels).into_iter().for_each(|opened| opened.buffer.give_back());
    }
}

/// User of a volume that is about to be added.
pub(crate) struct Newcomer {
    pub(crate) place: Place,
    pub(crate) rights: Arc<RightsWord>,
}

/// A node, and what the graph keeps for it.
pub(crate) struct Joint {
    /// The node; none while it is called.
    node: Option<Box<dyn Node>>,
    parts: Vec<VolumeId>,
    /// One more than the highest of its parts' nodes.
    level: u16,
    /// Completions of its parts that it has not seen yet. Does not grow.
    ended: Vec<Completion>,
}

impl Joint {
    /// Adds completions for the node's next turn.
    ///
    /// # Panics
    /// If there is no room: what one turn brings always fits.
    pub(crate) fn hand(&mut self, run: &[Completion]) {
        let room = self.ended.capacity() - self.ended.len();
        assert!(run.len() <= room, "more completions for a node than a turn can bring");
        self.ended.extend_from_slice(run);
    }
}

impl NodeId {
    /// The node's place in a list.
    ///
    /// # Panics
    /// If it is not there.
    pub(crate) fn of(self, nodes: &mut [Option<Joint>]) -> &mut Joint {
        let joint = nodes.get_mut(usize::from(self.0)).and_then(Option::as_mut);
        joint.expect("the parent of a volume is there")
    }
}

/// The channels, nodes and volumes of one core.
pub(crate) struct Layers {
    pub(crate) channels: Channels,
    pub(crate) nodes: Places<Joint>,
    pub(crate) volumes: Places<Mounted>,
    /// All nodes, each after those that are beneath it.
    pub(crate) order: Vec<NodeId>,
    pub(crate) clock: Clock,
    /// Whether a volume had no room, and has some again in the next turn.
    pub(crate) used_up: bool,
    pub(crate) cutters: Cutters,
    pub(crate) steps: Steps,
    pub(crate) mismatches: Mismatches,
    pub(crate) times: SessionTimes,
    pub(crate) signal: Arc<Signal>,
    /// Tenant whose sessions take requests now.
    pub(crate) visitor: Option<TenantNumber>,
    /// Number of tenants that channels have places for.
    tenants: usize,
    /// The number of the fence that was raised last.
    last_fence: u32,
}

impl Layers {
    /// Layers without anything in them, of the core of `signal`.
    pub(crate) fn new(signal: Arc<Signal>) -> Self {
        Self {
            channels: Channels::new(),
            nodes: Places::new(),
            volumes: Places::new(),
            order: Vec::new(),
            clock: Clock::default(),
            used_up: false,
            cutters: Cutters::default(),
            steps: Steps::default(),
            mismatches: Mismatches::default(),
            times: SessionTimes::default(),
            signal,
            visitor: None,
            tenants: 0,
            last_fence: 0,
        }
    }

    pub(crate) fn add_channel(&mut self, channel: Box<dyn Channel>) -> Result<ChannelId, Box<dyn Channel>> {
        if self.channels.are_full() {
            return Err(channel);
        }
        let pool = self.steps.add_pool(channel.step_memory());
        let id = self.channels.add(Opened::new(channel, pool, self.tenants));
        Ok(id.expect("a number is free"))
    }

    /// Makes places in all channels for tenants up to this one.
    pub(crate) fn reach_tenant(&mut self, tenant: TenantNumber) {
        self.tenants = self.tenants.max(tenant.index() + 1);
        self.channels.reach_tenants(self.tenants);
    }

    pub(crate) fn remove_channel(&mut self, id: ChannelId) -> Option<Box<dyn Channel>> {
        self.assert_unused(Base::Channel(id));
        let opened = self.channels.remove(id)?;
        let in_flight = opened.channel.in_flight();
        assert!(in_flight == 0, "{id:?} goes, with {in_flight} requests in flight");
        self.steps.remove_pool(opened.pool);
        Some(opened.channel)
    }

    /// Gives a channel the present size of its device, and then the volumes on it.
    pub(crate) fn resize_channel(&mut self, id: ChannelId, size: &mut ChannelSize) {
        let Some(opened) = self.channels.get_mut(id) else { return };
        opened.channel.resize(size);
        let base = Base::Channel(id);
        let volumes = self.volumes.iter_mut().flatten().filter(|volume| volume.base == base);
        volumes.for_each(|volume| volume.resize(size.blocks));
    }

    pub(crate) fn add_node(
        &mut self,
        node: Box<dyn Node>,
        parts: &[VolumeId],
    ) -> Result<NodeId, Box<dyn Node>> {
        let levels: Vec<u16> = parts.iter().map(|&part| self.level(part)).collect();
        let level = 1 + levels.iter().max().copied().unwrap_or(0);
        if level >= Tag::LEVELS_MAX || self.nodes.are_full() {
            return Err(node);
        }
        self.cutters.reach(level);
        // A turn brings so many from all channels together, from each node, and from requests in parts.
        let turns = 2 + levels.iter().filter(|&&level| level > 0).count();
        let ended = Vec::with_capacity(turns * Completions::CAPACITY);
        let id = self.nodes.add(|_| Joint { node: Some(node), parts: parts.into(), level, ended });
        let id = NodeId(id.expect("a number is free"));
        self.set_parent(parts, Some(id));
        self.sort_nodes();
        Ok(id)
    }

    pub(crate) fn remove_node(&mut self, id: NodeId) -> Option<Box<dyn Node>> {
        self.assert_unused(Base::Node(id));
        let joint = self.nodes.remove(id.0)?;
        let in_flight = joint.node.as_ref().map_or(0, |node| node.in_flight());
        assert!(in_flight == 0, "{id:?} goes, with {in_flight} requests in flight");
        self.set_parent(&joint.parts, None);
        self.sort_nodes();
        joint.node
    }

    pub(crate) fn add_volume(
        &mut self,
        core: CoreId,
        volume: &Volume,
        base: Base,
        newcomer: Newcomer,
    ) -> Option<VolumeId> {
        let geometry = volume.geometry();
        let level = self.level_of(base);
        let limits = self.limits(base, Limits::new(&geometry, &volume.source().geometry()));
        let pool = self.pool(base);
        let first = Lba(volume.source().window().0 + volume.first().0);
        let transfers = volume.transfers();
        let (is_whole, stats) = (volume.is_whole(), volume.stats(core));
        let id = self.volumes.add(|id| {
            let (way, blocks, read_only) = (Tag::of_volume(id), geometry.blocks, geometry.read_only);
            Mounted {
                extent: Extent { way, first, blocks, read_only },
                transfers,
                limits,
                is_whole,
                base,
                level,
                parent: None,
                in_flight: 0,
                tenant: None,
                hold: Hold::on_all(),
                pool,
                seat: newcomer.place.seat(VolumeId(id)),
                rights: newcomer.rights,
                stats,
                stopwatch: Stopwatch::default(),
            }
        })?;
        self.look_at_locks_of(VolumeId(id));
        Some(VolumeId(id))
    }

    pub(crate) fn remove_volume(&mut self, id: VolumeId) {
        let Some(volume) = self.volumes.remove(id.0) else { return };
        let Mounted { in_flight, parent, base, tenant, .. } = volume;
        assert!(in_flight == 0, "{id:?} goes, with {in_flight} requests in flight");
        assert!(parent.is_none(), "{id:?} goes, which is a part of {parent:?}");
        let shares = base.opened(&mut self.channels).and_then(|opened| opened.shares.as_mut());
        shares.into_iter().for_each(|shares| shares.remove_volume(tenant));
    }

    pub(crate) fn raise_fence(&mut self, id: VolumeId, blocks: Range<u64>) -> Result<FenceId, TooManyFences> {
        self.last_fence = self.last_fence.wrapping_add(1);
        let fence = FenceId(self.last_fence);
        let volume = self.mounted(id);
        volume.map_or(Ok(()), |volume| volume.hold.raise(fence, blocks))?;
        Ok(fence)
    }

    pub(crate) fn begin_drain(&mut self, id: VolumeId) {
        self.mounted(id).into_iter().for_each(|volume| volume.hold.drain());
    }

    pub(crate) fn drain(&mut self, id: VolumeId) -> bool {
        let Some(volume) = self.mounted(id) else { return true };
        if volume.in_flight == 0 {
            volume.hold.drained();
        }
        !volume.hold.is_draining_fences()
    }

    pub(crate) fn lift_fence(&mut self, id: VolumeId, fence: FenceId) {
        self.mounted(id).into_iter().for_each(|volume| volume.hold.lift(fence));
    }

    /// The volume of a handle.
    ///
    /// # Panics
    /// If it is not there: a handle keeps it from going.
    pub(crate) fn mounted_here(&mut self, id: VolumeId) -> &mut Mounted {
        self.mounted(id).expect("the volume of a handle is there")
    }

    /// The volume of a handle, and the times of the sessions' requests.
    ///
    /// # Panics
    /// If the volume is not there.
    pub(crate) fn timed(&mut self, id: VolumeId) -> (&mut Mounted, &mut SessionTimes) {
        let volume = self.volumes.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        (volume.expect("the volume of a handle is there"), &mut self.times)
    }

    pub(crate) fn mounted(&mut self, id: VolumeId) -> Option<&mut Mounted> {
        self.volumes.get_mut(usize::from(id.0))?.as_mut()
    }

    /// Lets a node work on what is beneath it.
    ///
    /// # Panics
    /// If there is no such node, or if it is at work already, which means that it is beneath itself.
    pub(crate) fn with_node<R>(&mut self, id: NodeId, work: impl FnOnce(&mut dyn Node, &mut Self) -> R) -> R {
        let node = self.joint(id).and_then(|joint| joint.node.take());
        let mut node = node.expect("a node that is there, and not beneath itself");
        let result = work(&mut *node, self);
        if let Some(joint) = self.joint(id) {
            joint.node = Some(node);
        }
        result
    }

    /// Gives a node its turn, with the completions of its parts; its own are added to `done`.
    pub(crate) fn turn_node(&mut self, id: NodeId, done: &mut Completions) {
        let Some(joint) = self.joint(id) else { return };
        let mut ended = std::mem::take(&mut joint.ended);
        self.with_node(id, |node, layers| node.turn(&ended, layers, done));
        ended.clear();
        if let Some(joint) = self.joint(id) {
            joint.ended = ended;
        }
    }

    pub(crate) fn joint(&mut self, id: NodeId) -> Option<&mut Joint> {
        self.nodes.get_mut(usize::from(id.0))?.as_mut()
    }

    /// Whether something goes on without an event.
    pub(crate) fn needs_polling(&self) -> bool {
        self.channels.have_requests()
            || self.cutters.have_work()
            || self.steps.have_work()
            || !self.signal.is_quiet()
    }

    /// The first time at which a node needs a turn.
    pub(crate) fn wake_at(&self) -> Option<Ticks> {
        let nodes = self.nodes.iter().flatten().filter_map(|joint| joint.node.as_ref());
        nodes.filter_map(|node| node.wake_at()).min()
    }

    /// Requests taken and not yet completed, over all volumes: one that became others counts with them.
    pub(crate) fn in_flight(&self) -> usize {
        self.volumes.iter().flatten().map(|volume| volume.in_flight).sum()
    }

    /// The level of the node that a volume is on; zero on a channel.
    fn level(&mut self, volume: VolumeId) -> u16 {
        self.mounted(volume).map_or(0, |volume| volume.level)
    }

    fn level_of(&mut self, base: Base) -> u16 {
        match base {
            Base::Node(node) => self.joint(node).map_or(0, |joint| joint.level),
            Base::Channel(_) => 0,
        }
    }

    fn limits(&self, base: Base, limits: Limits) -> Limits {
        let buffered = self.opened(base).is_some_and(|opened| opened.buffer.exists());
        if buffered { limits.with_block_buffer() } else { limits }
    }

    /// Pool of the slots of volumes on a base: that of a device with memory of its own beneath it, if there is one.
    /// All devices reach that memory.
    fn pool(&self, base: Base) -> PoolId {
        let Base::Node(NodeId(id)) = base else {
            return self.opened(base).map(|opened| opened.pool).unwrap_or_default();
        };
        let joint = self.nodes.get(usize::from(id)).and_then(Option::as_ref);
        let parts = joint.into_iter().flat_map(|joint| &joint.parts);
        let mut pools = parts.filter_map(|part| self.volumes.get(usize::from(part.0))?.as_ref());
        pools.find_map(|part| Some(part.pool).filter(|pool| *pool != PoolId::default())).unwrap_or_default()
    }

    fn opened(&self, base: Base) -> Option<&Opened> {
        let Base::Channel(id) = base else { return None };
        self.channels.get(id)
    }

    /// # Panics
    /// If a volume has another parent: it would hear of requests that are not its own.
    fn set_parent(&mut self, parts: &[VolumeId], parent: Option<NodeId>) {
        for &part in parts {
            let Some(volume) = self.mounted(part) else { continue };
            assert!(parent.is_none() || volume.parent.is_none(), "{part:?} is a part of another node");
            volume.parent = parent;
        }
    }

    fn sort_nodes(&mut self) {
        let nodes =
            (0..).zip(self.nodes.iter()).filter_map(|(id, joint)| Some((joint.as_ref()?.level, NodeId(id))));
        let mut nodes: Vec<(u16, NodeId)> = nodes.collect();
        nodes.sort_by_key(|&(level, _)| level);
        self.order = nodes.into_iter().map(|(_, id)| id).collect();
    }

    /// # Panics
    /// If a volume is still on it: its number may be another's next, and what still used it would read
    /// and write another device.
    fn assert_unused(&self, base: Base) {
        let used = self.volumes.iter().flatten().any(|volume| volume.base == base);
        assert!(!used, "{base:?} goes, with volumes on it");
    }
}
