//! Instructions of a command, from the submission queue of its host to the completion queue.
//!
//! `cargo bench -p luge-nvme-target --bench instructions` (`-- --keep` keeps the counts in `instructions.txt`).

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use luge_block::{Blocks, Device, NullDevice, Shape};
use luge_measure::{Trace, counted};
use luge_spec::nvme::SubmissionEntry;
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::{Bench, Setup, memory, read, write};
use std::path::Path;
use std::sync::Arc;

const ENTRIES: u32 = 1024;
const DEPTH: u32 = 128;
const ROUNDS: u32 = 200;
const BLOCKS: u32 = 1 << 14;

const TRACES: [Trace; 7] = [
    Trace { name: "null, read", run: || run(null(), Commands::default()) },
    Trace { name: "null, write", run: || run(null(), Commands { writes: |_| true, ..Commands::default() }) },
    Trace {
        name: "null, reads and writes",
        run: || run(null(), Commands { writes: |n| n % 2 == 1, ..Commands::default() }),
    },
    Trace {
        name: "null, read, one at a time",
        run: || run(null(), Commands { depth: 1, ..Commands::default() }),
    },
    Trace {
        name: "null, read, depth 16",
        run: || run(null(), Commands { depth: 16, ..Commands::default() }),
    },
    Trace {
        name: "null, read, four namespaces in turn",
        run: || run(null(), Commands { namespaces: 4, ..Commands::default() }),
    },
    Trace { name: "memory, read", run: || run(memory(BLOCKS.into()), Commands::default()) },
];

/// Properties of the commands.
struct Commands {
    /// Number of commands in flight.
    depth: u32,
    /// Number of namespaces.
    namespaces: u32,
    /// Whether a command writes.
    writes: fn(u32) -> bool,
}

impl Default for Commands {
    fn default() -> Self {
        Self { depth: DEPTH, namespaces: 1, writes: |_| false }
    }
}

fn shape() -> Shape {
    Shape::new(512, Blocks(BLOCKS.into())).unwrap()
}

fn null() -> Arc<dyn Device> {
    Arc::new(NullDevice::new(shape()))
}

impl Commands {
    /// Fills the queue, with commands for blocks all over the disk.
    fn fill(&self, bench: &mut Bench, round: u32) {
        for n in 0..self.depth {
            let lba = u64::from((round * DEPTH + n) * 2_654_435 % BLOCKS);
            let at = RigMemory::DATA.0 + 512 * u64::from(n);
            let command = if (self.writes)(n) { write(lba, 1, at) } else { read(lba, 1, at) };
            bench.queues[0].push(SubmissionEntry { namespace: 1 + n % self.namespaces, ..command });
        }
        bench.queues[0].ring();
    }
}

fn run(device: Arc<dyn Device>, commands: Commands) -> u32 {
    let volumes = (0..commands.namespaces).map(|_| Volume::whole(device.clone())).collect();
    let mut bench = Bench::with(volumes, Setup { entries: ENTRIES, ..Setup::default() });
    for round in 0..ROUNDS {
        commands.fill(&mut bench, round);
        counted(|| while bench.turn() {});
        let completed = std::iter::from_fn(|| bench.take()).filter(|end| end.status.code().0 == 0).count();
        assert_eq!(completed, commands.depth as usize);
    }
    ROUNDS * commands.depth
}

fn main() -> std::io::Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    luge_measure::instructions("instructions per 512-byte command, depth 128", &kept, &TRACES)
}
