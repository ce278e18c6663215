//! A block size and a number of blocks that go together: what an operator may ask for.

use crate::{Blocks, Geometry, OperationLimits};
use thiserror::Error;

/// The largest logical block in bytes.
const BLOCK_BYTES_MAX: u32 = 64 << 10;

/// Why a device cannot have that block size or that many blocks.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ShapeError {
    /// The block size is not possible.
    #[error("a block of {block_bytes} bytes is not possible: it is a power of two from 512 to 65536")]
    BlockBytes {
        /// The block size asked for, in bytes.
        block_bytes: u32,
    },
    /// There is no block, or there are more bytes than a device can have.
    #[error("{blocks} blocks of {block_bytes} bytes are not possible: at least one, and below 2^63 bytes")]
    Blocks {
        /// The block size in bytes.
        block_bytes: u32,
        /// The number of blocks asked for.
        blocks: Blocks,
    },
}

/// A valid block size and number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    block_bytes: u32,
    blocks: Blocks,
}

impl Shape {
    /// `blocks` blocks of `block_bytes` bytes.
    ///
    /// # Errors
    /// [`ShapeError`] where no device can be like that.
    pub fn new(block_bytes: u32, blocks: Blocks) -> Result<Self, ShapeError> {
        if !block_bytes.is_power_of_two() || !(512..=BLOCK_BYTES_MAX).contains(&block_bytes) {
            return Err(ShapeError::BlockBytes { block_bytes });
        }
        let bytes = blocks.0.checked_mul(u64::from(block_bytes));
        match bytes.filter(|&bytes| bytes > 0 && i64::try_from(bytes).is_ok()) {
            Some(_) => Ok(Self { block_bytes, blocks }),
            None => Err(ShapeError::Blocks { block_bytes, blocks }),
        }
    }

    /// Size of a block in bytes.
    #[must_use]
    pub const fn block_bytes(self) -> u32 {
        self.block_bytes
    }

    /// Number of blocks.
    #[must_use]
    pub const fn blocks(self) -> Blocks {
        self.blocks
    }

    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.blocks.0 * self.block_bytes as u64
    }

    /// Number of blocks of so many bytes; at least one.
    pub(crate) const fn blocks_of(self, bytes: u32) -> u32 {
        if bytes > self.block_bytes { bytes / self.block_bytes } else { 1 }
    }

    /// A writable device of this shape whose every request, of whatever kind, is at most
    /// `request_bytes` long, or one block, and which keeps nothing in a volatile cache.
    pub(crate) const fn geometry(self, request_bytes: u32) -> Geometry {
        let most = self.blocks_of(request_bytes);
        Geometry {
            block_bytes: self.block_bytes,
            blocks: self.blocks,
            transfer_blocks_max: most,
            turn_blocks_max: u32::MAX,
            spans_max: u16::MAX,
            discard_blocks_max: most,
            write_zeroes_blocks_max: most,
            atomic_blocks: 1,
            optimal_blocks: 1,
            operations: OperationLimits::NONE,
            volatile_cache: false,
            read_only: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_other_than_powers_of_two_from_512_to_64_kib_are_refused() {
        for block_bytes in [0, 1, 256, 511, 513, 520, 1536, 128 << 10, u32::MAX] {
            assert_eq!(Shape::new(block_bytes, Blocks(8)), Err(ShapeError::BlockBytes { block_bytes }));
        }
        for block_bytes in [512, 4096, 64 << 10] {
            assert_eq!(Shape::new(block_bytes, Blocks(8)).unwrap().bytes(), u64::from(block_bytes) * 8);
        }
    }

    #[test]
    fn no_blocks_and_more_bytes_than_an_offset_can_say_are_refused() {
        for blocks in [0, 1 << 54, u64::MAX] {
            assert!(matches!(Shape::new(512, Blocks(blocks)), Err(ShapeError::Blocks { .. })), "{blocks}");
        }
        assert!(Shape::new(512, Blocks((1 << 54) - 1)).is_ok());
    }
}
