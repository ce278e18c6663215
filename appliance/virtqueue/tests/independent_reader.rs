//! Another reader of split rings, the crate `virtio-queue`, sees what we see.

#![expect(unsafe_code, reason = "a queue is kept while its spans are in use")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_memory::{GuestAddress, Span};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{Batch, Notifications, ResponseLast, RingLayout, SplitQueue};
use virtio_queue::{Queue, QueueT};
use vm_memory::{FileOffset, GuestAddress as TheirAddress, GuestMemoryMmap};

const DATA: u64 = RigMemory::DATA.0;
const TABLE: GuestAddress = GuestAddress(RigMemory::MORE_DATA.0);

/// Memory of the rig, mapped by the crate vm-memory.
fn their_memory(memory: &RigMemory) -> GuestMemoryMmap {
    let ranges = memory.files.iter().map(|(layout, file)| {
        let file = std::fs::File::from(file.try_clone().unwrap());
        let len = usize::try_from(layout.len).unwrap();
        (TheirAddress(layout.guest.0), len, Some(FileOffset::new(file, layout.file_offset)))
    });
    GuestMemoryMmap::from_ranges_with_files(ranges).unwrap()
}

fn their_queue(layout: &RingLayout) -> Queue {
    let halves = |at: GuestAddress| {
        let [low, high] = [at.0 & 0xffff_ffff, at.0 >> 32].map(|half| u32::try_from(half).unwrap());
        (Some(low), Some(high))
    };
    let mut queue = Queue::new(layout.size.get()).unwrap();
    let (low, high) = halves(layout.descriptors);
    queue.set_desc_table_address(low, high);
    let (low, high) = halves(layout.available);
    queue.set_avail_ring_address(low, high);
    let (low, high) = halves(layout.used);
    queue.set_used_ring_address(low, high);
    queue.set_event_idx(true);
    queue.set_ready(true);
    queue
}

fn chains() -> Vec<(Vec<Piece>, Form)> {
    let request = |n: u32| {
        let at = DATA + 4096 * u64::from(n);
        vec![Piece::readable(at, 16), Piece::readable(at + 512, n + 1), Piece::writable(at + 2048, 1)]
    };
    let form = |n| match n % 3 {
        0 => Form::Direct,
        1 => Form::Indirect(GuestAddress(TABLE.0 + 64 * u64::from(n))),
        _ => Form::Mixed(1, GuestAddress(TABLE.0 + 64 * u64::from(n))),
    };
    (0..20).map(|n| (request(n), form(n))).collect()
}

#[test]
fn both_read_the_same_chains() {
    let memory = RigMemory::standard();
    let layout = RigMemory::ring(RigMemory::RINGS.0, 64);
    let mut driver = Driver::new(layout, Notifications::EventIndex, 0, &memory.table);
    for (pieces, form) in chains() {
        driver.add(&pieces, form).unwrap();
    }
    // SAFETY: the queue outlives the batch's use.
    let mut ours =
        unsafe { SplitQueue::new(&layout, Notifications::EventIndex, 0, memory.table.clone()) }.unwrap();
    let mut batch = Batch::<ResponseLast<16, 1>>::new(&layout);
    ours.take(&mut batch, usize::MAX).unwrap();
    let (their_memory, mut theirs) = (their_memory(&memory), their_queue(&layout));
    for at in 0..20 {
        let chain = batch.chain(at).unwrap();
        let their_chain = theirs.pop_descriptor_chain(&their_memory).unwrap();
        assert_eq!(their_chain.head_index(), chain.head.0);
        let lengths = |spans: &[Span]| spans.iter().map(Span::len).collect::<Vec<_>>();
        let their_lengths = |writable| {
            let all = their_chain.clone();
            all.filter(|d| d.is_write_only() == writable).map(|d| d.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(chain.readable), their_lengths(false));
        assert_eq!(lengths(chain.writable), their_lengths(true));
    }
    assert!(theirs.pop_descriptor_chain(&their_memory).is_none());
}

#[test]
fn what_the_other_device_uses_our_driver_takes_and_goes_on_with_us() {
    let memory = RigMemory::standard();
    let layout = RigMemory::ring(RigMemory::RINGS.0, 16);
    let mut driver = Driver::new(layout, Notifications::EventIndex, 0, &memory.table);
    let (their_memory, mut theirs) = (their_memory(&memory), their_queue(&layout));
    let head = driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    let their_head = theirs.pop_descriptor_chain(&their_memory).unwrap().head_index();
    theirs.add_used(&their_memory, their_head, 7).unwrap();
    assert_eq!(driver.take_used(), Some((head, 7)));
    let base = theirs.next_avail();
    // SAFETY: the queue outlives the batch's use.
    let mut ours =
        unsafe { SplitQueue::new(&layout, Notifications::EventIndex, base, memory.table.clone()) }.unwrap();
    let mut batch = Batch::<ResponseLast<16, 1>>::new(&layout);
    let head = driver.add(&[Piece::readable(DATA, 1)], Form::Direct).unwrap();
    ours.take(&mut batch, usize::MAX).unwrap();
    assert_eq!(batch.chain(0).unwrap().head, head);
    ours.complete(head, 9);
    assert!(ours.publish());
    assert_eq!(driver.take_used(), Some((head, 9)));
}
