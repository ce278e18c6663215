//! A mirror: two legs with the same content.
//!
//! ```text
//!  (1) free    --a read-->             (2) one leg is to be read
//!  (1) free    --anything else-->      (3) each leg that is not lost is to get it
//!  (2) (3)     --a leg has room-->     sent there
//!  (2) sent    --done-->               (1), success
//!  (2) sent    --failed-->             (2) with the other leg; (1), failed, where that is lost or was tried
//!  (3) sent    --failed-->             the leg is lost
//!  (3) all ended                       (1), success if one leg has it
//! ```
//!
//! A leg that is lost is never read again: it may have missed a write. Not here: how it comes back.

use crate::{Composite, Node, Parts, Ticks, Volume, VolumeId};
use luge_block::{
    Blocks, Completion, Completions, CoreId, Geometry, Lba, Operation, OperationLimits, Refusal, Request,
    Status, Tag,
};
use luge_memory::Span;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const LEGS: usize = 2;

/// Requests of one core at once.
const SLOTS: u16 = 64;

/// The most spans of a request to a volume with such blocks: those of a block in single bytes, so that each
/// request can be cut to it.
fn spans_max(block_bytes: u32) -> u16 {
    u16::try_from(block_bytes).unwrap_or(u16::MAX)
}

/// A volume whose two parts have the same content.
pub struct Mirror {
    legs: [Arc<Volume>; LEGS],
    lost: Lost,
}

/// The legs that are lost, on all cores.
#[derive(Clone, Default)]
struct Lost(Arc<[AtomicBool; LEGS]>);

impl Lost {
    /// Whether a leg is lost. Acquire: whoever reads after an answered write sees what it cost.
    fn is(&self, leg: usize) -> bool {
        self.0[leg].load(Ordering::Acquire)
    }

    fn lose(&self, leg: usize) {
        self.0[leg].store(true, Ordering::Release);
    }
}

impl Mirror {
    /// A mirror of two volumes with blocks of one size and the same content.
    #[must_use]
    pub fn new(legs: [Arc<Volume>; LEGS]) -> Self {
        Self { legs, lost: Lost::default() }
    }

    /// Whether a leg is lost.
    #[must_use]
    pub fn is_lost(&self, leg: usize) -> bool {
        self.lost.is(leg)
    }
}

impl Composite for Mirror {
    fn geometry(&self) -> Geometry {
        let [a, b] = self.legs.each_ref().map(|leg| leg.geometry());
        assert_eq!(a.block_bytes, b.block_bytes, "legs have blocks of one size");
        Geometry {
            block_bytes: a.block_bytes,
            blocks: Blocks(a.blocks.0.min(b.blocks.0)),
            discard_blocks_max: a.discard_blocks_max.min(b.discard_blocks_max),
            write_zeroes_blocks_max: a.write_zeroes_blocks_max.min(b.write_zeroes_blocks_max),
            // A power cut can come between the legs.
            atomic_blocks: 1,
            optimal_blocks: a.optimal_blocks.max(b.optimal_blocks),
            operations: OperationLimits::NONE,
            volatile_cache: a.volatile_cache || b.volatile_cache,
            read_only: a.read_only || b.read_only,
            // The legs are cut beneath; a slot has room for so many spans.
            ..Geometry { spans_max: spans_max(a.block_bytes), ..a.without_limits() }
        }
    }

    fn parts(&self) -> &[Arc<Volume>] {
        &self.legs
    }

    fn open(&self, _core: CoreId, parts: &[VolumeId]) -> Box<dyn Node> {
        let geometry = self.geometry();
        let slot = |_| Slot { data: Vec::with_capacity(geometry.spans_max.into()), ..Slot::default() };
        Box::new(MirrorNode {
            geometry,
            legs: [parts[0], parts[1]],
            lost: self.lost.clone(),
            slots: (0..SLOTS).map(slot).collect(),
            free: (0..SLOTS).collect(),
            ended: VecDeque::with_capacity(SLOTS.into()),
        })
    }
}

/// A request, and where it is.
struct Slot {
    tag: Tag,
    operation: Operation,
    lba: Lba,
    blocks: u32,
    /// Does not grow: it has room for the most spans of a request.
    data: Vec<Span>,
    /// Legs that are to get it, as soon as they have room.
    unsent: [bool; LEGS],
    /// Legs that have it.
    sent: usize,
    /// Legs that a read has not been tried on.
    untried: [bool; LEGS],
    succeeded: bool,
    failure: Status,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            tag: Tag::default(),
            operation: Operation::Flush,
            lba: Lba(0),
            blocks: 0,
            data: Vec::new(),
            unsent: [false; LEGS],
            sent: 0,
            untried: [false; LEGS],
            succeeded: false,
            failure: Status::Gone,
        }
    }
}

