//! Benches on devices that the test plays and on disks that fail, and answers of a guest there.

use super::{Answer, Bench, Setup};
use luge_block::doubles::Scripted;
use luge_block::{Blocks, Device, Geometry, MemoryDevice, Operation, Shape, Status};
use luge_memory::{DmaSpace, PageSize};
use luge_spec::virtio::blk::RequestStatus;
use luge_volume::Volume;
use luge_volume::doubles::{Failing, FailureCount};
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

/// A bench on a disk whose requests end with `status` on demand.
pub fn failing(status: Status) -> (Bench, FailureCount) {
    let (disk, failures) = (Volume::whole(memory_disk(512, 256)), FailureCount::default());
    let failing = Failing::new(Arc::new(disk), failures.clone(), status);
    (Bench::of(Volume::of_composite(Arc::new(failing)), Setup::default(), None), failures)
}

/// The answer to a request that reads nothing.
pub fn ended(status: u8) -> Answer {
    Answer { status, data: vec![], written: 1 }
}

/// Requests that the device has not ended: operation, first block, number of blocks.
pub fn asked(device: &Scripted) -> Vec<(Operation, u64, u32)> {
    device.taken().iter().map(|r| (r.operation, r.lba.0, r.blocks)).collect()
}
