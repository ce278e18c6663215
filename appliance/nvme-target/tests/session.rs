//! Commands of one queue, each with what it answers.

mod rig;

use luge_block::{Blocks, Device, MemoryDevice, Shape};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_spec::nvme::StatusCode;
use luge_virtqueue::rig::RigMemory;
use rig::{Bench, read, write};
use std::sync::Arc;

const DATA: u64 = RigMemory::DATA.0;

fn memory(blocks: u64) -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(blocks)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

#[test]
fn what_was_written_is_read() {
    let mut bench = Bench::new(memory(64));
    bench.memory.write(GuestAddress(DATA), &[7; 1024]);
    assert_eq!(bench.status(write(3, 2, DATA)), StatusCode::SUCCESS);
    assert_eq!(bench.status(read(3, 2, DATA + 0x2000)), StatusCode::SUCCESS);
    assert_eq!(bench.memory.bytes(GuestAddress(DATA + 0x2000), 1024), [7; 1024]);
}
