//! Every device of this crate against the model of what requests mean.

#![expect(clippy::unwrap_used, reason = "a test ends where something it needs is missing")]

use luge_block::doubles::{Check, Delayed, Failures, Fault, Faulty, check_device};
use luge_block::{Access, Blocks, Caching, Device, FileDevice, MemoryDevice, Shape, Status};
use luge_memory::{DmaSpace, PageSize};
use luge_seeded::fuzz;
use std::path::Path;
use std::sync::Arc;

fn memory(space: &Arc<DmaSpace>, block_bytes: u32, blocks: u64) -> MemoryDevice {
    let shape = Shape::new(block_bytes, Blocks(blocks)).unwrap();
    MemoryDevice::new(space, shape, PageSize::Base, None).unwrap()
}

/// A file of `blocks` blocks in `folder`, served.
fn file(folder: &Path, block_bytes: u32, blocks: u64) -> (FileDevice, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new_in(folder).unwrap();
    file.as_file().set_len(blocks * u64::from(block_bytes)).unwrap();
    (FileDevice::open(file.path(), Some(block_bytes), Access::ReadWrite).unwrap(), file)
}

/// A folder on a file system of a disk, not of memory.
fn on_disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A folder on a file system of memory.
fn in_memory() -> &'static Path {
    Path::new("/dev/shm")
}

#[test]
fn a_memory_disk_does_what_requests_mean() {
    let space = DmaSpace::new();
    for (seed, block_bytes, blocks) in
        [(1, 512, 4096), (2, 512, 1), (3, 4096, 300), (4, 64 << 10, 40), (5, 512, 7)]
    {
        check_device(seed, &memory(&space, block_bytes, blocks), &space);
    }
}

#[test]
fn a_memory_disk_of_several_cores_is_one_disk() {
    let space = DmaSpace::new();
    let device = memory(&space, 512, 1000);
    Check { device: &device, space: &space, cores: 4, steps: 2000, failures: Failures::None }.run(6);
}

#[test]
fn a_file_does_what_requests_mean() {
    let space = DmaSpace::new();
    for (seed, block_bytes, blocks) in [(1, 512, 4096), (2, 4096, 300), (3, 512, 9), (4, 64 << 10, 24)] {
        let (device, _file) = file(on_disk(), block_bytes, blocks);
        check_device(seed, &device, &space);
    }
}

#[test]
fn a_file_in_memory_does_what_requests_mean() {
    let space = DmaSpace::new();
    for (seed, block_bytes, blocks) in [(1, 512, 4096), (2, 4096, 300), (3, 512, 9), (4, 64 << 10, 24)] {
        let (device, _file) = file(in_memory(), block_bytes, blocks);
        assert_eq!(device.caching(), Caching::Memory);
        check_device(seed, &device, &space);
    }
}

#[test]
fn a_file_of_several_cores_is_one_file() {
    let space = DmaSpace::new();
    let (device, _file) = file(on_disk(), 512, 4096);
    Check { device: &device, space: &space, cores: 3, steps: 1500, failures: Failures::None }.run(7);
    if device.caching() == Caching::Direct {
        assert!(device.bounced() > 0, "some requests were not aligned");
    }
    let (device, _file) = file(in_memory(), 512, 4096);
    Check { device: &device, space: &space, cores: 3, steps: 1500, failures: Failures::None }.run(8);
}

#[test]
fn completions_in_another_order_and_later_break_nothing() {
    let space = DmaSpace::new();
    let device = Arc::new(memory(&space, 512, 500));
    for seed in 0..3 {
        check_device(seed, &Delayed::new(device.clone(), seed), &space);
    }
}

#[test]
fn requests_that_fail_have_had_their_effect_or_none() {
    let space = DmaSpace::new();
    let device: Arc<dyn Device> = Arc::new(memory(&space, 512, 500));
    for seed in 0..3 {
        let fault = Fault { blocks: 0..500, per_mille: 200, status: Status::Aborted };
        let device = Faulty::new(device.clone(), seed, &[fault]);
        let check =
            Check { device: &device, space: &space, cores: 2, steps: 1000, failures: Failures::Tolerated };
        check.run(seed);
    }
}

#[test]
fn any_shape_of_memory_disk_does_what_requests_mean() {
    let space = DmaSpace::new();
    fuzz(|random| {
        let seed = random.number();
        let block_bytes = 512 << random.between(0, 4_u32);
        let device = Arc::new(memory(&space, block_bytes, 1 + random.below(400)));
        let device = Delayed::new(device, seed);
        let cores = random.between(1, 4);
        Check { device: &device, space: &space, cores, steps: 300, failures: Failures::None }.run(seed);
    });
}

#[test]
fn any_shape_of_file_does_what_requests_mean() {
    let space = DmaSpace::new();
    fuzz(|random| {
        let seed = random.number();
        let folder = if random.once_in(5) { in_memory() } else { on_disk() };
        let (device, _file) = file(folder, 512 << random.between(0, 4_u32), 1 + random.below(400));
        let cores = random.between(1, 2);
        Check { device: &device, space: &space, cores, steps: 300, failures: Failures::None }.run(seed);
    });
}
