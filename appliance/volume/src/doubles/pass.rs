//! A node's work where each request becomes one request to one part, with the same session and slot.

use crate::{Parts, VolumeId};
use luge_block::{Completion, Refusal, Request, Tag};
use std::collections::HashMap;

/// The one part of a node, and the requests that it has.
pub(super) struct Pass {
    part: VolumeId,
    /// Tags of requests, which name the volume on top of the node, by those that the part was given.
    above: HashMap<Tag, Tag>,
}

impl Pass {
    pub(super) fn new(part: VolumeId) -> Self {
        Self { part, above: HashMap::new() }
    }

    pub(super) fn room(&self, parts: &mut dyn Parts) -> usize {
        parts.room(self.part)
    }

    pub(super) fn submit(&mut self, request: &Request<'_>, parts: &mut dyn Parts) -> Result<(), Refusal> {
        let tag = Tag::new(request.tag.session(), request.tag.slot());
        parts.submit(self.part, &Request { tag, ..*request })?;
        self.above.insert(tag, request.tag);
        Ok(())
    }

    /// A completion of the part as one of the node.
    pub(super) fn ended(&mut self, end: Completion) -> Completion {
        let tag = Tag::new(end.tag().session(), end.tag().slot());
        let above = self.above.remove(&tag).expect("a request that the part was given");
        Completion::new(end.tag().with_volume_of(above), end.status())
    }
}
