//! How many instructions a request takes, from the guest's ring to its used ring: counted by
//! callgrind over a fixed trace, because a count does not wobble with the machine's mood.
//!
//! The counts of the tree are kept in `instructions.txt`, and a run shows what has changed
//! since: `cargo bench -p luge-vhost --bench instructions` (`-- --keep` keeps the new ones).

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use luge_block::{Blocks, Device, MemoryDevice, NullDevice, Shape};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::{Ask, Bench, Setup};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const DEPTH: u32 = 128;
const ROUNDS: u32 = 200;
/// What the file of counts is called, beside this one.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// Our own argument: under callgrind, run this trace.
const TRACE: &str = "--trace";

/// The traces: a name, the form of the descriptors, whether the device has memory.
const TRACES: [(&str, bool, bool); 3] = [
    ("null device, three descriptors", false, false),
    ("null device, indirect table", true, false),
    ("memory device, three descriptors", false, true),
];

fn device(memory: bool) -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(1 << 14)).unwrap();
    if memory {
        Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
    } else {
        Arc::new(NullDevice::new(shape))
    }
}

/// Fills the ring with reads of 512 bytes, from blocks all over the disk.
fn fill(bench: &mut Bench, round: u32, indirect: bool) {
    for n in 0..DEPTH {
        let table = GuestAddress(RigMemory::FAR_DATA.0 + 64 * u64::from(n));
        let form = if indirect { Form::Indirect(table) } else { Form::Direct };
        let ask = Ask::read(u64::from((round * DEPTH + n) * 2_654_435 % (1 << 14)), 512);
        bench.send_as(&ask, |[header, _], [data, _]| {
            let pieces =
                [Piece::readable(header, 16), Piece::writable(data, 512), Piece::writable(data + 512, 1)];
            (pieces.to_vec(), form)
        });
    }
}

/// What is counted, and nothing else is.
#[inline(never)]
fn counted(bench: &mut Bench) {
    while bench.turn() > 0 {}
}

fn run(indirect: bool, memory: bool) {
    let mut bench = Bench::with(device(memory), Setup { size: 1024, ..Setup::default() });
    for round in 0..ROUNDS {
        fill(&mut bench, round, indirect);
        counted(&mut bench);
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, DEPTH as usize);
    }
}

/// The instructions of a request of trace `index`; none where there is no callgrind.
fn count(index: usize) -> Option<u64> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
    valgrind.arg("--toggle-collect=instructions::counted*");
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(std::env::current_exe().unwrap()).args([TRACE, &index.to_string()]);
    assert!(valgrind.status().ok()?.success(), "{valgrind:?}");
    let report = std::fs::read_to_string(out).unwrap();
    let total = report.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    Some(total.trim().parse::<u64>().unwrap() / u64::from(ROUNDS * DEPTH))
}

/// The count that is kept for a trace.
fn kept(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once(": ")?.1.parse().ok().filter(|_| line.starts_with(name)))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == TRACE) {
        let (_, indirect, memory) = TRACES[arguments[at + 1].parse::<usize>().unwrap()];
        return run(indirect, memory);
    }
    let before = std::fs::read_to_string(KEPT).unwrap_or_default();
    let mut now = String::new();
    println!("instructions per request (512-byte read, depth {DEPTH})    before    now");
    for (index, (name, ..)) in TRACES.iter().enumerate() {
        let Some(count) = count(index) else {
            return println!("valgrind is missing: apt-get install valgrind");
        };
        let old = kept(&before, name).map_or("-".to_owned(), |old| old.to_string());
        println!("{name:<54}{old:>8}{count:>7}");
        writeln!(now, "{name}: {count}").unwrap();
    }
    if arguments.iter().any(|argument| argument == "--keep") || !Path::new(KEPT).exists() {
        std::fs::write(KEPT, now).unwrap();
    }
}
