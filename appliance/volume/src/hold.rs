//! Blocks of a volume that one core does not work on, because somebody has fenced them.
//!
//! ```text
//!  (1) none     --raise, drain-->          (2) draining: the volume takes no request
//!  (2) draining --nothing in flight-->     (3) holding: it takes those outside of the fenced blocks
//!  (2) draining --nothing in flight, and no fence--> (1)
//!  (2) (3)      --lift-->                  (1), or what other fences leave
//! ```
//!
//! A drain is a fence around no blocks, which lifts itself.
//!
//! A request that is not taken is refused as where there is no room: whoever made it keeps it, and
//! submits it again. Flushes have no blocks; they are held in (2) only.

use heapless::Vec;
use luge_block::{BlockRange, Lba, Request};
use std::ops::Range;
use thiserror::Error;

/// The most fences of one volume at once.
const FENCES_MAX: usize = 8;

/// Why a volume cannot be fenced.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a volume has at most {FENCES_MAX} fences at once: lift another one first")]
pub struct TooManyFences;

/// A fence of a core's graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct FenceId(pub(crate) u32);

struct Fence {
    /// Its number; none for a drain.
    id: Option<FenceId>,
    blocks: Range<u64>,
    drained: bool,
}

/// The fences of one volume on one core.
#[derive(Default)]
pub(crate) struct Hold {
    /// One more than fences, for a drain.
    fences: Vec<Fence, { FENCES_MAX + 1 }>,
}

impl Hold {
    /// Whether nothing is held.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.fences.is_empty()
    }

    /// Whether no request is taken at all: (2).
    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        !self.is_open() && self.has_undrained()
    }

    #[cold]
    fn has_undrained(&self) -> bool {
        self.fences.iter().any(|fence| !fence.drained)
    }

    /// Whether a request, whose blocks count from the start of the volume, is taken.
    pub(crate) fn takes(&self, request: &Request<'_>) -> bool {
        let flushes = request.operation.is_flush();
        !self.is_draining() && (flushes || !self.touches(request.lba, request.blocks))
    }

    /// Whether a range of blocks of the volume is taken.
    pub(crate) fn takes_range(&self, range: &BlockRange) -> bool {
        !self.is_draining() && !self.touches(range.lba, range.blocks)
    }

    /// Whether some of these blocks are fenced.
    fn touches(&self, lba: Lba, blocks: u32) -> bool {
        let end = lba.0.saturating_add(blocks.into());
        self.fences.iter().any(|fence| lba.0 < fence.blocks.end && fence.blocks.start < end)
    }

    /// (1) to (2).
    pub(crate) fn raise(&mut self, id: FenceId, blocks: Range<u64>) -> Result<(), TooManyFences> {
        let raised = self.fences.iter().filter(|fence| fence.id.is_some()).count();
        if raised == FENCES_MAX {
            return Err(TooManyFences);
        }
        self.fences.push(Fence { id: Some(id), blocks, drained: false }).map_err(|_| TooManyFences)
    }

    /// (1) or (3) to (2), until nothing is in flight.
    pub(crate) fn drain(&mut self) {
        if self.fences.iter().all(|fence| fence.id.is_some()) {
            // There is room for one.
            let _ = self.fences.push(Fence { id: None, blocks: 0..0, drained: false });
        }
    }

    /// (2) to (3), or to (1): nothing is in flight.
    pub(crate) fn drained(&mut self) {
        self.fences.retain(|fence| fence.id.is_some());
        self.fences.iter_mut().for_each(|fence| fence.drained = true);
    }

    /// (2) or (3) to (1): lifts a fence.
    pub(crate) fn lift(&mut self, id: FenceId) {
        self.fences.retain(|fence| fence.id != Some(id));
    }
}
