//! The way from a session or a node to a volume.

mod at_once;
mod parts;
pub(crate) mod run;
mod steps;

use crate::channels::Opened;
use crate::clock::Clock;
use crate::cutter::Cutters;
use crate::extent::Mounted;
use crate::ids::{Base, NodeId, VolumeId};
use crate::latency::SessionTimes;
use crate::layers::Layers;
use crate::steps::Steps;
use luge_block::{CheckedTransfer, Refusal, Request, Tag};

/// A volume of a core's graph, looked up for a batch of requests.
pub struct VolumeHandle<'a>(End<'a>);

/// Base of the volume.
enum End<'a> {
    /// A channel, as nearly all have.
    Channel {
        volume: &'a mut Mounted,
        opened: &'a mut Opened,
        clock: &'a Clock,
        cutters: &'a mut Cutters,
        steps: &'a mut Steps,
        times: &'a mut SessionTimes,
        used_up: &'a mut bool,
    },
    /// A node, which may use anything beneath it.
    Node { layers: &'a mut Layers, volume: VolumeId, node: NodeId },
}

impl Layers {
    /// A volume, looked up once for a batch of requests; none that is gone.
    #[inline]
    pub(crate) fn volume(&mut self, id: VolumeId) -> Option<VolumeHandle<'_>> {
        match self.volumes.get(usize::from(id.0))?.as_ref()?.base {
            Base::Channel(channel) => {
                let volume = self.volumes.get_mut(usize::from(id.0))?.as_mut()?;
                let opened = self.channels.activate(channel)?;
                let Self { clock, cutters, steps, times, used_up, .. } = self;
                Some(VolumeHandle(End::Channel { volume, opened, clock, cutters, steps, times, used_up }))
            }
            Base::Node(node) => Some(VolumeHandle(End::Node { layers: self, volume: id, node })),
        }
    }
}

impl VolumeHandle<'_> {
    /// Number of requests that the volume would take now.
    #[inline]
    #[must_use]
    pub fn room(&mut self) -> usize {
        if self.volume().hold.is_draining() {
            return 0;
        }
        let room = self.room_beneath();
        if room == 0 {
            self.note_no_room();
        }
        room
    }

    /// Notes that a channel has no room before the next turn, if that is so: one whose data the core moves itself.
    #[cold]
    fn note_no_room(&mut self) {
        if let End::Channel { volume, used_up, .. } = &mut self.0 {
            **used_up |= volume.limits.has_room_by_turns();
        }
    }

    /// Submits a request to the base.
    #[inline]
    fn submit_beneath(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        match &mut self.0 {
            End::Channel { opened, .. } => opened.submit(request),
            End::Node { layers, node, .. } => {
                layers.with_node(*node, |node, layers| node.submit(request, layers))
            }
        }
    }

    /// Number of requests that the base would take now.
    #[inline]
    fn room_beneath(&mut self) -> usize {
        match &mut self.0 {
            End::Channel { opened, .. } => opened.channel.room(),
            End::Node { layers, node, .. } => layers.with_node(*node, |node, layers| node.room(layers)),
        }
    }

    #[inline]
    fn volume(&mut self) -> &mut Mounted {
        match &mut self.0 {
            End::Channel { volume, .. } => volume,
            End::Node { layers, volume, .. } => layers.mounted_here(*volume),
        }
    }

    /// The volume, and the times of the sessions' requests.
    #[inline]
    fn timed(&mut self) -> (&mut Mounted, &mut SessionTimes) {
        match &mut self.0 {
            End::Channel { volume, times, .. } => (volume, times),
            End::Node { layers, volume, .. } => layers.timed(*volume),
        }
    }

    /// Counts requests that the base took at `now`.
    #[inline]
    fn begin(&mut self, transfers: &[CheckedTransfer<'_>], now: u64) {
        let (volume, times) = self.timed();
        volume.begin(transfers, now, times);
    }

    /// Counts one request that the base took at `now`.
    #[inline]
    fn begin_one(&mut self, tag: Tag, blocks: u64, now: u64) {
        let (volume, times) = self.timed();
        volume.begin_one(tag, blocks, now, times);
    }

    fn cutters(&mut self) -> &mut Cutters {
        match &mut self.0 {
            End::Channel { cutters, .. } => cutters,
            End::Node { layers, .. } => &mut layers.cutters,
        }
    }

    #[inline]
    fn now(&self) -> u64 {
        match &self.0 {
            End::Channel { clock, .. } => clock.now(),
            End::Node { layers, .. } => layers.clock.now(),
        }
    }
}
