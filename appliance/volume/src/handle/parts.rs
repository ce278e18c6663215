//! Requests that go to the base one by one, whole or in parts.

use super::{End, VolumeHandle};
use crate::buffer::BlockBuffer;
use crate::channels::Opened;
use crate::cutter::{Content, ListId, ListRequest, PartSize, PartsId, Slot, Whole};
use crate::extent::{Extent, Mounted};
use crate::layers::Layers;
use crate::{Parts, Ticks, VolumeId};
use luge_block::{BlockRange, Operation, Refusal, Request, Status, Tag};
use luge_memory::Span;

/// Steps of work that one part costs beside its spans, which cost one step each.
const PART_STEPS: usize = 8;

/// Parts submitted at each level in one turn, and their spans, in steps: so many that a core is not kept
/// from its other work. Where the core moves their data itself, `Geometry::turn_blocks_max` blocks are so many.
const STEPS_PER_TURN: usize = 256;

impl Layers {
    /// Lets requests in parts go on, those of the lower levels first, until each had its turn or enough was
    /// done for one turn.
    #[cold]
    pub(crate) fn go_on(&mut self) {
        for level in 0..self.cutters.levels() {
            let mut steps = STEPS_PER_TURN;
            for _ in 0..self.cutters.going(level) {
                let next = if steps > 0 { self.cutters.next_going(level) } else { None };
                let Some((id, volume)) = next else { break };
                let volume = self.volume(volume);
                volume.expect("a volume with requests in flight stays").go_on(id, &mut steps);
            }
        }
    }
}

impl Parts for Layers {
    fn room(&mut self, part: VolumeId) -> usize {
        self.volume(part).map_or(0, |mut volume| volume.room())
    }

    fn submit(&mut self, part: VolumeId, request: &Request<'_>) -> Result<(), Refusal> {
        let mut volume = self.volume(part).ok_or(Refusal::Failed(Status::Gone))?;
        volume.submit(request)
    }

    fn now(&self) -> Ticks {
        Ticks(self.clock.now())
    }
}

