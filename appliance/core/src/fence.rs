//! Blocks of a volume that no core works on.
//!
//! A fence is raised on each core by a task; the core goes on with its turns, and answers when what it
//! had in flight for the volume has ended. So no core waits, for another one or for an SSD.

use crate::answer::question;
use crate::{Attachment, CoreHandle};
use luge_block::Lba;
use luge_volume::{FenceId, TooManyFences, VolumeId};
use std::ops::Range;

/// Blocks of a volume that no core works on, until it is dropped. Requests that touch them wait.
pub struct Fence {
    raised: Vec<Raised>,
}

/// A fence on one core.
struct Raised {
    core: CoreHandle,
    volume: VolumeId,
    fence: FenceId,
}

impl Fence {
    /// Fences blocks, which count from the start of the volume, on all cores that it is attached to.
    /// Blocks until the requests that were in flight for the volume have ended: as long as the slowest
    /// SSD takes.
    ///
    /// # Errors
    /// [`TooManyFences`]; nothing is fenced then.
    pub fn raise<'a>(
        attachments: impl IntoIterator<Item = &'a Attachment>,
        blocks: Range<Lba>,
    ) -> Result<Self, TooManyFences> {
        let mut fence = Self { raised: Vec::new() };
        for attachment in attachments {
            let (volume, blocks) = (attachment.volume(), blocks.clone());
            let raised = attachment.core().call(move |core| core.graph().raise_fence(volume, blocks))?;
            fence.raised.push(Raised { core: attachment.core().clone(), volume, fence: raised });
        }
        // All cores drain at the same time.
        let drained = fence.raised.iter().map(|Raised { core, volume, .. }| {
            let (question, answer) = question();
            let volume = *volume;
            core.send(move |core| core.answer_when_drained(volume, Box::new(move || answer.give(()))));
            question
        });
        drained.collect::<Vec<_>>().into_iter().for_each(|drained| drained.wait());
        Ok(fence)
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        for Raised { core, volume, fence } in &self.raised {
            let (volume, fence) = (*volume, *fence);
            core.call(move |core| core.graph().lift_fence(volume, fence));
        }
    }
}
