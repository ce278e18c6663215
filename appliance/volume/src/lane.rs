//! The way from a session or a node to a volume.

use crate::clock::Clock;
use crate::extent::{Extent, Mounted};
use crate::layers::{Layers, NodeId, Opened, VolumeId};
use luge_block::{Refusal, Request, Tag};

/// The most requests of a run.
const RUN: usize = 64;

/// The way to a volume.
pub struct Lane<'a>(End<'a>);

/// Destination of a lane.
enum End<'a> {
    /// A channel, as nearly all do.
    Channel { volume: &'a mut Mounted, opened: &'a mut Opened, clock: &'a Clock },
    /// A node, which may use anything beneath it.
    Node { layers: &'a mut Layers, volume: VolumeId, node: NodeId },
}

impl<'a> Lane<'a> {
    #[inline]
    pub(crate) fn to_channel(volume: &'a mut Mounted, opened: &'a mut Opened, clock: &'a Clock) -> Self {
        Self(End::Channel { volume, opened, clock })
    }

    pub(crate) fn to_node(layers: &'a mut Layers, volume: VolumeId, node: NodeId) -> Self {
        Self(End::Node { layers, volume, node })
    }

    /// Number of requests that the volume would take now.
    #[inline]
    #[must_use]
    pub fn room(&mut self) -> usize {
        if self.volume().hold.is_draining() {
            return 0;
        }
        match &mut self.0 {
            End::Channel { opened, .. } => opened.channel.room(),
            End::Node { layers, node, .. } => layers.with_node(*node, |node, layers| node.room(layers)),
        }
    }

    /// Begins a run of reads and writes, for one call of what is beneath.
    #[inline]
    #[must_use]
    pub fn run<'data>(&mut self) -> Run<'_, 'a, 'data> {
        let extent = self.volume().open_extent();
        Run { extent, lane: self, requests: heapless::Vec::new() }
    }

    /// Submits a request whose blocks count from the start of the volume.
    ///
    /// # Errors
    /// [`Refusal`], also where the request is outside of the volume, or its blocks are fenced.
    #[inline]
    pub fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let request = self.volume().admit(request)?;
        // Some devices do it at once: it begins before.
        let now = self.now();
        match &mut self.0 {
            End::Channel { opened, .. } => opened.submit(&request)?,
            End::Node { layers, node, .. } => {
                layers.with_node(*node, |node, layers| node.submit(&request, layers))?;
            }
        }
        self.volume().begin_one(&request, now);
        Ok(())
    }

    /// Submits translated reads and writes in order, until one is refused.
    #[inline]
    fn submit_all(&mut self, requests: &[Request<'_>]) -> (usize, Option<Refusal>) {
        let now = self.now();
        let (taken, refusal) = match &mut self.0 {
            End::Channel { opened, .. } => opened.submit_all(requests),
            End::Node { layers, node, .. } => {
                layers.with_node(*node, |node, layers| node.submit_all(requests, layers))
            }
        };
        self.volume().begin(requests.get(..taken).unwrap_or(requests), now);
        (taken, refusal)
    }

    #[inline]
    fn volume(&mut self) -> &mut Mounted {
        match &mut self.0 {
            End::Channel { volume, .. } => volume,
            End::Node { layers, volume, .. } => layers.mounted(*volume),
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

/// Requests of one volume that what is beneath gets all at once.
pub struct Run<'a, 'lane, 'data> {
    extent: Extent,
    lane: &'a mut Lane<'lane>,
    requests: heapless::Vec<Request<'data>, RUN>,
}

impl<'data> Run<'_, '_, 'data> {
    /// Adds a read or write whose blocks count from the start of the volume; none where it is
    /// neither, or outside of the volume, or may be fenced, or one too many: [`Lane::submit`] tells which.
    #[inline]
    pub fn add(&mut self, request: &Request<'data>) -> Option<()> {
        if !request.operation.moves_data() {
            return None;
        }
        self.requests.push(self.extent.translate(request).ok()?).ok()
    }

    /// Submits them, and tells `refused` of each that was not taken, in order. Leaves none.
    #[inline]
    pub fn submit(&mut self, mut refused: impl FnMut(Tag, Refusal)) {
        let mut left = self.requests.as_slice();
        while !left.is_empty() {
            let (taken, refusal) = self.lane.submit_all(left);
            let rest = left.get(taken..).unwrap_or_default();
            let (Some(refusal @ Refusal::Failed(_)), Some((request, rest))) = (refusal, rest.split_first())
            else {
                rest.iter().for_each(|request| refused(request.tag, Refusal::Full));
                break;
            };
            refused(request.tag, refusal);
            left = rest;
        }
        self.requests.clear();
    }
}
