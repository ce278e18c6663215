//! A node's work where each request becomes one request to one part, with the same session and slot.

use crate::{Parts, VolumeId};
use luge_block::{Completion, Refusal, Request, Tag};

/// The one part of a node that keeps no slots, and the one volume on top of it.
pub(super) struct Pass {
    part: VolumeId,
    /// Tag of the last request, which has the volume on top.
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
        self.above = request.tag;
        let tag = Tag::new(request.tag.session(), request.tag.slot());
        parts.submit(self.part, &Request { tag, ..*request })
    }

    /// A completion of the part as one of the node.
    pub(super) fn ended(&self, end: Completion) -> Completion {
        Completion::new(end.tag().with_volume_of(self.above), end.status())
    }
}
