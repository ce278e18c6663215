//! A node's work where each request becomes one request to one part, with the same session and slot.

use crate::{Parts, VolumeId};
use luge_block::{Completion, Refusal, Request, Tag};
use std::collections::HashMap;

/// The one part of a node, and the requests that it has.
pub(super) struct Pass {
    part: VolumeId,
    /// For each session and slot, a tag that names the volume on top of the node, and the number of requests. Parts of a
    /// request that was cut share a slot.
    above: HashMap<Tag, (Tag, usize)>,
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
        self.above.entry(tag).or_insert((request.tag, 0)).1 += 1;
        Ok(())
    }

    /// A completion of the part as one of the node.
    pub(super) fn ended(&mut self, end: Completion) -> Completion {
        let tag = Tag::new(end.tag().session(), end.tag().slot());
        let (above, count) = self.above.get_mut(&tag).expect("a request that the part was given");
        let (above, last) = (*above, *count == 1);
        *count -= 1;
        if last {
            self.above.remove(&tag);
        }
        Completion::new(end.tag().with_volume_of(above), end.status())
    }
}
