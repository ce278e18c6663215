//! Requests beyond the limits of their base, and lists of ranges: whole from above, in parts beneath.
//!
//! Path: session -> volume -> **cutter** -> channel or node.
//!
//! A volume that gets such a request hands it to the cutter of its level (see `layers.rs`), which copies
//! its list and submits the first part. The other parts follow in turns (`going_on.rs`), a bounded number
//! in each. Completions of parts carry a session number of the cutter's own; the last one becomes the
//! completion of the whole request, and goes to the volume.
//!
//! Invariants
//! - Nothing is allocated after the core's graph, or a node, was made.
//! - Every request that was taken ends once, after its last part. After a failure nothing more of it is
//!   submitted.
//! - No volume keeps another from a slot for longer than its requests take (`shelf.rs`).
//! - A part waits only for the base, never for a slot of its own level. Those parts that are done in steps wait for a
//!   slot of `steps`, too; therefore their requests have slots of their own here, which steps never wait for. So levels
//!   cannot wait in a circle.
//!
//! Never cut: a flush, and a write of at most `Geometry::atomic_blocks` blocks, in however many spans.
//!
//! Not here: how a part is done that the base does not do by itself (`steps`).

mod cut;
mod data_check;
mod slot;

pub use slot::ListRequest;
pub(crate) use slot::{Content, PartSize, Slot, Whole};

use crate::VolumeId;
use crate::limits::{Limits, RANGES_MAX};
use crate::shelf::{Asker, Shelf, SlotId};
use luge_block::{Completion, Lba, Refusal, Status, Tag};
use luge_memory::Span;
use std::collections::VecDeque;

/// The most spans of one request: those of the longest indirect table, and some that lie across regions.
pub const SPANS_MAX: usize = (1 << 15) + 64;

/// Slots of one size.
struct Class {
    slots: u16,
    spans: usize,
    ranges: usize,
}

/// Sizes of slots, the smallest first, and those of requests whose parts are done in steps. The longest lists take 0.8 MB
/// each.
const CLASSES: [Class; 4] = [
    Class { slots: 64, spans: 128, ranges: 0 },
    Class { slots: 16, spans: 0, ranges: RANGES_MAX },
    Class { slots: 2, spans: SPANS_MAX, ranges: 0 },
    Class { slots: 16, spans: 128, ranges: 0 },
];

/// Places in the list of classes.
const LONGEST_LISTS: usize = 2;
const IN_STEPS: usize = 3;

/// The slots of one level of a core's volumes.
struct Cutter {
    slots: Box<[Slot]>,
    shelves: [Shelf; CLASSES.len()],
    /// Slots whose requests are over, and whose completions are on their way up.
    over: Vec<SlotId>,
    /// Slots whose requests have parts left to submit, in the order in which they go on.
    going: VecDeque<SlotId>,
}

impl Cutter {
    fn new(level: u16) -> Self {
        let (mut slots, mut next) = (Vec::new(), 0_u16..);
        let shelves = CLASSES.each_ref().map(|class| {
            let ids: Vec<u16> = next.by_ref().take(class.slots.into()).collect();
            let slot = |&id: &u16| Slot::new(class.spans, class.ranges, Tag::of_part(level, id));
            slots.extend(ids.iter().map(slot));
            Shelf::new(ids.into_iter().map(SlotId))
        });
        let (over, going) = (Vec::with_capacity(slots.len()), VecDeque::with_capacity(slots.len()));
        Self { slots: slots.into(), shelves, over, going }
    }

    /// Takes a slot of a size for a volume, if it may have one.
    fn take(&mut self, class: usize, volume: VolumeId, turn: u32) -> Option<SlotId> {
        let first: usize = CLASSES.iter().take(class).map(|class| usize::from(class.slots)).sum();
        let slots = self.slots.iter().skip(first).take(CLASSES.get(class)?.slots.into());
        let holds = slots.filter(|slot| slot.volume == Some(volume)).count();
        let id = self.shelves.get_mut(class)?.take(Asker { volume, holds, turn })?;
        self.slot(id).volume = Some(volume);
        Some(id)
    }

