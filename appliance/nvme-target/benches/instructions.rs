//! Instructions of a command, from the submission queue of its host to the completion queue.
//!
//! `cargo bench -p luge-nvme-target --bench instructions` (`-- --keep` keeps the counts in `instructions.txt`).

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use luge_block::doubles::Lasting;
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

const TRACES: [Trace; 10] = [
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
    Trace {
        name: "null, read of 8 KiB in two pages",
        run: || run(null(), Commands { blocks: 16, ..Commands::default() }),
    },
    Trace {
        name: "null, read of 64 KiB by a list of pages",
        run: || run(null(), Commands { blocks: 128, ..Commands::default() }),
    },
    Trace {
        name: "null, read, by completions as of an SSD",
        run: || run(Arc::new(Lasting::new(null())), Commands::default()),
    },
    Trace { name: "memory, read", run: || run(memory(BLOCKS.into()), Commands::default()) },
];

/// Properties of the commands.
struct Commands {
    /// Number of commands in flight.
    depth: u32,
    /// Number of namespaces.
    namespaces: u32,
    /// Blocks of a command.
    blocks: u32,
    /// Whether a command writes.
    writes: fn(u32) -> bool,
}

impl Default for Commands {
    fn default() -> Self {
        Self { depth: DEPTH, namespaces: 1, blocks: 1, writes: |_| false }
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
            let lba = u64::from((round * DEPTH + n) * 2_654_435 % (BLOCKS - self.blocks));
            // All lists are the same.
            let (at, list) = (RigMemory::DATA.0 + 512 * u64::from(n), RigMemory::FAR_DATA.0);
            let at = if self.blocks > 1 { RigMemory::DATA.0 } else { at };
            let command = if (self.writes)(n) { write(lba, 1, at) } else { read(lba, self.blocks, at) };
            let command = SubmissionEntry { prp2: list, ..command };
            bench.queues[0].push(SubmissionEntry { namespace: 1 + n % self.namespaces, ..command });
        }
        bench.queues[0].ring();
    }
}

fn run(device: Arc<dyn Device>, commands: Commands) -> u32 {
    let volumes = (0..commands.namespaces).map(|_| Volume::whole(device.clone())).collect();
    let mut bench = Bench::with(volumes, Setup { entries: ENTRIES, ..Setup::default() });
    // Pages of which no two lie side by side.
    let pages: Vec<u64> = (1..=16).map(|page| RigMemory::DATA.0 + 8192 * page).collect();
    rig::data::write_words(&bench.memory, RigMemory::FAR_DATA.0, &pages);
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
    luge_measure::instructions(
        "instructions per command, 512 bytes and depth 128 unless said",
        &kept,
        &TRACES,
    )
}
