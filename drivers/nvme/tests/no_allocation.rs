//! Allocations on the path of a request: none, also for requests that are bounced or refused.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use luge_block::{Channel, Completions, Durability, Lba, Operation, Request, Tag};
use luge_measure::CountingAllocator;
use luge_memory::Span;
use luge_nvme::scripted::{Rig, Script};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Number of allocations and deallocations of this thread during `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = luge_measure::allocations();
    work();
    luge_measure::allocations() - before
}

fn submit_all(channel: &mut dyn Channel, buffers: &[Vec<Span>]) {
    let operations = [
        Operation::Read,
        Operation::Write(Durability::Media),
        Operation::Flush,
        Operation::Discard,
        Operation::WriteZeroes,
        Operation::WriteZeroesUnmap,
    ];
    for (slot, (data, operation)) in buffers.iter().zip(operations.into_iter().cycle()).enumerate() {
        let moves = matches!(operation, Operation::Read | Operation::Write(_));
        let blocks = data.iter().map(Span::len).sum::<u32>() / 512;
        let tag = Tag::new(0, u16::try_from(slot).unwrap());
        let data: &[Span] = if moves { data } else { &[] };
        let _ = channel.submit(&Request { tag, operation, lba: Lba(0), blocks, data });
    }
    channel.commit();
}

#[test]
fn submit_commit_and_poll_allocate_nothing() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    // Bounced, listed and plain ones; more than the queue has room for.
    let buffers: Vec<Vec<Span>> = (0..20)
        .map(|i| vec![rig.buffer(i * 65536 + i % 3, 16384), rig.buffer(i * 65536 + 32768, 16384)])
        .collect();
    let mut done = Completions::default();
    let mut ended = 0;
    for _ in 0..50 {
        assert_eq!(allocations(|| submit_all(&mut *channel, &buffers)), 0);
        rig.ssd.step();
        assert_eq!(allocations(|| channel.poll(&mut done)), 0);
        ended += done.as_slice().len();
        done.clear();
    }
    assert!(ended >= 50 * 10, "{ended}");
    assert!(rig.controller.bounced() > 100, "{ended}");
}
