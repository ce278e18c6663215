//! Time of the driver for a request: submission and completion, with a partner that moves no data, and as a
//! multiple of the time of a bare loop over the same memory.
//!
//! `cargo bench -p luge-nvme --bench queue_pair`: first with the partner on the same thread, whose time is not
//! counted, then with the partner on another CPU, so that cache lines travel.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use luge_block::{
    Channel, CheckedTransfer, Completions, Device, Lba, Operation, Request, Tag, TransferExtent,
};
use luge_memory::Span;
use luge_nvme::Options;
use luge_nvme::scripted::{NullPartner, Rig, Script};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Number of requests of one call of the channel, as in a turn of a session.
const BATCH: usize = 32;

fn main() {
    luge_measure::time(|criterion| {
        [1, 32, 128].into_iter().for_each(|depth| alone(criterion, depth));
        [1, 16, 128].into_iter().for_each(|depth| apart(criterion, depth));
    });
}

/// Makes a queue pair and its partner.
fn rig() -> (Rig, Box<dyn Channel>, NullPartner) {
    let options = Options { queue_entries: 256, command_timeout: Duration::from_secs(60), ..Rig::options() };
    let rig = Rig::with(Script::default(), options).expect("the scripted SSD comes up");
    let (channel, partner) = (rig.channel(), rig.ssd.null_partner(1).expect("queue pair 1"));
    (rig, channel, partner)
}

fn reads<'a>(rig: &Rig, data: &'a [Span], depth: u16) -> Vec<CheckedTransfer<'a>> {
    let geometry = rig.controller.namespaces()[0].geometry();
    let extent = TransferExtent::new(&geometry, Lba(0), geometry.blocks);
    let read = |slot| {
        let (tag, lba) = (Tag::new(0, slot), Lba(slot.into()));
        let request = Request { tag, operation: Operation::Read, lba, blocks: 1, data };
        extent.check(&request, tag).expect("one that the SSD takes")
    };
    (0..depth).map(read).collect()
}

fn submit(channel: &mut dyn Channel, requests: &[CheckedTransfer<'_>]) {
    for batch in requests.chunks(BATCH) {
        let (taken, refusal) = channel.submit_all(black_box(batch));
        assert_eq!(taken, batch.len(), "{refusal:?}");
    }
    channel.commit();
}

/// Measures submission, completion and the bare loop, with the partner on the same thread.
fn alone(criterion: &mut Criterion, depth: u16) {
    let (rig, mut channel, mut partner) = rig();
    let data = [rig.buffer(0, 512)];
    let requests = reads(&rig, &data, depth);
    let clock = clock_cost();
    let mut group = criterion.benchmark_group(format!("one thread, depth {depth}"));
    group.throughput(Throughput::Elements(depth.into()));
    let out = measure(&mut group, "submit and commit", |rounds| {
        let time = (0..rounds).map(|_| round(&mut *channel, &mut partner, &requests).0).sum::<Duration>();
        time.saturating_sub(clock.mul_f64(rounds as f64))
    });
    let back = measure(&mut group, "poll", |rounds| {
        let time = (0..rounds).map(|_| round(&mut *channel, &mut partner, &requests).1).sum::<Duration>();
        time.saturating_sub(clock.mul_f64(rounds as f64))
    });
    let bare = measure(&mut group, "bare loop", |rounds| bare(rounds, depth));
    group.finish();
    let (ns, ratio) = ((out + back) / f64::from(depth), (out + back) / bare);
    println!("one thread, depth {depth}: {ns:.1} ns per request, {ratio:.2} times the bare loop\n");
}

/// Adds a benchmark; returns the nanoseconds of a round, as the lower quartile of its samples: other work of the
/// machine makes samples slower, never faster.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut rounds: impl FnMut(u64) -> Duration,
) -> f64 {
    let mut samples = vec![];
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let time = rounds(count);
            samples.push(time.as_secs_f64() * 1e9 / count as f64);
            time
        });
    });
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 4).copied().unwrap_or(f64::NAN)
}

/// Time of submitting and committing the requests, and time of polling their completions.
fn round(
    channel: &mut dyn Channel,
    partner: &mut NullPartner,
    requests: &[CheckedTransfer<'_>],
) -> (Duration, Duration) {
    let mut done = Completions::default();
    let start = Instant::now();
    submit(channel, requests);
    let submitted = start.elapsed();
    partner.serve();
    let start = Instant::now();
    channel.poll(&mut done);
    let polled = start.elapsed();
    assert_eq!(done.as_slice().len(), requests.len());
    (submitted, polled)
}

/// Time of the least that a driver has to do: to store 64 bytes and load 16 bytes for each request.
fn bare(rounds: u64, depth: u16) -> Duration {
    let (depth, mut first) = (usize::from(depth), 0);
    let (mut entries, mut completions) = ([[0u64; 8]; 256], [[0u64; 2]; 256]);
    let mut time = Duration::ZERO;
    for _ in 0..rounds {
        let slots = || (first..first + depth).map(|slot| slot % 256);
        let start = Instant::now();
        slots().for_each(|slot| entries[slot] = black_box([slot as u64; 8]));
        time += start.elapsed();
        slots().for_each(|slot| completions[slot] = black_box([entries[slot][0], 1]));
        let start = Instant::now();
        slots().for_each(|slot| assert_eq!(black_box(completions[slot]), [slot as u64, 1]));
        time += start.elapsed();
        first = (first + depth) % 256;
    }
    time.saturating_sub(2 * clock_cost().mul_f64(rounds as f64))
}

/// Time of reading the clock twice.
fn clock_cost() -> Duration {
    let mut times: Vec<Duration> = (0..10_000).map(|_| Instant::now().elapsed()).collect();
    times.sort_unstable();
    times[times.len() / 4]
}

/// Measures whole requests, of which `depth` are always in flight, with the partner on another thread.
fn apart(criterion: &mut Criterion, depth: u16) {
    let (rig, mut channel, mut partner) = rig();
    let data = [rig.buffer(0, 512)];
    let requests = reads(&rig, &data, depth);
    let stop = AtomicBool::new(false);
    let mut group = criterion.benchmark_group(format!("two threads, depth {depth}"));
    group.throughput(Throughput::Elements(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                partner.serve();
            }
        });
        group.bench_function("request", |bencher| {
            bencher.iter_custom(|count| exchange(&mut *channel, &requests, count));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

/// Time of `count` requests. As many are in flight as there are in `requests`.
fn exchange(channel: &mut dyn Channel, requests: &[CheckedTransfer<'_>], count: u64) -> Duration {
    let (mut done, mut ended) = (Completions::default(), 0);
    let start = Instant::now();
    submit(channel, requests);
    while ended < count {
        ended += take(channel, &mut done, |channel, free| submit(channel, &requests[..free]));
    }
    let time = start.elapsed();
    while channel.in_flight() > 0 {
        take(channel, &mut done, |_, _| {});
    }
    time
}

/// Takes completions, and calls `then` with their number if there are some; returns it.
fn take(
    channel: &mut dyn Channel,
    done: &mut Completions,
    then: impl FnOnce(&mut dyn Channel, usize),
) -> u64 {
    channel.poll(done);
    let count = done.as_slice().len();
    done.clear();
    if count > 0 {
        then(channel, count);
    }
    count as u64
}
