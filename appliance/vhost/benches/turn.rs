//! What a core spends on a request: the turns of a session on a null device, with the ring in
//! the same core's cache. Printed as nanoseconds, and as a ratio to what the crate
//! `virtio-queue` spends on walking the same descriptors and nothing else.
//!
//! Machines differ and other work disturbs: the best of many rounds counts. `LUGE_BENCH_ROUNDS`
//! says how many, for tools under which everything is slow.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use luge_block::{Blocks, NullDevice, Shape};
use luge_memory::GuestAddress;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use luge_virtqueue::{Batch, Notifications, SplitQueue};
use rig::{Ask, Bench, Setup};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use virtio_queue::{Queue, QueueT};
use vm_memory::{FileOffset, GuestMemoryMmap};

const DEPTH: u32 = 128;

fn bench() -> Bench {
    let device = NullDevice::new(Shape::new(512, Blocks(1 << 20)).unwrap());
    Bench::with(Arc::new(device), Setup { size: 1024, ..Setup::default() })
}

/// Fills the ring with reads of three descriptors, or of one and a table.
fn fill(bench: &mut Bench, indirect: bool) {
    for n in 0..DEPTH {
        let table = GuestAddress(RigMemory::FAR_DATA.0 + 64 * u64::from(n));
        let form = if indirect { Form::Indirect(table) } else { Form::Direct };
        let ask = Ask::read(u64::from(n) * 7, 512);
        bench.send_as(&ask, |[header, _], [data, _]| {
            let pieces =
                [Piece::readable(header, 16), Piece::writable(data, 512), Piece::writable(data + 512, 1)];
            (pieces.to_vec(), form)
        });
    }
}

/// The best round's nanoseconds per request.
fn best(mut round: impl FnMut() -> Duration) -> f64 {
    let rounds = std::env::var("LUGE_BENCH_ROUNDS").map_or(20_000, |rounds| rounds.parse().unwrap());
    let best = (0..rounds).map(|_| round()).min().unwrap();
    best.as_secs_f64() * 1e9 / f64::from(DEPTH)
}

fn turns(indirect: bool) -> f64 {
    let mut bench = bench();
    best(|| {
        fill(&mut bench, indirect);
        let start = Instant::now();
        while bench.turn() > 0 {}
        let spent = start.elapsed();
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, DEPTH as usize);
        spent
    })
}

/// Taking the same chains off the ring and giving them back, without a session.
fn ring_alone(indirect: bool) -> f64 {
    let mut bench = bench();
    let layout = RigMemory::ring(RigMemory::RINGS.0, 1024);
    let mut batch = Batch::new(&layout);
    let (events, memory) = (Notifications::EventIndex, bench.memory.table.clone());
    // SAFETY: the queue outlives the batch's use.
    #[expect(unsafe_code, reason = "a queue is kept while its spans are in use")]
    let mut queue = unsafe { SplitQueue::new(&layout, events, 0, memory) }.unwrap();
    best(|| {
        fill(&mut bench, indirect);
        let start = Instant::now();
        for _ in 0..DEPTH / 64 {
            queue.take(&mut batch, 64).unwrap();
            for at in 0..batch.len() {
                let head = black_box(batch.chain(at).unwrap()).head;
                queue.complete(head, 1);
            }
            let _ = queue.publish();
        }
        let spent = start.elapsed();
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, DEPTH as usize);
        spent
    })
}

/// Walking the same chains with the other crate, without any checks of what they mean.
fn other_walk(indirect: bool) -> f64 {
    let mut bench = bench();
    let layout = RigMemory::ring(RigMemory::RINGS.0, 1024);
    let ranges = bench.memory.files.iter().map(|(layout, file)| {
        let file = FileOffset::new(std::fs::File::from(file.try_clone().unwrap()), 0);
        (vm_memory::GuestAddress(layout.guest.0), usize::try_from(layout.len).unwrap(), Some(file))
    });
    let memory: GuestMemoryMmap = GuestMemoryMmap::from_ranges_with_files(ranges).unwrap();
    let mut queue = Queue::new(1024).unwrap();
    queue.try_set_desc_table_address(vm_memory::GuestAddress(layout.descriptors.0)).unwrap();
    queue.try_set_avail_ring_address(vm_memory::GuestAddress(layout.available.0)).unwrap();
    queue.try_set_used_ring_address(vm_memory::GuestAddress(layout.used.0)).unwrap();
    queue.set_ready(true);
    best(|| {
        fill(&mut bench, indirect);
        let start = Instant::now();
        while let Some(chain) = queue.pop_descriptor_chain(&memory) {
            let head = chain.head_index();
            black_box(chain.map(|descriptor| descriptor.len()).sum::<u32>());
            queue.add_used(&memory, head, 1).unwrap();
        }
        let spent = start.elapsed();
        while bench.driver.take_used().is_some() {}
        spent
    })
}

fn main() {
    for (name, indirect) in [("three descriptors", false), ("an indirect table", true)] {
        let (whole, ring, other) = (turns(indirect), ring_alone(indirect), other_walk(indirect));
        println!(
            "{name}: a whole request {whole:.1} ns, its ring alone {ring:.1} ns, virtio-queue's walk {other:.1} ns; \
             ratios to the last {:.2} and {:.2}",
            whole / other,
            ring / other
        );
    }
}
