//! Nothing allocates on the data path: every request of every kind, after the channel is open.

#![expect(unsafe_code, reason = "spans of this test's own memory")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::{
    Access, Blocks, Channel, Completions, CoreId, Device, Durability, FileDevice, Lba, MemoryDevice,
    NullDevice, Operation, Refusal, Request, Shape, Status, Tag,
};
use luge_measure::CountingAllocator;
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const OPERATIONS: [Operation; 7] = [
    Operation::Read,
    Operation::Write(Durability::Cache),
    Operation::Write(Durability::Media),
    Operation::Flush,
    Operation::Discard,
    Operation::WriteZeroes,
    Operation::WriteZeroesUnmap,
];

/// Fills the channel with requests of one kind, some of them refused, and waits for them.
/// Returns how many were completed.
fn fill(channel: &mut dyn Channel, operation: Operation, data: &[Span], done: &mut Completions) -> usize {
    let data = if operation.moves_data() { data } else { &[] };
    let (mut completed, mut slot) = (0, 0);
    loop {
        let request = Request { tag: Tag::new(0, slot), operation, lba: Lba(1), blocks: 2, data };
        match channel.submit(&request) {
            Ok(()) => slot += 1,
            Err(Refusal::Full) => break,
            Err(Refusal::Failed(status)) => {
                assert_eq!(status, Status::Unsupported);
                break;
            }
        }
    }
    let past_the_end = Request { tag: Tag::default(), operation, lba: Lba(u64::MAX), blocks: 2, data };
    if operation != Operation::Flush {
        assert!(matches!(channel.submit(&past_the_end), Err(Refusal::Failed(_))));
    }
    channel.commit();
    let deadline = Instant::now() + Duration::from_secs(20);
    while channel.in_flight() > 0 && Instant::now() < deadline {
        channel.poll(done);
        assert!(done.as_slice().iter().all(|completion| completion.status() == Status::Success));
        completed += done.as_slice().len();
        done.clear();
    }
    completed
}

fn allocations(device: &dyn Device) -> u64 {
    let memory = DmaMemory::allocate(&DmaSpace::new(), 8192, PageSize::Base, None).unwrap();
    // SAFETY: `memory` outlives the channel.
    let span = |offset, len| unsafe { memory.span(offset, len) }.unwrap();
    let (aligned, odd) = ([span(0, 1024)], [span(4097, 1), span(5000, 1023)]);
    let mut done = Completions::default();
    let mut channel = device.open(CoreId(0)).unwrap();
    let before = luge_measure::allocations();
    for operation in OPERATIONS {
        for data in [&aligned[..], &odd[..]] {
            let completed = fill(channel.as_mut(), operation, data, &mut done);
            assert!(completed > 1 || operation == Operation::Discard, "{operation:?}");
        }
    }
    luge_measure::allocations() - before
}

fn file_in(folder: &Path) -> u64 {
    let file = tempfile::NamedTempFile::new_in(folder).unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    allocations(&FileDevice::open(file.path(), Some(512), Access::ReadWrite).unwrap())
}

#[test]
fn the_counter_counts() {
    let before = luge_measure::allocations();
    drop(Box::new(1));
    assert_eq!(luge_measure::allocations() - before, 2);
}

#[test]
fn no_device_allocates_once_its_channel_is_open() {
    let shape = Shape::new(512, Blocks(2048)).unwrap();
    assert_eq!(allocations(&NullDevice::new(shape)), 0);
    assert_eq!(allocations(&MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap()), 0);
    assert_eq!(file_in(Path::new(env!("CARGO_TARGET_TMPDIR"))), 0);
    assert_eq!(file_in(Path::new("/dev/shm")), 0);
}
