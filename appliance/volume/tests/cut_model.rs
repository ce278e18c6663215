//! Requests beyond the limits of a volume's base, by seed: the volume is a device like any other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test uses a part of it")]
mod as_device;

use as_device::AsDevice;
use luge_block::doubles::{Check, Delayed, Failures, Fault, Faulty, Narrow};
use luge_block::{Access, Blocks, Device, FileDevice, Geometry, Lba, MemoryDevice, Shape, Status};
use luge_memory::{DmaSpace, PageSize};
use luge_seeded::{Random, fuzz};
use luge_volume::doubles::{Delay, Delaying, Failing, FailureCount, Mirror};
use luge_volume::{Composite, Volume};
use std::sync::Arc;

const BYTES: u64 = 1 << 20;

fn disk(space: &Arc<DmaSpace>, block_bytes: u32) -> Arc<dyn Device> {
    let shape = Shape::new(block_bytes, Blocks(BYTES / u64::from(block_bytes))).unwrap();
    Arc::new(MemoryDevice::new(space, shape, PageSize::Base, None).unwrap())
}

/// A device with limits and a depth by chance, as low as they can be.
fn narrow(device: Arc<dyn Device>, random: &mut Random) -> Arc<dyn Device> {
    let limits = Geometry {
        transfer_blocks_max: random.between(1, 5),
        spans_max: random.between(1, 4),
        discard_blocks_max: random.between(1, 5),
        write_zeroes_blocks_max: random.between(1, 5),
        ..device.geometry()
    };
    Arc::new(Narrow::new(device, limits, random.between(1, 20)))
}

fn whole(device: Arc<dyn Device>) -> Arc<Volume> {
    Arc::new(Volume::whole(device))
}

fn composite(composite: impl Composite + 'static) -> Arc<Volume> {
    Arc::new(Volume::of_composite(Arc::new(composite)))
}

/// Checks by random requests of up to 16 blocks in up to 24 pieces that a volume does what they mean.
fn check(space: &Arc<DmaSpace>, volume: Arc<Volume>, seed: u64, failures: Failures) {
    let device = AsDevice::wide(volume, 48, 600);
    Check { device: &device, space, cores: 2, steps: 300, failures }.run(seed);
}

fn block_bytes(random: &mut Random) -> u32 {
    if random.once_in(2) { 512 } else { 4096 }
}

#[test]
fn requests_in_parts_do_what_they_mean_while_parts_end_in_any_order() {
    fuzz(|random| {
        let (space, seed) = (DmaSpace::new(), random.number());
        let slow = Arc::new(Delayed::new(disk(&space, block_bytes(random)), seed));
        let volume = whole(narrow(slow, random));
        let part = Arc::new(volume.part(Lba(7), Blocks(200)).unwrap());
        check(&space, if random.once_in(2) { volume } else { part }, seed, Failures::None);
    });
}

#[test]
fn requests_whose_parts_fail_fail_and_the_others_are_not_touched() {
    fuzz(|random| {
        let (space, seed) = (DmaSpace::new(), random.number());
        let some = Fault { blocks: 0..BYTES, per_mille: 50, status: Status::MediaError };
        let faulty = Arc::new(Faulty::new(disk(&space, 512), seed, &[some]));
        check(&space, whole(narrow(faulty, random)), seed, Failures::Tolerated);
    });
}

#[test]
fn parts_go_through_nodes_and_are_cut_again_beneath_them() {
    fuzz(|random| {
        let (space, seed) = (DmaSpace::new(), random.number());
        let mut leg = |seed| whole(narrow(Arc::new(Delayed::new(disk(&space, 512), seed)), random));
        let slow = composite(Delaying::new(leg(seed), Delay::default()));
        let fine =
            composite(Failing::new(leg(seed.wrapping_add(1)), FailureCount::default(), Status::MediaError));
        let mirror = composite(Mirror::new([slow, fine]));
        let outer = composite(Delaying::new(mirror, Delay::default()));
        check(&space, outer, seed, Failures::None);
    });
}

#[test]
fn files_take_blocks_in_any_number_of_pieces() {
    for folder in [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"] {
        let file = tempfile::NamedTempFile::new_in(folder).unwrap();
        file.as_file().set_len(BYTES).unwrap();
        let device = FileDevice::open(file.path(), Some(512), Access::ReadWrite).unwrap();
        assert!(device.geometry().spans_max < 300, "a block of 300 pieces is no test in {folder}");
        let wide = AsDevice::wide(whole(Arc::new(device)), 48, 600);
        Check { device: &wide, space: &DmaSpace::new(), cores: 1, steps: 100, failures: Failures::None }
            .run(1);
    }
}
