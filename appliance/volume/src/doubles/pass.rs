//! A node's work where each request becomes one request to one part, with the same session and slot.

use crate::{Parts, VolumeId};
use luge_block::{Completion, Refusal, Request, Tag};

/// The one part of a node that keeps no slots, and the requests of the volumes on top of it.
pub(super) struct Pass {
    part: VolumeId,
    /// Tags of requests in flight, which have their volumes.
    above: Vec<Tag>,
}

impl Pass {
    pub(super) fn new(part: VolumeId) -> Self {
        Self { part, above: Vec::new() }
    }

    pub(super) fn room(&self, parts: &mut dyn Parts) -> usize {
        parts.room(self.part)
    }

    pub(super) fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal> {
        let tag = Tag::new(request.tag.session(), request.tag.slot());
        parts.submit(self.part, &Request { tag, ..*request })?;
        self.above.push(request.tag);
        Ok(())
    }

    /// A completion of the part as one of the node.
    pub(super) fn ended(&mut self, end: Completion) -> Completion {
        let is_it = |above: &Tag| (above.session(), above.slot()) == (end.tag().session(), end.tag().slot());
        let at = self.above.iter().position(is_it).expect("a part completes what it was given");
        let above = self.above.swap_remove(at);
        Completion::new(end.tag().with_volume_of(above), end.status())
    }
}
