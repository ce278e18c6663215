//! Reads and writes that were checked once, for all that see them afterwards.

use crate::{Blocks, Geometry, Lba, Request, Tag};
use luge_memory::Span;
use std::ops::Deref;

/// Blocks of a device with its limits: what reads and writes of a volume are checked against.
#[derive(Clone, Copy, Debug)]
pub struct TransferExtent {
    first: Lba,
    blocks: Blocks,
    block_bytes: u32,
    transfer_blocks_max: u32,
    spans_max: u16,
    read_only: bool,
}

impl TransferExtent {
    /// `blocks` blocks from `first` of a device, as far as it has them.
    #[must_use]
    pub fn new(geometry: &Geometry, first: Lba, blocks: Blocks) -> Self {
        let have = geometry.blocks.0.saturating_sub(first.0);
        Self {
            first,
            blocks: Blocks(blocks.0.min(have)),
            block_bytes: geometry.block_bytes,
            transfer_blocks_max: geometry.uncut_blocks_max(),
            spans_max: geometry.spans_max,
            read_only: geometry.read_only,
        }
    }

    /// The extent of a device that its channel has at `window`.
    #[must_use]
    pub fn at(self, window: Lba) -> Self {
        Self { first: Lba(self.first.0 + window.0), ..self }
    }

    /// Returns an extent of so many blocks from the same first block.
    #[must_use]
    pub fn with_blocks(self, blocks: Blocks) -> Self {
        Self { blocks, ..self }
    }

    /// Returns the extent without writes.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Returns the extent without blocks, which takes nothing.
    #[inline]
    #[must_use]
    pub fn closed(self) -> Self {
        Self { blocks: Blocks(0), ..self }
    }

    /// Size of a block in bytes.
    #[inline]
    #[must_use]
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// A read or write whose blocks count from the start of the extent, as the device is to get it, with
    /// that tag. None if the device does not take it at once, whatever the reason.
    #[inline]
    #[must_use]
    pub fn check<'a>(&self, request: &Request<'a>, tag: Tag) -> Option<CheckedTransfer<'a>> {
        let Request { operation, lba, blocks, data, .. } = *request;
        let end = lba.0.checked_add(blocks.into())?;
        let inside = end <= self.blocks.0 && blocks.wrapping_sub(1) < self.transfer_blocks_max;
        if !operation.is_transfer() || !inside || operation.check_access(self.read_only).is_err() {
            return None;
        }
        let bytes = u64::from(blocks) * u64::from(self.block_bytes);
        let fits = match data {
            // One that is empty is too short in any case, and every device takes one.
            [one] => u64::from(one.len()) == bytes,
            [one, two] => {
                let fits = u64::from(one.len()) + u64::from(two.len()) == bytes;
                fits && !one.is_empty() && !two.is_empty() && self.spans_max > 1
            }
            several => self.take_spans(several, bytes),
        };
        fits.then(|| {
            CheckedTransfer(Request { tag, operation, lba: Lba(self.first.0 + lba.0), blocks, data })
        })
    }

    /// Whether so many spans are taken, and are `bytes` bytes long.
    #[inline]
    fn take_spans(&self, spans: &[Span], bytes: u64) -> bool {
        if spans.len() > self.spans_max.into() {
            return false;
        }
        // One pass, without a branch for each span.
        let (mut total, mut has_empty) = (0, false);
        for span in spans {
            total += u64::from(span.len());
            has_empty |= span.is_empty();
        }
        total == bytes && !has_empty
    }
}

/// A read or write that a device takes at once: [`TransferExtent::check`] has found nothing wrong with it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct CheckedTransfer<'a>(Request<'a>);

impl<'a> Deref for CheckedTransfer<'a> {
    type Target = Request<'a>;

    #[inline]
    fn deref(&self) -> &Request<'a> {
        &self.0
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "spans that nobody looks into")]
mod tests {
    use super::*;
    use crate::{Durability, Operation, Shape};
    use luge_memory::Iova;
    use std::ptr::NonNull;

    #[test]
    fn what_is_checked_once_is_what_the_device_itself_takes() {
        let whole = Shape::new(512, Blocks(100)).unwrap().geometry(8 * 512);
        // SAFETY: nothing looks at the bytes of these spans.
        let span = |len: u32| unsafe { Span::new(NonNull::dangling(), Iova(0), len) };
        let datas: [&[u32]; 8] = [&[], &[0], &[512], &[511], &[1, 511], &[512, 0], &[4096], &[100, 100, 312]];
        for read_only in [false, true] {
            let device = Geometry { spans_max: 2, read_only, ..whole };
            let extent = TransferExtent::new(&device, Lba(90), Blocks(50));
            let mut taken = 0;
            for data in datas {
                let data: Vec<Span> = data.iter().map(|&len| span(len)).collect();
                for operation in [
                    Operation::Read,
                    Operation::Write(Durability::Media),
                    Operation::Flush,
                    Operation::Discard,
                ] {
                    for (lba, blocks) in
                        [(0, 0), (0, 1), (0, 8), (2, 8), (3, 8), (9, 1), (10, 1), (u64::MAX, 1)]
                    {
                        let request =
                            Request { tag: Tag::new(1, 2), operation, lba: Lba(lba), blocks, data: &data };
                        let shifted = Request { lba: Lba(lba.saturating_add(90)), ..request };
                        let checked = extent.check(&request, Tag::new(3, 4));
                        let takes = device.check(&shifted).is_ok() && operation.is_transfer();
                        assert_eq!(checked.is_some(), takes, "{request:?}");
                        if let Some(checked) = checked {
                            assert_eq!(checked.lba, shifted.lba);
                            assert_eq!(checked.tag, Tag::new(3, 4));
                            taken += 1;
                        }
                        assert!(extent.closed().check(&request, Tag::default()).is_none());
                    }
                }
            }
            assert!(taken > 3, "{taken} were taken");
        }
    }
}
