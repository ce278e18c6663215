//! The way from a session or a node to a volume.

use crate::clock::Clock;
use crate::cutter::{Content, Cutters, ListId, ListRequest, PartsId, Slot, Whole};
use crate::extent::{Extent, Mounted};
use crate::layers::{Layers, NodeId, Opened, VolumeId};
use luge_block::{BlockRange, Kind, Refusal, Request, Status, Tag};
use luge_memory::Span;

/// The most requests of a run.
const RUN: usize = 64;

/// Steps of work that one part costs beside its spans, which cost one step each.
const PART_STEPS: usize = 8;

/// A volume of a core's graph, looked up for a batch of requests.
pub struct VolumeHandle<'a>(End<'a>);

/// Base of the volume.
enum End<'a> {
    /// A channel, as nearly all have.
    Channel { volume: &'a mut Mounted, opened: &'a mut Opened, clock: &'a Clock, cutters: &'a mut Cutters },
    /// A node, which may use anything beneath it.
    Node { layers: &'a mut Layers, volume: VolumeId, node: NodeId },
}

impl<'a> VolumeHandle<'a> {
    #[inline]
    pub(crate) fn on_channel(
        volume: &'a mut Mounted,
        opened: &'a mut Opened,
        clock: &'a Clock,
        cutters: &'a mut Cutters,
    ) -> Self {
        Self(End::Channel { volume, opened, clock, cutters })
    }

    pub(crate) fn on_node(layers: &'a mut Layers, volume: VolumeId, node: NodeId) -> Self {
        Self(End::Node { layers, volume, node })
    }

    /// Number of requests that the volume would take now.
    #[inline]
    #[must_use]
    pub fn room(&mut self) -> usize {
        if self.volume().hold.is_draining() { 0 } else { self.room_beneath() }
    }

    /// Begins a run of reads and writes, for one call of what is beneath.
    #[inline]
    #[must_use]
    pub fn run<'data>(&mut self) -> Run<'_, 'a, 'data> {
        let extent = self.volume().open_extent();
        Run { extent, volume: self, requests: heapless::Vec::new() }
    }