    /// Ends a part; returns whether the block buffer of the base is free again.
    fn end_part(&mut self, id: SlotId, status: Status) -> bool {
        let slot = self.slot(id);
        let had_more = slot.has_more();
        let frees = slot.end_part(status);
        let (has_more, over) = (slot.has_more(), slot.is_over());
        match (had_more, has_more) {
            (false, true) => self.going.push_back(id),
            (true, false) => self.going.retain(|going| *going != id),
            _ => {}
        }
        if over {
            self.over.push(id);
        }
        frees
    }

    /// Frees a slot.
    fn free(&mut self, id: SlotId) {
        self.slot(id).clear();
        let mut first = 0;
        let class = CLASSES.iter().position(|class| {
            first += class.slots;
            id.0 < first
        });
        let shelf = class.and_then(|class| self.shelves.get_mut(class));
        shelf.into_iter().for_each(|shelf| shelf.put_back(id));
    }

    /// # Panics
    /// If there is no such slot: a completion of a part is made up.
    fn slot(&mut self, id: SlotId) -> &mut Slot {
        self.slots.get_mut(usize::from(id.0)).expect("a slot of the cutter")
    }
}

/// The cutters of all levels of a core's volumes.
pub(crate) struct Cutters {
    levels: Vec<Cutter>,
    /// Number of slots that are not free.
    busy: usize,
    turn: u32,
}

/// A slot, and its level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartsId {
    level: usize,
    slot: SlotId,
}

/// A list of [`SPANS_MAX`] spans that a front end fills for one request.
#[derive(Debug)]
pub struct ListId(PartsId);

impl ListId {
    pub(crate) fn slot(&self) -> PartsId {
        self.0
    }
}

/// One for the volumes on channels.
impl Default for Cutters {
    fn default() -> Self {
        Self { levels: vec![Cutter::new(0)], busy: 0, turn: 0 }
    }
}

impl Cutters {
    /// Makes sure that there is a cutter for volumes on nodes of a level.
    pub(crate) fn reach(&mut self, level: u16) {
        let have = u16::try_from(self.levels.len()).unwrap_or(u16::MAX);
        self.levels.extend((have..=level).map(Cutter::new));
    }

    /// Whether some request is in parts.
    #[inline]
    pub(crate) fn are_busy(&self) -> bool {
        self.busy > 0
    }

    /// Whether some request has parts left, or a completion on its way up: it goes on in the next turn.
    pub(crate) fn have_work(&self) -> bool {
        self.levels.iter().any(|cutter| !cutter.going.is_empty() || !cutter.over.is_empty())
    }

    /// Gives a request a slot of its volume's level, with its lists copied.
    ///
    /// # Errors
    /// [`Refusal::Full`] where there is no slot for the volume; [`Status::Invalid`] where the lists are
    /// longer than any slot.
    pub(crate) fn begin(
        &mut self,
        level: u16,
        whole: &Whole<'_>,
        limits: Limits,
    ) -> Result<PartsId, Refusal> {
        let (spans, ranges) = whole.lists();
        let fits = |class: &Class| spans <= class.spans && ranges <= class.ranges;
        let first = if whole.is_in_steps(&limits) { IN_STEPS } else { 0 };
        let class = (first..CLASSES.len()).find(|&class| CLASSES.get(class).is_some_and(fits));
        let class = class.ok_or(Refusal::Failed(Status::Invalid))?;
        let id = self.take(class, level, VolumeId(whole.tag.volume())).ok_or(Refusal::Full)?;
        self.cutter(id.level).slot(id.slot).begin(whole, limits);
        Ok(id)
    }

    /// Gives a volume a slot with a list to be filled, if it may have one.
    pub(crate) fn reserve_list(&mut self, level: u16, volume: VolumeId) -> Option<ListId> {
        self.take(LONGEST_LISTS, level, volume).map(ListId)
    }

    /// A list that is being filled.
    pub(crate) fn list(&mut self, id: &ListId) -> &mut [Span] {
        self.cutter(id.0.level).slot(id.0.slot).list()
    }

    /// Frees a list that becomes no request.
    pub(crate) fn release_list(&mut self, id: ListId) {
        self.cutter(id.0.level).free(id.0.slot);
        self.busy -= 1;
    }

    /// Returns a slot whose list has become no request yet.
    pub(crate) fn keep(&mut self, id: PartsId, slot: Slot) {
        *self.cutter(id.level).slot(id.slot) = slot;
    }

