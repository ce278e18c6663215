//! Nothing allocates on the data path: requests of every kind, wrong ones too, in every layout,
//! once the session is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, MemoryDevice, Shape};
use luge_core::Session;
use luge_measure::{CountingAllocator, allocations};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_spec::virtio::Features;
use luge_spec::virtio::blk::RequestType;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::{Ask, Bench, Setup};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn asks() -> Vec<Ask> {
    let ranges: Vec<_> = (0..32).map(|n| (n * 8, 8, 0)).collect();
    vec![
        Ask::read(0, 4096),
        Ask::read(3, 3 << 20 >> 3),
        Ask::write(8, &[7; 4096]),
        Ask::write(1, &[7; 100]),
        Ask::read(u64::MAX, 512),
        Ask::flush(),
        Ask::get_id(20),
        Ask::ranges(RequestType::DISCARD, &ranges),
        Ask::ranges(RequestType::WRITE_ZEROES, &ranges),
        Ask::ranges(RequestType(77.into()), &[]),
    ]
}

/// Calls of the allocator while a core serves all requests in the ring.
fn asked_while_serving(bench: &mut Bench) -> u64 {
    let before = allocations();
    while bench.turn() > 0 || bench.session.in_flight() > 0 {
        let _ = bench.session.arm();
        bench.session.disarm();
    }
    allocations() - before
}

#[test]
fn serving_allocates_nothing() {
    for declined in [Features::default(), Features::BLK_FLUSH, Features::RING_EVENT_IDX] {
        let shape = Shape::new(512, Blocks(8192)).unwrap();
        let device = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
        let setup = Setup { size: 256, declined, ..Setup::default() };
        let mut bench = Bench::with(Arc::new(device), setup);
        for round in 0..50 {
            for ask in asks() {
                bench.send(&ask);
            }
            // A table of its own for the indirect one; a buffer that is not there; no status.
            let table = GuestAddress(RigMemory::FAR_DATA.0);
            let pieces = [Piece::readable(RigMemory::DATA.0, 16), Piece::writable(RigMemory::DATA.0, 513)];
            assert!(bench.driver.add(&pieces, Form::Indirect(table)).is_some());
            assert!(bench.driver.add(&[Piece::writable(1, 1)], Form::Direct).is_some());
            assert!(bench.driver.add(&[Piece::readable(RigMemory::DATA.0, 16)], Form::Direct).is_some());
            assert_eq!(asked_while_serving(&mut bench), 0, "round {round}");
            let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
            assert_eq!(answered, asks().len() + 3);
        }
    }
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(Box::new(std::hint::black_box(1)));
    assert_eq!(allocations() - before, 2);
}
