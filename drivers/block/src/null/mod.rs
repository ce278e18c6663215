//! The null device: completes everything at once and moves nothing. Reads leave memory as it
//! is, writes are discarded: what is left to measure is the path to it.
//!
//! Path: guest ring -> session -> volume -> **channel**.

use crate::immediate::{Execute, ImmediateChannel};
use crate::{
    Blocks, Channel, CoreId, Device, Geometry, OpenError, OperationLimits, Request, ResizeError, Shape,
    Status,
};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// One request may be this long, in bytes: as much as guests ask for.
const REQUEST_BYTES_MAX: u32 = 4 << 20;

/// One discard or write-zeroes may have so many blocks: nothing is done for any of them.
const RANGE_BLOCKS_MAX: u32 = 1 << 31;

/// A device of which only the size is real.
#[derive(Debug)]
pub struct NullDevice {
    /// Geometry at first.
    geometry: Geometry,
    blocks: AtomicU64,
}

impl NullDevice {
    /// A null device of that shape.
    #[must_use]
    pub const fn new(shape: Shape) -> Self {
        let geometry = Geometry {
            discard_blocks_max: RANGE_BLOCKS_MAX,
            write_zeroes_blocks_max: RANGE_BLOCKS_MAX,
            // Whatever it is compared with is what it has.
            operations: OperationLimits {
                compare_blocks_max: REQUEST_BYTES_MAX / shape.block_bytes(),
                verify_blocks_max: RANGE_BLOCKS_MAX,
                ..OperationLimits::NONE
            },
            ..shape.geometry(REQUEST_BYTES_MAX)
        };
        Self { geometry, blocks: AtomicU64::new(geometry.blocks.0) }
    }
}

impl Device for NullDevice {
    fn geometry(&self) -> Geometry {
        Geometry { blocks: Blocks(self.blocks.load(Relaxed)), ..self.geometry }
    }

    fn resize(&self, blocks: Blocks) -> Result<(), ResizeError> {
        self.blocks.store(Shape::new(self.geometry.block_bytes, blocks)?.blocks().0, Relaxed);
        Ok(())
    }

    fn uses_dma(&self) -> bool {
        false
    }

    fn open(&self, _core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        Ok(Box::new(ImmediateChannel::new(Nothing, self.geometry())))
    }
}

/// Work of a null device: none.
struct Nothing;

impl Execute for Nothing {
    /// Looks at no memory.
    #[inline]
    fn pieces(&self, _request: &Request<'_>) -> u32 {
        0
    }

    #[inline]
    fn execute(&mut self, _request: &Request<'_>) -> Status {
        Status::Success
    }
}
