//! Requests that are done in steps beneath the volume, and the locks that some of them need.

use super::{End, VolumeHandle};
use crate::VolumeId;
use crate::extent::Mounted;
use crate::layers::Layers;
use crate::limits::Zeroes;
use crate::shelf::SlotId;
use crate::steps::{CopyRequest, Over, Slot, Steps};
use luge_block::{Completion, Durability, Lba, Refusal, Request, Tag};

impl Layers {
    /// Lets requests in steps go on, a few in each turn.
    #[cold]
    pub(crate) fn go_on_steps(&mut self) {
        for _ in 0..self.steps.going() {
            let Some((id, volume)) = self.steps.next_going() else { return };
            let volume = self.volume(volume);
            volume.expect("a volume with requests in flight stays").go_on_step(id);
        }
    }

    /// Completion of a request in steps that is over, whose blocks are unlocked.
    pub(crate) fn next_step_over(&mut self) -> Option<Completion> {
        let Over { completion, volume, locked, differs_at } = self.steps.next_over()?;
        if let Some(id) = locked {
            self.mounted(volume).into_iter().for_each(|volume| volume.seat.unlock(id));
            self.look_at_locks_of(volume);
        }
        if let Some(byte) = differs_at {
            let level = self.mounted(volume).map_or(0, |volume| volume.level);
            self.mismatches.note(self.cutters.whole_tag(level, completion.tag()), byte);
        }
        Some(completion)
    }

    /// Looks at the locks of the volumes that are marked: by others, or because they wait.
    #[cold]
    pub(crate) fn look_at_locks(&mut self) {
        let signal = self.signal.clone();
        signal.take(|id| self.look_at_locks_of(id));
    }

    /// Looks at the locks of a volume, which is marked again if it is to be looked at in the next turn.
    pub(crate) fn look_at_locks_of(&mut self, id: VolumeId) {
        let Self { volumes, cutters, steps, .. } = self;
        let volume = volumes.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        let Some(Mounted { seat, hold, in_flight, extent, level, .. }) = volume else { return };
        let locked = seat.look(hold, |hold| {
            let awaited = |lba: Lba, blocks| hold.awaits(Lba(lba.0.saturating_sub(extent.first.0)), blocks);
            let apart = cutters.count_apart(*level, id, awaited) + steps.count_apart(id, awaited);
            in_flight.checked_sub(apart).expect("requests in parts and in steps are in flight")
        });
        if seat.is_restless() {
            self.signal.remind(id);
        }
        locked.into_iter().for_each(|slot| self.steps.locked(slot));
    }
}

impl VolumeHandle<'_> {
    /// Submits a copy of blocks of the volume to other blocks of it, within the limits of its geometry.
    ///
    /// # Errors
    /// [`Refusal`], with [`Status::Invalid`](luge_block::Status::Invalid) where a source overlaps the destination;
    /// nothing is copied then.
    #[cold]
    pub fn submit_copy(&mut self, copy: &CopyRequest<'_>) -> Result<(), Refusal> {
        let (tag, total) = self.volume().admit_copy(copy)?;
        let (first, limits) = (self.volume().extent.first, self.volume().limits);
        let copy = CopyRequest { tag, ..*copy };
        self.start_steps(total, |slot, part| slot.begin_copy(&copy, first, part, limits)).map(drop)
    }

    /// Submits a request that no base does by itself, translated: zeroes as such, the others in steps, and the long ones
    /// of those in parts.
    #[cold]
    pub(super) fn submit_stepped(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let limits = self.volume().limits;
        limits.check_steps(request).map_err(Refusal::Failed)?;
        match limits.zeroes(request) {
            Some(Zeroes { operation, durability: Durability::Cache }) => {
                self.submit_translated(&Request { operation, data: &[], ..*request })
            }
            Some(Zeroes { operation, durability: Durability::Media }) => {
                self.submit_durable(&Request { operation, data: &[], ..*request })
            }
            None if limits.cut(request) => self.submit_in_parts(request),
            None => self.submit_in_steps(request),
        }
    }

    /// Submits a request that the base does not do by itself, translated.
    #[cold]
    pub(super) fn submit_in_steps(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let limits = self.volume().limits;
        limits.check_steps(request).map_err(Refusal::Failed)?;
        let id = self.start_steps(request.blocks, |slot, part| slot.begin(request, part, limits))?;
        if self.steps().slot(id).needs_lock() {
            let volume = self.volume();
            let start = request.lba.0 - volume.extent.first.0;
            volume.seat.ask(id, start..start + u64::from(request.blocks));
        }
        Ok(())
    }

    /// Submits a part of a request, which is counted as a whole, in steps.
    pub(super) fn submit_part_in_steps(&mut self, part: &Request<'_>) -> Result<(), Refusal> {
        let limits = self.volume().limits;
        self.fill_slot(|slot, tag| slot.begin(part, tag, limits)).map(drop)
    }

    /// Gives a request of so many blocks a slot, if it may have one, and counts it.
    fn start_steps(&mut self, blocks: u32, begin: impl FnOnce(&mut Slot, Tag)) -> Result<SlotId, Refusal> {
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        let id = self.fill_slot(begin)?;
        let (now, tag) = (self.now(), self.steps().slot(id).tag());
        self.begin_one(tag, blocks.into(), now);
        Ok(id)
    }

    fn fill_slot(&mut self, begin: impl FnOnce(&mut Slot, Tag)) -> Result<SlotId, Refusal> {
        let turn = self.cutters().turn();
        let volume = self.volume();
        let (pool, level, id) = (volume.pool, volume.level, VolumeId(volume.extent.way.volume()));
        let id = self.steps().take(pool, id, turn).ok_or(Refusal::Full)?;
        let mut slot = self.steps().take_out(id);
        begin(&mut slot, Tag::of_step(level, id.0));
        self.steps().put_back(id, slot);
        Ok(id)
    }

    /// Works on what the last step has read, and submits the next part, if there is one and room for it.
    fn go_on_step(&mut self, id: SlotId) {
        let mut slot = self.steps().take_out(id);
        slot.work();
        if slot.has_part()
            && let Err(Refusal::Failed(status)) = slot.submit_next(|part| self.submit_beneath(part))
        {
            slot.fail(status);
        }
        self.steps().put_back(id, slot);
    }

    fn steps(&mut self) -> &mut Steps {
        match &mut self.0 {
            End::Channel { steps, .. } => steps,
            End::Node { layers, .. } => &mut layers.steps,
        }
    }
}
