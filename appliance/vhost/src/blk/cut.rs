//! How much of a request's memory goes into one part that a device takes.

use luge_block::Geometry;
use luge_memory::Span;

/// The first part of a request's data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// It has so many spans; the last one was shortened if there is a rest of it.
    pub(super) spans: usize,
    /// What the last span was before.
    pub(super) whole: Option<Span>,
    /// The rest of the last span.
    pub(super) rest: Option<Span>,
    /// It has so many blocks, at least one.
    pub(super) blocks: u32,
}

impl Cut {
    /// Whether the device takes it all at once.
    #[inline]
    pub(super) fn none(data: &[Span], blocks: u32, geometry: &Geometry) -> bool {
        blocks <= geometry.transfer_blocks_max && data.len() <= usize::from(geometry.spans_max)
    }

    /// Cuts the first part of at most `blocks` blocks off `data`, shortening its last span in
    /// place. None if the device's number of spans does not make one block.
    pub(super) fn new(data: &mut [Span], blocks: u32, geometry: &Geometry) -> Option<Self> {
        let most = u64::from(blocks.min(geometry.transfer_blocks_max));
        let fit = Span::total(data.get(..geometry.spans_max.into()).unwrap_or(data));
        let block_bytes = u64::from(geometry.block_bytes);
        let blocks = fit.checked_div(block_bytes)?.min(most);
        let blocks = u32::try_from(blocks).ok().filter(|&blocks| blocks > 0)?;
        Self::at(data, u64::from(blocks).saturating_mul(block_bytes), blocks)
    }

    /// Cuts after so many bytes.
    fn at(data: &mut [Span], mut bytes: u64, blocks: u32) -> Option<Self> {
        for (index, span) in data.iter_mut().enumerate() {
            let spans = index.saturating_add(1);
            match u32::try_from(bytes) {
                Ok(here) if here < span.len() => {
                    let (whole, (part, rest)) = (*span, span.split_at(here));
                    *span = part;
                    return Some(Self { spans, whole: Some(whole), rest: Some(rest), blocks });
                }
                _ => bytes = bytes.saturating_sub(span.len().into()),
            }
            if bytes == 0 {
                return Some(Self { spans, whole: None, rest: None, blocks });
            }
        }
        None
    }

    /// The part was not taken: as if it had not been cut.
    pub(super) fn undo(&self, data: &mut [Span]) {
        self.replace_last(data, self.whole);
    }

    /// The part was taken: leaves the rest of its last span; returns how many spans are used up.
    pub(super) fn done(&self, data: &mut [Span]) -> usize {
        self.replace_last(data, self.rest);
        self.spans.saturating_sub(usize::from(self.rest.is_some()))
    }

    fn replace_last(&self, data: &mut [Span], with: Option<Span>) {
        let last = self.spans.checked_sub(1).and_then(|last| data.get_mut(last));
        if let (Some(place), Some(span)) = (last, with) {
            *place = span;
        }
    }
}
