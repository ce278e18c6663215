//! Geometry of a device: size, limits and abilities.

use crate::{Blocks, Lba, Operation};

/// The most blocks of the operations beside reads, writes, discards and zeroes; zero where there is no such
/// operation. Of a device: what it can do in one step. Of a volume: what a front end may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OperationLimits {
    /// The most blocks of one compare.
    pub compare_blocks_max: u32,
    /// The most blocks of one verify.
    pub verify_blocks_max: u32,
    /// The most blocks of one compare-and-write, which are half of its memory (ACWU, zero-based there).
    pub compare_and_write_blocks_max: u32,
    /// The most blocks of one write-uncorrectable.
    pub write_uncorrectable_blocks_max: u32,
    /// Limits of a copy.
    pub copy: CopyLimits,
}

/// Limits of a copy; zeroes where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CopyLimits {
    /// The most source ranges (MSRC, zero-based there).
    pub ranges_max: u16,
    /// The most blocks of a source range (MSSRL).
    pub range_blocks_max: u32,
    /// The most blocks of all source ranges together (MCL).
    pub blocks_max: u32,
}

impl OperationLimits {
    /// No such operation.
    pub const NONE: Self = Self {
        compare_blocks_max: 0,
        verify_blocks_max: 0,
        compare_and_write_blocks_max: 0,
        write_uncorrectable_blocks_max: 0,
        copy: CopyLimits { ranges_max: 0, range_blocks_max: 0, blocks_max: 0 },
    };
}

/// Size, limits and abilities of a device. Fixed while the device is open, but for the number of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Size of a logical block in bytes: a power of two, at least 512.
    pub block_bytes: u32,
    /// Number of logical blocks.
    pub blocks: Blocks,
    /// The most blocks that one read or write may have. At least one.
    pub transfer_blocks_max: u32,
    /// The most blocks of long requests that a core submits in a turn, and of one part of them: few where the core
    /// moves the data itself, [`u32::MAX`] where the device does. At least one.
    pub turn_blocks_max: u32,
    /// The most spans that one read or write may have. At least one.
    pub spans_max: u16,
    /// The most blocks that one discard may have; zero where the device cannot discard.
    pub discard_blocks_max: u32,
    /// The most blocks that one write-zeroes may have; zero where the device cannot.
    pub write_zeroes_blocks_max: u32,
    /// The most blocks that one write changes as a whole, wherever it begins: whoever reads them meanwhile, or
    /// after a power cut, finds all of them changed or none. At least one; no more than a transfer has.
    pub atomic_blocks: u32,
    /// Blocks from which on a write is efficient, as a hint to guests. At least one.
    pub optimal_blocks: u32,
    /// The most blocks of one compare, verify or compare-and-write, of one write-uncorrectable, and of a copy.
    pub operations: OperationLimits,
    /// Whether writes may linger in a volatile cache until a flush.
    pub volatile_cache: bool,
    /// Whether everything that changes data is refused.
    pub read_only: bool,
}

impl Geometry {
    /// Size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.blocks.0.saturating_mul(self.block_bytes as u64)
    }

    /// Returns the geometry without limits on requests: of a volume that passes them on to others, which cut them.
    /// It has no operations of its own: its volumes do them in steps.
    #[must_use]
    pub const fn without_limits(self) -> Self {
        const fn unlimited(most: u32) -> u32 {
            if most == 0 { 0 } else { u32::MAX }
        }
        Self {
            transfer_blocks_max: u32::MAX,
            turn_blocks_max: u32::MAX,
            spans_max: u16::MAX,
            discard_blocks_max: unlimited(self.discard_blocks_max),
            write_zeroes_blocks_max: unlimited(self.write_zeroes_blocks_max),
            operations: OperationLimits::NONE,
            ..self
        }
    }

    /// The most blocks of a read or write that is not cut.
    #[must_use]
    pub const fn uncut_blocks_max(&self) -> u32 {
        if self.turn_blocks_max < self.transfer_blocks_max {
            self.turn_blocks_max
        } else {
            self.transfer_blocks_max
        }
    }

    /// The most blocks that one request of that kind may have; zero where the device cannot do it.
    #[must_use]
    pub const fn blocks_max(&self, operation: Operation) -> u32 {
        match operation {
            Operation::Read | Operation::Write(_) | Operation::Flush => self.transfer_blocks_max,
            Operation::Discard => self.discard_blocks_max,
            Operation::WriteZeroes | Operation::WriteZeroesUnmap => self.write_zeroes_blocks_max,
            Operation::Compare => self.operations.compare_blocks_max,
            Operation::Verify => self.operations.verify_blocks_max,
            Operation::CompareAndWrite(_) => self.operations.compare_and_write_blocks_max,
            Operation::WriteUncorrectable => self.operations.write_uncorrectable_blocks_max,
            Operation::Stepped(_) => 0,
        }
    }

    /// Whether `blocks` blocks from `lba` are all on the device.
    #[must_use]
    pub const fn contains(&self, lba: Lba, blocks: u32) -> bool {
        match lba.0.checked_add(blocks as u64) {
            Some(end) => end <= self.blocks.0,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_wraps_is_not_on_the_device() {
        let geometry = Geometry {
            block_bytes: 512,
            blocks: Blocks(u64::MAX),
            transfer_blocks_max: 1,
            turn_blocks_max: u32::MAX,
            spans_max: 1,
            discard_blocks_max: 0,
            write_zeroes_blocks_max: 0,
            atomic_blocks: 1,
            optimal_blocks: 1,
            operations: OperationLimits::NONE,
            volatile_cache: false,
            read_only: false,
        };
        assert!(geometry.contains(Lba(u64::MAX - 1), 1));
        assert!(!geometry.contains(Lba(u64::MAX), 1));
        let small = Geometry { blocks: Blocks(8), ..geometry };
        assert!(small.contains(Lba(8), 0) && small.contains(Lba(0), 8) && !small.contains(Lba(1), 8));
    }
}
