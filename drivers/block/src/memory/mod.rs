//! The memory device: a disk in memory of our own.
//!
//! Path: guest ring -> session -> volume -> **channel**, which copies.
//!
//! Invariants
//! - All channels share the memory. It is never a slice: bytes are copied between spans, so what
//!   guests make of overlapping requests is their own affair.
//! - A request is checked against the device's own geometry before an address is made of it.
//! - A request is short enough that copying it does not keep a core from its other guests.
//!
//! Not here: where the memory comes from and that SSDs see it too (`luge-memory`).

#![expect(unsafe_code, reason = "spans of the disk's memory are addresses")]

use crate::immediate::{Execute, ImmediateChannel, MemoryCopy};
use crate::{
    Blocks, Channel, ChannelSize, CoreId, Device, Geometry, Lba, OpenError, Operation, OperationLimits,
    Request, ResizeError, Shape, Status,
};
use luge_memory::{DmaMemory, DmaSpace, ElasticMemory, MemoryError, NodeAmounts, NumaNode, PageSize, Span};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// One request may be this long, in bytes, and all of a turn not much longer: some microseconds to copy or to clear.
const REQUEST_BYTES_MAX: u32 = 32 << 10;

/// Bytes of long requests that are copied or cleared in a turn: as long as a batch of short requests takes, where
/// neither side is in a cache.
const TURN_BYTES_MAX: u32 = 16 << 10;

/// A disk in memory. Its content, zeroes at first, goes when it is dropped.
pub struct MemoryDevice {
    memory: ElasticMemory,
    /// Geometry at first.
    geometry: Geometry,
    blocks: AtomicU64,
}

impl MemoryDevice {
    /// A disk of that shape in pages of that size, on `node` where one is given.
    ///
    /// # Errors
    /// [`MemoryError`] if there is not that much memory; nothing is kept then.
    pub fn new(
        space: &Arc<DmaSpace>,
        shape: Shape,
        pages: PageSize,
        node: Option<NumaNode>,
    ) -> Result<Self, MemoryError> {
        let memory = ElasticMemory::allocate(space, shape.bytes(), pages, node)?;
        let blocks = AtomicU64::new(shape.blocks().0);
        Ok(Self { memory, geometry: geometry(shape), blocks })
    }

    fn blocks(&self) -> Blocks {
        Blocks(self.blocks.load(Acquire))
    }
}

/// Geometry of a disk of that shape.
fn geometry(shape: Shape) -> Geometry {
    let geometry = shape.geometry(REQUEST_BYTES_MAX);
    let turn_blocks_max = shape.blocks_of(TURN_BYTES_MAX);
    Geometry {
        turn_blocks_max,
        discard_blocks_max: turn_blocks_max,
        write_zeroes_blocks_max: turn_blocks_max,
        // Memory has all its blocks.
        operations: OperationLimits {
            verify_blocks_max: geometry.transfer_blocks_max,
            ..OperationLimits::NONE
        },
        ..geometry
    }
}

impl Device for MemoryDevice {
    fn geometry(&self) -> Geometry {
        Geometry { blocks: self.blocks(), ..self.geometry }
    }

    /// Memory comes before blocks, and goes after them: there are never more blocks than memory.
    fn resize(&self, blocks: Blocks) -> Result<(), ResizeError> {
        let bytes = Shape::new(self.geometry.block_bytes, blocks)?.bytes();
        if blocks > self.blocks() {
            self.memory.grow(bytes)?;
            self.blocks.store(blocks.0, Release);
        } else {
            self.blocks.store(blocks.0, Release);
            self.memory.shrink(bytes)?;
        }
        Ok(())
    }

    fn channel_size(&self) -> ChannelSize {
        let blocks = self.blocks();
        ChannelSize { blocks, memory: Some(self.memory.now()) }
    }

    fn nodes(&self) -> NodeAmounts {
        self.memory.now().nodes()
    }

    fn uses_dma(&self) -> bool {
        false
    }

    fn open(&self, _core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        let geometry = self.geometry();
        let disk = Disk { memory: self.memory.now(), block_bytes: geometry.block_bytes };
        Ok(Box::new(ImmediateChannel::new(disk, geometry)))
    }
}

/// A channel's share of the disk.
struct Disk {
    memory: Arc<DmaMemory>,
    block_bytes: u32,
}

impl Disk {
    /// The memory of `blocks` blocks from `lba`; nothing where they are not all on the disk.
    fn blocks(&self, lba: Lba, blocks: u32) -> Option<Span> {
        let offset = lba.0.checked_mul(u64::from(self.block_bytes))?;
        let len = blocks.checked_mul(self.block_bytes)?;
        // SAFETY: the span is used by `execute` and by the channel, which keep `self` and so the memory.
        unsafe { self.memory.span(offset, len) }
    }
}

impl Execute for Disk {
    /// The cache misses of a run overlap. Those of shorter ones overlap with others' in `commit`.
    const AT_ONCE_MIN: usize = 8;

    #[inline]
    fn copy_of(&self, request: &Request<'_>, data: &Span) -> Option<MemoryCopy> {
        let disk = self.blocks(request.lba, request.blocks)?;
        match request.operation {
            Operation::Read => Some(MemoryCopy { from: disk, to: *data }),
            Operation::Write(_) => Some(MemoryCopy { from: *data, to: disk }),
            _ => None,
        }
    }

    fn resize(&mut self, size: &mut ChannelSize) {
        if let Some(memory) = &mut size.memory {
            std::mem::swap(&mut self.memory, memory);
        }
    }

    fn execute(&mut self, request: &Request<'_>) -> Status {
        if request.operation == Operation::Flush {
            return Status::Success;
        }
        let Some(disk) = self.blocks(request.lba, request.blocks) else { return Status::OutOfRange };
        match request.operation {
            Operation::Read => in_step(disk, request.data, |here, to| here.copy_to(to)),
            Operation::Write(_) => in_step(disk, request.data, |here, from| from.copy_to(here)),
            Operation::Discard | Operation::WriteZeroes | Operation::WriteZeroesUnmap => disk.fill(0),
            Operation::Flush | Operation::Verify => {}
            Operation::Compare
            | Operation::CompareAndWrite(_)
            | Operation::WriteUncorrectable
            | Operation::Stepped(_) => {
                return Status::Unsupported;
            }
        }
        Status::Success
    }
}

/// Calls `copy` for every span of `data`, with the piece of the disk that belongs to it.
fn in_step(mut disk: Span, data: &[Span], copy: impl Fn(&Span, &Span) -> usize) {
    for span in data {
        let (here, after) = disk.split_at(span.len());
        copy(&here, span);
        disk = after;
    }
}