    /// Submits a request whose blocks count from the start of the volume. It may be longer than any device
    /// takes at once, and in up to [`crate::SPANS_MAX`] spans; its data is copied then.
    ///
    /// # Errors
    /// [`Refusal`], also where the request is outside of the volume, its blocks are fenced, or
    /// too many long requests are in flight.
    #[inline]
    pub fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let request = self.volume().admit(request)?;
        if self.volume().extent.limits.cut(&request) {
            return self.submit_whole(
                &Whole { tag: request.tag, content: Content::One(&request) },
                request.blocks.into(),
            );
        }
        // Some devices do it at once: it begins before.
        let now = self.now();
        self.submit_beneath(&request)?;
        self.volume().begin_one(Kind::of(request.operation), request.blocks.into(), now);
        Ok(())
    }

    /// Submits discards or writes of zeroes as one request, which has one completion. The ranges have
    /// together no more blocks than the volume, and there are at most [`crate::RANGES_MAX`].
    ///
    /// # Errors
    /// As of [`Self::submit`]; then nothing is done to any of the ranges.
    #[cold]
    pub fn submit_ranges(&mut self, tag: Tag, ranges: &[BlockRange]) -> Result<(), Refusal> {
        let (whole, blocks) = self.volume().admit_ranges(tag, ranges)?;
        self.submit_whole(&whole, blocks)
    }

    /// Reserves a list to be filled with the data of one request of very many spans. None while others
    /// use all lists, or have asked before: ask again in the next turn.
    #[cold]
    pub fn reserve_list(&mut self) -> Option<ListId> {
        let Mounted { level, extent: Extent { way, .. }, .. } = *self.volume();
        self.cutters().reserve_list(level, VolumeId(way.volume()))
    }

    /// A list that this volume has reserved: [`crate::SPANS_MAX`] spans.
    #[cold]
    pub fn list(&mut self, id: &ListId) -> &mut [Span] {
        self.cutters().list(id)
    }

    /// Returns a list that becomes no request.
    #[cold]
    pub fn release_list(&mut self, id: ListId) {
        self.cutters().release_list(id);
    }

    /// Submits a request whose data is in a list that this volume has reserved.
    ///
    /// # Errors
    /// As of [`Self::submit`], and the list, where there is no room. Otherwise the list is no longer reserved.
    #[cold]
    pub fn submit_list(
        &mut self,
        list: ListId,
        request: &ListRequest,
    ) -> Result<(), (Refusal, Option<ListId>)> {
        let id = list.slot();
        let mut slot = self.cutters().take_out(id);
        match self.begin_list(&mut slot, request) {
            Ok(kind) => {
                self.cutters().put_back(id, slot);
                let now = self.now();
                self.volume().begin_one(kind, request.blocks.into(), now);
                Ok(())
            }
            Err(Refusal::Full) => {
                self.cutters().put_list_back(id, slot);
                Err((Refusal::Full, Some(list)))
            }
            Err(refusal) => {
                self.cutters().give_up(id, slot);
                Err((refusal, None))
            }
        }
    }

    fn begin_list(&mut self, slot: &mut Slot, request: &ListRequest) -> Result<Kind, Refusal> {
        let &ListRequest { tag, operation, lba, blocks, ref data } = request;
        if !operation.moves_data() {
            return Err(Refusal::Failed(Status::Invalid));
        }
        let request = self.volume().admit(&Request { tag, operation, lba, blocks, data: &[] })?;
        let limits = self.volume().extent.limits;
        slot.begin_list(&request, data.clone(), limits).map_err(Refusal::Failed)?;
        self.submit_first(slot)?;
        Ok(request.tag.kind())
    }

    /// Submits the first part of a request, and leaves the others to later turns.
    #[cold]
    fn submit_whole(&mut self, whole: &Whole<'_>, blocks: u64) -> Result<(), Refusal> {
        let Mounted { level, extent: Extent { limits, .. }, .. } = *self.volume();
        whole.check(limits.block_bytes).map_err(Refusal::Failed)?;
        let id = self.cutters().begin(level, whole, limits)?;
        let mut slot = self.cutters().take_out(id);
        let now = self.now();
        match self.submit_first(&mut slot) {
            Ok(()) => {
                self.cutters().put_back(id, slot);
                self.volume().begin_one(whole.tag.kind(), blocks, now);
                Ok(())
            }
            Err(refusal) => {
                self.cutters().give_up(id, slot);
                Err(refusal)
            }
        }
    }

    fn submit_first(&mut self, slot: &mut Slot) -> Result<(), Refusal> {
        if self.room_beneath() == 0 {
            return Err(Refusal::Full);
        }
        slot.submit_next(|part| self.submit_beneath(part)).map(|_| ())
    }

    /// Submits parts of a request while there is room and `steps` are left, and takes them off that number.
    pub(crate) fn go_on(&mut self, id: PartsId, steps: &mut usize) {
        let mut slot = self.cutters().take_out(id);
        let mut room = self.room_beneath();
        while room > 0 && *steps > 0 && slot.has_more() {
            match slot.submit_next(|part| self.submit_beneath(part)) {
                Ok(spans) => {
                    room -= 1;
                    *steps = steps.saturating_sub(PART_STEPS + spans);
                }
                Err(Refusal::Full) => break,
                Err(Refusal::Failed(status)) => slot.fail(status),
            }
        }
        self.cutters().put_back(id, slot);
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

/// Requests of one volume that what is beneath gets all at once.
pub struct Run<'a, 'handle, 'data> {
    extent: Extent,
    volume: &'a mut VolumeHandle<'handle>,
    requests: heapless::Vec<Request<'data>, RUN>,
}

impl<'data> Run<'_, '_, 'data> {
    /// Adds a read or write whose blocks count from the start of the volume; none where it is
    /// neither, or outside of the volume, or to be cut, or may be fenced, or one too many:
    /// [`VolumeHandle::submit`] takes it then, or tells which.
    #[inline]
    pub fn add(&mut self, request: &Request<'data>) -> Option<()> {
        if !request.operation.moves_data() || !self.extent.limits.hold_transfer(request) {
            return None;
        }
        self.requests.push(self.extent.translate(request).ok()?).ok()
    }

    /// Submits them, and tells `refused` of each that was not taken, in order. Leaves none.
    #[inline]
    pub fn submit(&mut self, mut refused: impl FnMut(Tag, Refusal)) {
        let mut left = self.requests.as_slice();
        while !left.is_empty() {
            let (taken, refusal) = self.volume.submit_all(left);
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