impl VolumeHandle<'_> {
    /// Submits a request whose blocks count from the start of the volume. It may be longer than any device
    /// takes at once, and in up to [`crate::SPANS_MAX`] spans; its data is copied then.
    ///
    /// # Errors
    /// [`Refusal`], also where the request is outside of the volume, its blocks are fenced, or
    /// too many requests are in flight that are in parts or in steps.
    #[inline]
    pub fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let request = self.volume().admit(request)?;
        match request.operation {
            Operation::Stepped(_) => self.submit_stepped(&request),
            _ => self.submit_translated(&request),
        }
    }

    /// Submits a request that was admitted.
    #[inline]
    pub(super) fn submit_translated(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        if self.volume().limits.cut(request) {
            return self.submit_in_parts(request);
        }
        if self.volume().limits.in_steps(request) {
            return self.submit_in_steps(request);
        }
        // Some devices do it at once: it begins before.
        let now = self.now();
        self.submit_beneath(request)?;
        self.begin_one(request.tag, request.blocks.into(), now);
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

    /// Submits a request whose data is in a list that this volume has reserved. The list of a read or write is checked in
    /// later turns: if it is not exactly the memory of its blocks, the request ends with [`Status::Invalid`], and the
    /// device gets no part of it. That of another request is copied now; it may have 2048 pieces, of which 514 do not touch
    /// each other.
    ///
    /// # Errors
    /// As of [`Self::submit`], and the list, where there is no room. Otherwise the list is no longer reserved.
    #[cold]
    pub fn submit_list(
        &mut self,
        list: ListId,
        request: &ListRequest,
    ) -> Result<(), (Refusal, Option<ListId>)> {
        if !request.operation.is_transfer() {
            return self.submit_gathered(list, request);
        }
        let id = list.slot();
        let mut slot = self.cutters().take_out(id);
        match self.begin_list(&mut slot, request) {
            Ok(()) => {
                let now = self.now();
                self.begin_one(slot.tag(), request.blocks.into(), now);
                self.cutters().put_back(id, slot);
                Ok(())
            }
            Err(Refusal::Full) => {
                self.cutters().keep(id, slot);
                Err((Refusal::Full, Some(list)))
            }
            Err(refusal) => {
                self.cutters().give_up(id, slot);
                Err((refusal, None))
            }
        }
    }

    /// Submits a request that is no read or write, and releases the list where the volume has taken it. One of too many
    /// pieces is refused ([`Status::Invalid`]).
    fn submit_gathered(
        &mut self,
        list: ListId,
        request: &ListRequest,
    ) -> Result<(), (Refusal, Option<ListId>)> {
        let &ListRequest { tag, operation, lba, blocks, ref data } = request;
        let id = list.slot();
        let slot = self.cutters().take_out(id);
        let submitted = match slot.gather(data.clone()) {
            Some(data) => self.submit(&Request { tag, operation, lba, blocks, data: &data }),
            None => Err(Refusal::Failed(Status::Invalid)),
        };
        if submitted == Err(Refusal::Full) {
            self.cutters().keep(id, slot);
            return Err((Refusal::Full, Some(list)));
        }
        self.cutters().give_up(id, slot);
        submitted.map_err(|refusal| (refusal, None))
    }

    /// Fills a slot with a request for the list that is in it.
    fn begin_list(&mut self, slot: &mut Slot, request: &ListRequest) -> Result<(), Refusal> {
        let &ListRequest { tag, operation, lba, blocks, ref data } = request;
        let admitted = self.volume().admit(&Request { tag, operation, lba, blocks, data: &[] })?;
        if self.room_beneath() == 0 {
            return Err(Refusal::Full);
        }
        let limits = self.volume().limits;
        slot.begin_list(&admitted, data.clone(), limits).map_err(Refusal::Failed)
    }

    /// Submits a request that is beyond the limits of the base, translated.
    #[cold]
    pub(super) fn submit_in_parts(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let whole = Whole { tag: request.tag, content: Content::One(request) };
        self.submit_whole(&whole, request.blocks.into())
    }

    /// Submits a request, translated, that ends when it is on the media.
    #[cold]
    pub(super) fn submit_durable(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let whole = Whole { tag: request.tag, content: Content::Durable(request) };
        self.submit_whole(&whole, request.blocks.into())
    }

    fn submit_whole(&mut self, whole: &Whole<'_>, blocks: u64) -> Result<(), Refusal> {
        let Mounted { level, limits, .. } = *self.volume();
        whole.check(&limits).map_err(Refusal::Failed)?;
        if self.room_beneath() == 0 {
            return Err(Refusal::Full);
        }
        let id = self.cutters().begin(level, whole, limits)?;
        let slot = self.cutters().take_out(id);
        self.start(id, slot, blocks)
    }

    /// Submits the first part of a request that has a slot, and leaves the others to later turns.
    fn start(&mut self, id: PartsId, mut slot: Slot, blocks: u64) -> Result<(), Refusal> {
        let now = self.now();
        match self.submit_next(&mut slot) {
            Err(Refusal::Failed(status)) => {
                self.cutters().give_up(id, slot);
                Err(Refusal::Failed(status))
            }
            // Without room for a part, it waits for its turn with the others.
            Ok(_) | Err(Refusal::Full) => {
                self.begin_one(slot.tag(), blocks, now);
                self.cutters().put_back(id, slot);
                Ok(())
            }
        }
    }

    /// Submits parts of a request while there is room and `steps` are left, and takes them off that number. First
    /// comes the rest of the request's check, which leaves no steps before it has ended.
    pub(crate) fn go_on(&mut self, id: PartsId, steps: &mut usize) {
        let mut slot = self.cutters().take_out(id);
        slot.check_list(steps);
        let mut room = self.room_beneath();
        while room > 0 && *steps > 0 && slot.has_more() {
            match self.submit_next(&mut slot) {
                Ok(size) => {
                    room -= 1;
                    let moving = slot.part_of_turn(size.blocks, STEPS_PER_TURN);
                    *steps = steps.saturating_sub(moving.max(PART_STEPS + size.spans));
                }
                Err(Refusal::Full) => break,
                Err(Refusal::Failed(status)) => slot.fail(status),
            }
        }
        self.cutters().put_back(id, slot);
    }

    /// Submits the next part of a request; returns its size.
    fn submit_next(&mut self, slot: &mut Slot) -> Result<PartSize, Refusal> {
        if slot.is_in_steps() {
            let mut no_buffer = BlockBuffer::default();
            return slot.submit_next(&mut no_buffer, |part| self.submit_part_in_steps(part));
        }
        match &mut self.0 {
            End::Channel { opened: Opened { channel, buffer, pending, .. }, .. } => {
                let size = slot.submit_next(buffer, |part| channel.submit(part))?;
                *pending = true;
                Ok(size)
            }
            End::Node { layers, node, .. } => slot.submit_next(&mut BlockBuffer::default(), |part| {
                layers.with_node(*node, |node, layers| node.submit(part, layers))
            }),
        }
    }
}
