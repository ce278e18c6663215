//! Size of one part of a read or write.

use crate::limits::Limits;
use luge_memory::Span;

/// Preferred number of spans of a part: longer lists would keep a core from its other work.
const PART_SPANS_MAX: usize = 1024;

/// The first part of a transfer's data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Number of spans. The last one was shortened if there is a rest of it.
    pub(super) spans: usize,
    /// The last span as it was, if it was shortened.
    whole: Option<Span>,
    /// Rest of the last span, if it was shortened.
    rest: Option<Span>,
    /// Number of blocks, at least one.
    pub(super) blocks: u32,
}

impl Cut {
    /// Cuts the first part of at most `blocks` blocks off `data`, and shortens its last span in place.
    /// None if as many spans as the base takes do not make one block.
    pub(super) fn new(data: &mut [Span], blocks: u32, limits: &Limits) -> Option<Self> {
        let most = blocks.min(limits.uncut_blocks);
        let spans = limits.spans;
        let fitting = match whole_blocks(data, spans.min(PART_SPANS_MAX), limits) {
            0 => whole_blocks(data, spans, limits),
            blocks => blocks,
        };
        let blocks = fitting.min(most);
        let bytes = u64::from(blocks) * u64::from(limits.block_bytes);
        if blocks > 0 { Self::at(data, bytes, blocks) } else { None }
    }

    /// Cuts after `bytes` bytes.
    fn at(data: &mut [Span], mut bytes: u64, blocks: u32) -> Option<Self> {
        for (index, span) in data.iter_mut().enumerate() {
            let spans = index + 1;
            match u32::try_from(bytes) {
                Ok(here) if here < span.len() => {
                    let (whole, (part, rest)) = (*span, span.split_at(here));
                    *span = part;
                    return Some(Self { spans, whole: Some(whole), rest: Some(rest), blocks });
                }
                _ => bytes -= u64::from(span.len()),
            }
            if bytes == 0 {
                return Some(Self { spans, whole: None, rest: None, blocks });
            }
        }
        None
    }

    /// Restores the data: the base did not take the part.
    pub(super) fn undo(&self, data: &mut [Span]) {
        self.replace_last(data, self.whole);
    }

    /// Removes the part from the data: the base took it. Returns the number of spans that are used up.
    pub(super) fn done(&self, data: &mut [Span]) -> usize {
        self.replace_last(data, self.rest);
        self.spans - usize::from(self.rest.is_some())
    }

    fn replace_last(&self, data: &mut [Span], with: Option<Span>) {
        let last = self.spans.checked_sub(1).and_then(|last| data.get_mut(last));
        if let (Some(place), Some(span)) = (last, with) {
            *place = span;
        }
    }
}

/// Number of whole blocks in the first `spans` spans.
fn whole_blocks(data: &[Span], spans: usize, limits: &Limits) -> u32 {
    let bytes = Span::total(data.get(..spans).unwrap_or(data));
    u32::try_from(bytes / u64::from(limits.block_bytes)).unwrap_or(u32::MAX)
}