    fn take(&mut self, class: usize, level: u16, volume: VolumeId) -> Option<PartsId> {
        let (level, turn) = (usize::from(level), self.turn);
        let slot = self.cutter(level).take(class, volume, turn)?;
        if self.busy == 0 {
            // Sessions go first in this turn, so that the request goes on in it.
            self.turn |= 1;
        }
        self.busy += 1;
        Some(PartsId { level, slot })
    }

    /// Lends a slot; nothing is in its place until [`Self::put_back`].
    pub(crate) fn take_out(&mut self, id: PartsId) -> Slot {
        std::mem::take(self.cutter(id.level).slot(id.slot))
    }

    /// Returns a slot. Its request goes on in a later turn, or, if it is over, its completion goes up.
    pub(crate) fn put_back(&mut self, id: PartsId, slot: Slot) {
        let cutter = self.cutter(id.level);
        if slot.has_more() {
            cutter.going.push_back(id.slot);
        } else if slot.is_over() {
            cutter.over.push(id.slot);
        }
        *cutter.slot(id.slot) = slot;
    }

    /// Frees a slot: its request was not taken.
    pub(crate) fn give_up(&mut self, id: PartsId, slot: Slot) {
        let cutter = self.cutter(id.level);
        *cutter.slot(id.slot) = slot;
        cutter.free(id.slot);
        self.busy -= 1;
    }

    /// Whether parts go after the next completions, before the requests of sessions. In every other turn
    /// they do, and in the others after those requests: neither uses up scarce room for ever.
    pub(crate) fn parts_go_first(&self) -> bool {
        self.turn.is_multiple_of(2)
    }

    /// Number of the turn.
    pub(crate) fn turn(&self) -> u32 {
        self.turn
    }

    /// Begins another turn.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Number of slots at a level whose requests have parts left.
    pub(crate) fn going(&self, level: usize) -> usize {
        self.levels.get(level).map_or(0, |cutter| cutter.going.len())
    }

    /// The slot at a level that goes on next, and its volume.
    pub(crate) fn next_going(&mut self, level: usize) -> Option<(PartsId, VolumeId)> {
        let cutter = self.levels.get_mut(level)?;
        let slot = cutter.going.pop_front()?;
        Some((PartsId { level, slot }, cutter.slot(slot).volume?))
    }

    /// Number of a volume's requests in parts none of whose blocks are awaited.
    pub(crate) fn count_apart(
        &self,
        level: u16,
        volume: VolumeId,
        awaited: impl Fn(Lba, u32) -> bool + Copy,
    ) -> usize {
        let cutter = self.levels.get(usize::from(level));
        let slots = cutter.into_iter().flat_map(|cutter| &cutter.slots);
        slots.filter(|slot| slot.volume == Some(volume) && slot.is_apart(awaited)).count()
    }

    /// Tag of the whole request where `tag` is of a part of it, on that level; else the tag itself.
    pub(crate) fn whole_tag(&self, level: u16, tag: Tag) -> Tag {
        let slots = self.levels.get(usize::from(level)).map_or(&[][..], |cutter| &cutter.slots);
        let slot = slots.get(usize::from(tag.slot())).filter(|_| tag.is_of_level(level));
        slot.map_or(tag, Slot::tag)
    }

    /// Number of levels.
    pub(crate) fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Ends parts of requests of one volume, which is on this level. Returns whether the block buffer of
    /// its base is free again.
    ///
    /// # Panics
    /// If one of them is not with a base: a channel or node made it up.
    pub(crate) fn end_parts(&mut self, level: u16, ended: &[Completion]) -> bool {
        let cutter = self.cutter(level.into());
        let mut frees = false;
        for end in ended {
            frees |= cutter.end_part(SlotId(end.tag().slot()), end.status());
        }
        frees
    }

    /// Frees a slot whose request is over; returns the request's completion.
    pub(crate) fn next_over(&mut self) -> Option<Completion> {
        let cutter = self.levels.iter_mut().find(|cutter| !cutter.over.is_empty())?;
        let id = cutter.over.pop()?;
        let completion = cutter.slot(id).completion();
        cutter.free(id);
        self.busy -= 1;
        Some(completion)
    }

    fn cutter(&mut self, level: usize) -> &mut Cutter {
        self.levels.get_mut(level).expect("a cutter for each level of volumes")
    }
}