impl Slot {
    /// (1) to (2) or (3); none where no leg is left.
    fn begin(&mut self, request: &Request<'_>, lost: &Lost) -> Option<()> {
        let healthy = [0, 1].map(|leg| !lost.is(leg));
        if healthy == [false, false] {
            return None;
        }
        let first = usize::from(request.lba.0 / 8 % 2 == 1);
        let first = if healthy[first] { first } else { 1 - first };
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        data.extend_from_slice(request.data);
        *self = Self {
            tag: request.tag,
            operation: request.operation,
            lba: request.lba,
            blocks: request.blocks,
            data,
            ..Self::default()
        };
        if request.operation.is_read() {
            self.unsent[first] = true;
            self.untried = healthy;
            self.untried[first] = false;
        } else {
            self.unsent = healthy;
        }
        Some(())
    }

    /// A leg has ended it.
    fn end_leg(&mut self, leg: usize, status: Status, lost: &Lost) {
        if status == Status::Success {
            self.succeeded = true;
            return;
        }
        self.failure = status;
        if !self.operation.is_read() {
            lost.lose(leg);
        }
        let other = 1 - leg;
        if std::mem::take(&mut self.untried[other]) && !lost.is(other) {
            self.unsent[other] = true;
        }
    }

    /// The status of a request that no leg has any more, nor is to get.
    fn result(&self) -> Option<Status> {
        if self.sent > 0 || self.unsent != [false, false] {
            return None;
        }
        Some(if self.succeeded { Status::Success } else { self.failure })
    }
}

struct MirrorNode {
    geometry: Geometry,
    legs: [VolumeId; LEGS],
    lost: Lost,
    slots: Box<[Slot]>,
    free: Vec<u16>,
    /// Completions that have not been handed out.
    ended: VecDeque<Completion>,
}

impl MirrorNode {
    /// Sends a request to each leg that is to get it and has room; ends it where it is over.
    fn go_on(&mut self, index: u16, parts: &mut dyn Parts) {
        let slot = &mut self.slots[usize::from(index)];
        // A read that fails at once goes to the other leg.
        for leg in [0, 1, 0] {
            if !slot.unsent[leg] {
                continue;
            }
            let tag = Tag::new(u16::from(leg == 1), index);
            let request = Request {
                tag,
                operation: slot.operation,
                lba: slot.lba,
                blocks: slot.blocks,
                data: &slot.data,
            };
            let sent = parts.submit(self.legs[leg], &request);
            if sent == Err(Refusal::Full) {
                continue;
            }
            slot.unsent[leg] = false;
            match sent {
                Err(Refusal::Failed(status)) => slot.end_leg(leg, status, &self.lost),
                Ok(()) | Err(Refusal::Full) => slot.sent += 1,
            }
        }
        if let Some(status) = slot.result() {
            self.ended.push_back(Completion::new(slot.tag, status));
            self.free.push(index);
        }
    }
}

impl Node for MirrorNode {
    fn room(&self, _parts: &mut dyn Parts) -> usize {
        self.free.len().saturating_sub(self.ended.len())
    }

    fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal> {
        self.geometry.check(request).map_err(Refusal::Failed)?;
        if self.room(parts) == 0 {
            return Err(Refusal::Full);
        }
        let Some(&index) = self.free.last() else { return Err(Refusal::Full) };
        let begun = self.slots[usize::from(index)].begin(request, &self.lost);
        begun.ok_or(Refusal::Failed(Status::Gone))?;
        self.free.pop();
        self.go_on(index, parts);
        Ok(())
    }

    fn turn(&mut self, ended: &[Completion], parts: &mut dyn Parts, done: &mut Completions) {
        for end in ended {
            let (leg, index) = (usize::from(end.tag().session()), end.tag().slot());
            let slot = &mut self.slots[usize::from(index)];
            slot.sent -= 1;
            slot.end_leg(leg, end.status(), &self.lost);
            self.go_on(index, parts);
        }
        for index in 0..SLOTS {
            if self.slots[usize::from(index)].unsent != [false, false] {
                self.go_on(index, parts);
            }
        }
        while done.room() > 0
            && let Some(end) = self.ended.pop_front()
        {
            // There is room.
            let _ = done.push(end.tag(), end.status());
        }
    }

    fn in_flight(&self) -> usize {
        usize::from(SLOTS) - self.free.len() + self.ended.len()
    }

    /// The next turn, while a leg has no room: nothing tells when it has.
    fn wake_at(&self) -> Option<Ticks> {
        let is_unsent = self.slots.iter().any(|slot| slot.unsent != [false; LEGS]);
        (is_unsent || !self.ended.is_empty()).then_some(Ticks::PAST)
    }
}
