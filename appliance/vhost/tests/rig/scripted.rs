//! Benches on devices that the test plays, and what a guest is answered there.

use super::{Answer, Bench, Setup};
use luge_block::doubles::Scripted;
use luge_block::{Blocks, Device, Geometry, MemoryDevice, Operation, Shape};
use luge_memory::{DmaSpace, PageSize};
use luge_spec::virtio::blk::RequestStatus;
use std::sync::Arc;

pub const OK: u8 = RequestStatus::OK.0;
pub const IOERR: u8 = RequestStatus::IOERR.0;
pub const UNSUPP: u8 = RequestStatus::UNSUPP.0;

/// A disk in memory.
pub fn memory_disk(block_bytes: u32, blocks: u64) -> Arc<dyn Device> {
    let shape = Shape::new(block_bytes, Blocks(blocks)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

pub fn scripted(geometry: Geometry) -> (Bench, Scripted) {
    scripted_with(geometry, 64, Setup::default())
}

pub fn scripted_with(geometry: Geometry, room: usize, setup: Setup) -> (Bench, Scripted) {
    let device = Scripted::new(geometry, room);
    (Bench::with(Arc::new(device.clone()), setup), device)
}

/// The answer to a request that reads nothing.
pub fn ended(status: u8) -> Answer {
    Answer { status, data: vec![], written: 1 }
}

/// Requests that the device has not ended: operation, first block, number of blocks.
pub fn asked(device: &Scripted) -> Vec<(Operation, u64, u32)> {
    device.taken().iter().map(|r| (r.operation, r.lba.0, r.blocks)).collect()
}
