//! Time of a core for a request: turns of a session on a null device, with the ring in the core's cache; the
//! ring reader alone; and for comparison the crate `virtio-queue`, which only walks the descriptors.
//!
//! `cargo bench -p luge-vhost --bench turn`. Times are for all requests in flight.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use criterion::{BenchmarkGroup, Throughput, measurement::WallTime};
use luge_block::{Blocks, NullDevice, Shape};
use luge_memory::GuestAddress;
use luge_seeded::Random;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use luge_virtqueue::{Batch, Notifications, ResponseLast, SplitQueue};
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

/// Properties of the requests.
#[derive(Clone, Copy)]
struct Requests {
    /// Whether the descriptors are in an indirect table.
    indirect: bool,
    /// Whether half of them write, at random.
    mixed: bool,
}

/// Fills the ring with requests of three descriptors.
fn fill(bench: &mut Bench, requests: Requests, random: &mut Random) {
    for n in 0..DEPTH {
        let table = GuestAddress(RigMemory::FAR_DATA.0 + 64 * u64::from(n));
        let form = if requests.indirect { Form::Indirect(table) } else { Form::Direct };
        let writes = requests.mixed && random.once_in(2);
        let sector = u64::from(n) * 7;
        let ask = if writes { Ask::write(sector, &[0; 512]) } else { Ask::read(sector, 512) };
        bench.send_as(&ask, |[header, _], [at, _]| {
            let (data, status) = if writes { (header + 16, at) } else { (at, at + 512) };
            let data = Piece { at: GuestAddress(data), len: 512, writable: !writes };
            (vec![Piece::readable(header, 16), data, Piece::writable(status, 1)], form)
        });
    }
}

/// Measures what `round` says it took.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut round: impl FnMut() -> Duration) {
    group.bench_function(name, |bencher| bencher.iter_custom(|times| (0..times).map(|_| round()).sum()));
}

fn turns(requests: Requests) -> impl FnMut() -> Duration {
    let (mut bench, mut random) = (bench(), Random::new(1));
    move || {
        fill(&mut bench, requests, &mut random);
        let start = Instant::now();
        while bench.turn() > 0 {}
        let spent = start.elapsed();
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, DEPTH as usize);
        spent
    }
}

/// Taking the same chains off the ring and giving them back, without a session.
fn ring_alone(requests: Requests) -> impl FnMut() -> Duration {
    let (mut bench, mut random) = (bench(), Random::new(1));
    let layout = RigMemory::ring(RigMemory::RINGS.0, 1024);
    let mut batch = Batch::<ResponseLast<16, 1>>::new(&layout);
    let (events, memory) = (Notifications::EventIndex, bench.memory.table.clone());
    // SAFETY: the queue outlives the batch's use.
    #[expect(unsafe_code, reason = "a queue is kept while its spans are in use")]
    let mut queue = unsafe { SplitQueue::new(&layout, events, 0, memory) }.unwrap();
    move || {
        fill(&mut bench, requests, &mut random);
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
    }
}

/// Walking the same chains with the other crate, without any checks of what they mean.
fn other_walk(requests: Requests) -> impl FnMut() -> Duration {
    let (mut bench, mut random) = (bench(), Random::new(1));
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
    move || {
        fill(&mut bench, requests, &mut random);
        let start = Instant::now();
        while let Some(chain) = queue.pop_descriptor_chain(&memory) {
            let head = chain.head_index();
            black_box(chain.map(|descriptor| descriptor.len()).sum::<u32>());
            queue.add_used(&memory, head, 1).unwrap();
        }
        let spent = start.elapsed();
        while bench.driver.take_used().is_some() {}
        spent
    }
}

fn main() {
    luge_measure::time(|criterion| {
        let reads = Requests { indirect: false, mixed: false };
        for (name, requests) in [
            ("reads, three descriptors", reads),
            ("reads, an indirect table", Requests { indirect: true, ..reads }),
            ("reads and writes, three descriptors", Requests { mixed: true, ..reads }),
        ] {
            let mut group = criterion.benchmark_group(format!("{DEPTH} {name}"));
            group.throughput(Throughput::Elements(DEPTH.into()));
            measure(&mut group, "from ring to used ring", turns(requests));
            measure(&mut group, "the ring alone", ring_alone(requests));
            measure(&mut group, "the crate virtio-queue, the walk alone", other_walk(requests));
            group.finish();
        }
    });
}
