//! A node's work where each request becomes one request to one part, with the same session and slot.

use crate::{Parts, VolumeId};
use luge_block::{Completion, Refusal, Request, Tag};

/// The one part of a node that keeps no slots, and the one volume on top of it.
pub(super) struct Pass {
    part: VolumeId,
    /// The part that the volume on top has in tags, as the last request had it.
    above: Tag,
}

impl Pass {
    pub(super) fn new(part: VolumeId) -> Self {
        Self { part, above: Tag::default() }
    }

    pub(super) fn room(&self, parts: &mut dyn Parts) -> usize {
        parts.room(self.part)
    }

    pub(super) fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal> {
        self.above = Tag::of_volume(request.tag.volume());
        let tag = Tag::new(request.tag.session(), request.tag.slot());
        parts.submit(self.part, &Request { tag, ..*request })
    }

    /// A completion of the part as one of the node.
    pub(super) fn ended(&self, end: Completion) -> Completion {
        let tag = end.tag();
        let above = Tag::new(tag.session(), tag.slot()).through(self.above, tag.kind());
        Completion::new(above, end.status())
    }
}
