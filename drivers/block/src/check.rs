//! Whether a request is one that a device with some geometry takes. Every device asks for
//! itself: that a volume has asked before is not its concern.

use crate::{Geometry, Request, Status};
use luge_memory::Span;

impl Geometry {
    /// Whether `request` is well formed, within the limits and on the device.
    ///
    /// # Errors
    /// The status it is to be refused with.
    #[inline]
    pub fn check(&self, request: &Request<'_>) -> Result<(), Status> {
        if !request.operation.is_transfer() {
            return self.check_other(request);
        }
        request.operation.check_access(self.read_only)?;
        let Request { lba, blocks, data, .. } = *request;
        if !self.contains(lba, blocks) {
            return Err(Status::OutOfRange);
        }
        let fits = self.takes_data(data, u64::from(blocks) * u64::from(self.block_bytes));
        if fits && (1..=self.transfer_blocks_max).contains(&blocks) { Ok(()) } else { Err(Status::Invalid) }
    }

    /// Whether a request of `bytes` bytes has exactly that memory, in not too many pieces.
    #[inline]
    fn takes_data(&self, data: &[Span], bytes: u64) -> bool {
        match data {
            // One that is empty is too short in any case, and every device takes one.
            [one] => u64::from(one.len()) == bytes,
            several => {
                let solid = several.iter().all(|span| !span.is_empty());
                solid && several.len() <= self.spans_max.into() && Span::total(several) == bytes
            }
        }
    }

    /// Checks a request that is no read or write.
    #[cold]
    fn check_other(&self, request: &Request<'_>) -> Result<(), Status> {
        if request.operation.is_flush() {
            return if request.data.is_empty() { Ok(()) } else { Err(Status::Invalid) };
        }
        request.operation.check_access(self.read_only)?;
        let most = self.blocks_max(request.operation);
        if most == 0 {
            return Err(Status::Unsupported);
        }
        if !self.contains(request.lba, request.blocks) {
            return Err(Status::OutOfRange);
        }
        let memory = request.operation.memory_of(request.blocks).saturating_mul(self.block_bytes.into());
        let fits = match memory {
            0 => request.data.is_empty(),
            bytes => self.takes_data(request.data, bytes),
        };
        if fits && (1..=most).contains(&request.blocks) { Ok(()) } else { Err(Status::Invalid) }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "spans that nobody looks into")]
mod tests {
    use super::*;
    use crate::{Blocks, Durability, Lba, Operation, Shape, Tag};
    use luge_memory::Iova;
    use std::ptr::NonNull;

    /// A device of 100 blocks; 8 to a transfer, in two spans; it cannot discard.
    fn device() -> Geometry {
        let geometry = Shape::new(512, Blocks(100)).unwrap().geometry(8 * 512);
        Geometry { spans_max: 2, discard_blocks_max: 0, write_zeroes_blocks_max: 64, ..geometry }
    }

    fn check(
        device: Geometry,
        operation: Operation,
        lba: u64,
        blocks: u32,
        lens: &[u32],
    ) -> Result<(), Status> {
        // SAFETY: nothing looks at the bytes of these spans.
        let span = |&len: &u32| unsafe { Span::new(NonNull::dangling(), Iova(0), len) };
        let data: Vec<Span> = lens.iter().map(span).collect();
        device.check(&Request { tag: Tag::default(), operation, lba: Lba(lba), blocks, data: &data })
    }

    #[test]
    fn a_transfer_has_exactly_the_memory_of_its_blocks() {
        for operation in [Operation::Read, Operation::Write(Durability::Cache)] {
            let check = |lba, blocks, lens: &[u32]| check(device(), operation, lba, blocks, lens);
            assert_eq!(check(0, 1, &[512]), Ok(()));
            assert_eq!(check(92, 8, &[1, 8 * 512 - 1]), Ok(()));
            let malformed: [(u32, &[u32]); 7] = [
                (0, &[]),
                (1, &[]),
                (1, &[511]),
                (1, &[513]),
                (1, &[512, 0]),
                (9, &[9 * 512]),
                (1, &[256, 128, 128]),
            ];
            for (blocks, lens) in malformed {
                assert_eq!(check(0, blocks, lens), Err(Status::Invalid), "{blocks} {lens:?}");
            }
        }
    }

    #[test]
    fn blocks_past_the_end_are_out_of_range_even_where_the_sum_wraps() {
        for (lba, blocks) in [(100, 1), (99, 2), (u64::MAX, 1), (u64::MAX, u32::MAX), (0, u32::MAX)] {
            let check = |operation, lens: &[u32]| check(device(), operation, lba, blocks, lens);
            assert_eq!(check(Operation::Read, &[512]), Err(Status::OutOfRange), "{blocks} from {lba}");
            assert_eq!(check(Operation::WriteZeroes, &[]), Err(Status::OutOfRange), "{blocks} from {lba}");
        }
    }

    #[test]
    fn what_the_device_cannot_do_is_unsupported_and_what_moves_no_data_has_none() {
        assert_eq!(check(device(), Operation::Discard, 0, 1, &[]), Err(Status::Unsupported));
        assert_eq!(check(device(), Operation::WriteZeroesUnmap, 0, 64, &[]), Ok(()));
        assert_eq!(check(device(), Operation::WriteZeroes, 0, 65, &[]), Err(Status::Invalid));
        assert_eq!(check(device(), Operation::WriteZeroes, 0, 1, &[512]), Err(Status::Invalid));
        assert_eq!(check(device(), Operation::Flush, 0, 0, &[]), Ok(()));
        assert_eq!(check(device(), Operation::Flush, 0, 0, &[512]), Err(Status::Invalid));
    }

    #[test]
    fn a_read_only_device_refuses_every_change_and_nothing_else() {
        let device = Geometry { read_only: true, discard_blocks_max: 8, ..device() };
        assert_eq!(check(device, Operation::Read, 0, 1, &[512]), Ok(()));
        assert_eq!(check(device, Operation::Flush, 0, 0, &[]), Ok(()));
        let write = Operation::Write(Durability::Media);
        for change in [write, Operation::Discard, Operation::WriteZeroes, Operation::WriteZeroesUnmap] {
            assert_eq!(check(device, change, 0, 1, &[512]), Err(Status::WriteProtected), "{change:?}");
        }
    }
}
