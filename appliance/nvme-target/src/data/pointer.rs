//! Data pointer of a command: PRPs or an SGL.

use super::collector::{Collector, Stop};
use super::prp::PrpWalk;
use super::sgl::SglWalk;
use crate::commands::CommandStatus;
use luge_spec::nvme::{DataPointerKind, SglDescriptor, StatusCode, SubmissionEntry};

/// Walk through the data pointer of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataWalk(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Prp(PrpWalk),
    Sgl(SglWalk),
}

impl DataWalk {
    /// A walk to the first `bytes` bytes of a command's data.
    ///
    /// # Errors
    /// The status of a command whose data pointer is of no kind.
    pub(crate) const fn of(
        entry: &SubmissionEntry,
        bytes: u32,
        page_bytes: u32,
    ) -> Result<Self, CommandStatus> {
        Self::new(entry.data_pointer_kind(), [entry.prp1, entry.prp2], bytes, page_bytes)
    }

    /// As [`Self::of`], for a data pointer that consists of these two words.
    ///
    /// # Errors
    /// As of [`Self::of`].
    #[inline]
    pub(crate) const fn new(
        kind: DataPointerKind,
        pointer: [u64; 2],
        bytes: u32,
        page_bytes: u32,
    ) -> Result<Self, CommandStatus> {
        let [first, second] = pointer;
        match kind {
            DataPointerKind::PRP => Ok(Self(Kind::Prp(PrpWalk::new(first, second, bytes, page_bytes)))),
            DataPointerKind::SGL | DataPointerKind::SGL_AND_METADATA_SGL => {
                Ok(Self(Kind::Sgl(SglWalk::new(SglDescriptor::from_words(pointer), bytes))))
            }
            _ => Err(CommandStatus::refused(StatusCode::INVALID_FIELD)),
        }
    }

    /// Walks on, as many steps as the collector makes; returns the number of all spans after the last step.
    ///
    /// # Errors
    /// [`Stop`].
    pub(crate) fn step(&mut self, collector: &mut Collector<'_, '_, '_>) -> Result<Option<usize>, Stop> {
        let ended = match &mut self.0 {
            Kind::Prp(walk) => walk.step(collector),
            Kind::Sgl(walk) => walk.step(collector),
        }?;
        if ended { collector.finish().map(Some) } else { Ok(None) }
    }
}
