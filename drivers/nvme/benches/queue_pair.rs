//! What the driver itself costs per request: submit, commit and poll against a partner that
//! moves no data. Prints nanoseconds, and the ratio to an empty loop over the same memory.
//!
//! `cargo bench -p luge-nvme`: first with the partner on the same thread (its time not counted),
//! then with the partner on another CPU, where cache lines travel.

use luge_block::{Channel, Completions, Lba, Operation, Request, Tag};
use luge_memory::Span;
use luge_nvme::Options;
use luge_nvme::scripted::{NullPartner, Rig, Script};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: u32 = 200_000;

fn main() {
    for depth in [1, 8, 32, 128] {
        let rig = rig();
        let (mut channel, mut partner) = (rig.channel(), rig.ssd.null_partner(1).expect("queue pair 1"));
        let one = one_request(&rig);
        let ns = alone(&mut *channel, &mut partner, &one, depth);
        let ratio = ns / bare(depth);
        println!("one thread,  depth {depth:3}: {ns:5.1} ns per request, {ratio:.1} times a bare loop");
    }
    for depth in [1, 16, 128] {
        let rig = rig();
        let (mut channel, partner) = (rig.channel(), rig.ssd.null_partner(1).expect("queue pair 1"));
        let one = one_request(&rig);
        let ns = apart(&mut *channel, partner, &one, depth);
        println!("two threads, depth {depth:3}: {ns:5.1} ns per request, {:.1} M/s", 1e3 / ns);
    }
}

fn rig() -> Rig {
    let options = Options { queue_entries: 256, command_timeout: Duration::from_secs(60), ..Rig::options() };
    Rig::with(Script::default(), options).expect("the scripted SSD comes up")
}

fn one_request(rig: &Rig) -> [Span; 1] {
    [rig.buffer(0, 512)]
}

fn submit(channel: &mut dyn Channel, data: &[Span], count: u16) {
    for slot in 0..count {
        let tag = Tag::new(0, slot);
        let request = Request { tag, operation: Operation::Read, lba: Lba(slot.into()), blocks: 1, data };
        black_box(channel.submit(&request)).expect("there is room");
    }
    channel.commit();
}

/// Nanoseconds per request, without the partner's time: the fastest quarter's slowest round, so
/// that what else the machine does is not counted.
fn alone(channel: &mut dyn Channel, partner: &mut NullPartner, data: &[Span], depth: u16) -> f64 {
    let mut done = Completions::default();
    let mut rounds: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS / u32::from(depth) {
        let start = Instant::now();
        submit(channel, data, depth);
        let submitted = start.elapsed();
        partner.serve();
        let start = Instant::now();
        channel.poll(&mut done);
        rounds.push(submitted + start.elapsed());
        assert_eq!(done.as_slice().len(), usize::from(depth));
        done.clear();
    }
    (quartile(rounds) - 2.0 * clock_cost()) / f64::from(depth)
}

/// What no driver can do without: 64 bytes out, 16 bytes in, per request, over as much memory.
fn bare(depth: u16) -> f64 {
    let mut entries = [[0u64; 8]; 256];
    let mut completions = [[0u64; 2]; 256];
    let mut rounds: Vec<Duration> = Vec::new();
    for round in 0..(ROUNDS / u32::from(depth)) as usize {
        let slots = || (0..usize::from(depth)).map(move |i| (round * usize::from(depth) + i) % 256);
        let start = Instant::now();
        slots().for_each(|slot| entries[slot] = black_box([slot as u64; 8]));
        let submitted = start.elapsed();
        slots().for_each(|slot| completions[slot] = black_box([entries[slot][0], 1]));
        let start = Instant::now();
        slots().for_each(|slot| assert_eq!(black_box(completions[slot]), [slot as u64, 1]));
        rounds.push(submitted + start.elapsed());
    }
    (quartile(rounds) - 2.0 * clock_cost()) / f64::from(depth)
}

/// Nanoseconds that reading the clock twice takes.
fn clock_cost() -> f64 {
    quartile((0..10_000).map(|_| Instant::now().elapsed()).collect())
}

/// Nanoseconds of the slowest of the fastest quarter.
fn quartile(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 4].as_secs_f64() * 1e9
}

/// Nanoseconds per request with `depth` in flight all the time.
fn apart(channel: &mut dyn Channel, mut partner: NullPartner, data: &[Span], depth: u16) -> f64 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                partner.serve();
            }
        });
        let (mut done, mut ended) = (Completions::default(), 0);
        let start = Instant::now();
        submit(channel, data, depth);
        while start.elapsed() < Duration::from_millis(700) {
            for _ in 0..64 {
                channel.poll(&mut done);
                let count = done.as_slice().len();
                done.clear();
                ended += count;
                submit(channel, data, u16::try_from(count).expect("at most a queue"));
            }
        }
        let ns = start.elapsed().as_secs_f64() * 1e9 / ended as f64;
        while channel.in_flight() > 0 {
            channel.poll(&mut done);
            done.clear();
        }
        stop.store(true, Ordering::Relaxed);
        ns
    })
}
