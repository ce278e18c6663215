//! Classes of requests whose latencies are kept apart: by operation, reads and writes by size, too.

use luge_block::{Kind, Tag};

/// Operation, as far as latencies tell operations apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimedOperation {
    /// Reads, compares and verifies.
    Read,
    /// Writes, those of zeroes, compare-and-writes and copies included.
    Write,
    /// Discards.
    Unmap,
    /// Flushes.
    Flush,
}

/// Smallest number of bytes of each size class of reads and writes, as a power of two; the first has all that is
/// shorter.
const FIRST_BITS: [u32; 6] = [0, 12, 14, 16, 18, 20];

/// Number of size classes of an operation that has them.
const SIZES: usize = FIRST_BITS.len();

/// Requests whose latencies are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatencyClass {
    /// Operation.
    pub operation: TimedOperation,
    /// Index of the size class; none where sizes are not told apart.
    size: Option<usize>,
}

impl LatencyClass {
    /// Number of classes.
    pub const COUNT: usize = 2 * SIZES + 2;

    /// All classes.
    pub fn all() -> impl Iterator<Item = Self> {
        let sized = |operation| (0..SIZES).map(move |size| Self { operation, size: Some(size) });
        let whole = |operation| Self { operation, size: None };
        let others = [TimedOperation::Unmap, TimedOperation::Flush].map(whole);
        sized(TimedOperation::Read).chain(sized(TimedOperation::Write)).chain(others)
    }

    /// Number of the class, below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        let size = match self.size {
            Some(size) => size,
            None => 0,
        };
        match self.operation {
            TimedOperation::Read => size,
            TimedOperation::Write => SIZES + size,
            TimedOperation::Unmap => 2 * SIZES,
            TimedOperation::Flush => 2 * SIZES + 1,
        }
    }

    /// Sizes of the class: those from this one on, up to a quarter of the next; "any" where they are not told apart.
    #[must_use]
    pub const fn size(self) -> &'static str {
        match self.size {
            Some(0) => "512B",
            Some(1) => "4KiB",
            Some(2) => "16KiB",
            Some(3) => "64KiB",
            Some(4) => "256KiB",
            Some(_) => "1MiB",
            None => "any",
        }
    }

    /// Class of requests of that kind that have 2^`bits` bytes, or less than twice that.
    fn of(kind: Kind, bits: u32) -> Self {
        let size = Some(FIRST_BITS.iter().filter(|&&first| first <= bits).count().saturating_sub(1));
        match kind {
            Kind::Read | Kind::Compare => Self { operation: TimedOperation::Read, size },
            Kind::Write | Kind::WriteZeroes | Kind::CompareAndWrite | Kind::Copy => {
                Self { operation: TimedOperation::Write, size }
            }
            Kind::Discard => Self { operation: TimedOperation::Unmap, size: None },
            Kind::Flush => Self { operation: TimedOperation::Flush, size: None },
        }
    }
}

/// Index of the class of each kind and size that tags can have, for one size of blocks.
#[derive(Debug)]
pub(super) struct Classes([u8; Tag::SORTS]);

impl Default for Classes {
    fn default() -> Self {
        Self([0; Tag::SORTS])
    }
}

impl Classes {
    pub(super) fn new(block_bytes: u32) -> Self {
        let block_bits = block_bytes.checked_ilog2().unwrap_or(0);
        Self(std::array::from_fn(|sort| {
            let (kind, size) = Tag::of_sort(sort);
            let bits = block_bits.saturating_add(u32::try_from(size.index()).unwrap_or(u32::MAX));
            u8::try_from(LatencyClass::of(kind, bits).index()).unwrap_or(0)
        }))
    }

    /// Index of the class of a request.
    #[inline]
    pub(super) fn of(&self, tag: Tag) -> usize {
        self.0.get(tag.sort()).copied().unwrap_or(0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use luge_block::SizeClass;

    fn class_of(block_bytes: u32, kind: Kind, blocks: u32) -> LatencyClass {
        let tag = Tag::new(1, 2).through(Tag::of_volume(3), kind).sized(SizeClass::of(blocks));
        LatencyClass::all().nth(Classes::new(block_bytes).of(tag)).unwrap()
    }

    #[test]
    fn classes_are_numbered_in_the_order_of_their_list() {
        assert_eq!(LatencyClass::all().count(), LatencyClass::COUNT);
        for (index, class) in LatencyClass::all().enumerate() {
            assert_eq!(class.index(), index, "{class:?}");
        }
    }

    #[test]
    fn a_size_is_that_of_the_data_whatever_the_size_of_a_block_is() {
        for (bytes, size) in
            [(4096, "4KiB"), (8192, "4KiB"), (16 << 10, "16KiB"), (128 << 10, "64KiB"), (8 << 20, "1MiB")]
        {
            for block_bytes in [512, 4096] {
                let class = class_of(block_bytes, Kind::Read, bytes / block_bytes);
                assert_eq!(class.size(), size, "{bytes} bytes in blocks of {block_bytes}");
            }
        }
        assert_eq!(class_of(512, Kind::Read, 7).size(), "512B");
    }

    #[test]
    fn kinds_are_counted_with_the_operation_that_they_are_like() {
        for (kind, operation) in [
            (Kind::Compare, TimedOperation::Read),
            (Kind::Copy, TimedOperation::Write),
            (Kind::WriteZeroes, TimedOperation::Write),
            (Kind::Discard, TimedOperation::Unmap),
            (Kind::Flush, TimedOperation::Flush),
        ] {
            assert_eq!(class_of(512, kind, 8).operation, operation, "{kind:?}");
        }
    }
}
