//! Instructions of a request, from the available ring of its guest to the used ring.
//!
//! `cargo bench -p luge-vhost --bench instructions` (`-- --keep` keeps the counts in `instructions.txt`).

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../tests/rig/mod.rs"]
mod rig;

use luge_block::doubles::Lasting;
use luge_block::{Blocks, Device, MemoryDevice, NullDevice, Shape};
use luge_measure::{Trace, counted};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_vhost::LunAddress;
use luge_virtqueue::rig::{Form, Piece, RigMemory, inflight_region};
use rig::scsi::{Cmd, ScsiBench, address, usual_pieces};
use rig::{Ask, Bench, Setup};
use std::path::Path;
use std::sync::Arc;

const SIZE: u16 = 1024;
const DEPTH: u32 = 128;
const ROUNDS: u32 = 200;
const BLOCKS: u32 = 1 << 14;

const TRACES: [Trace; 22] = [
    Trace { name: "null, read, three descriptors", run: || run(null(), Requests::default()) },
    Trace {
        name: "null, read, an indirect table",
        run: || run(null(), Requests { indirect: true, ..Requests::default() }),
    },
    Trace {
        name: "null, write, three descriptors",
        run: || run(null(), Requests { writes: |_| true, ..Requests::default() }),
    },
    Trace {
        name: "null, reads and writes, three descriptors",
        run: || run(null(), Requests { writes: |n| n % 2 == 1, ..Requests::default() }),
    },
    Trace {
        name: "null, read, data in four pieces",
        run: || run(null(), Requests { pieces: 4, ..Requests::default() }),
    },
    Trace {
        name: "null, read, data in four pieces, an indirect table",
        run: || run(null(), Requests { pieces: 4, indirect: true, ..Requests::default() }),
    },
    Trace {
        name: "null, read, three descriptors, one at a time",
        run: || run(null(), Requests { depth: 1, ..Requests::default() }),
    },
    Trace {
        name: "null, read, three descriptors, in-flight tracking",
        run: || run(null(), Requests { tracked: true, ..Requests::default() }),
    },
    Trace {
        name: "null, read, three descriptors, one at a time, in-flight tracking",
        run: || run(null(), Requests { tracked: true, depth: 1, ..Requests::default() }),
    },
    Trace { name: "lasting, read, three descriptors", run: || run(lasting(), Requests::default()) },
    Trace {
        name: "lasting, read, three descriptors, one at a time",
        run: || run(lasting(), Requests { depth: 1, ..Requests::default() }),
    },
    Trace { name: "memory, read, three descriptors", run: || run(memory(), Requests::default()) },
    Trace { name: "SCSI, null, read, three descriptors", run: || run_scsi(Commands::default()) },
    Trace {
        name: "SCSI, null, read, an indirect table",
        run: || run_scsi(Commands { indirect: true, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, null, write, three descriptors",
        run: || run_scsi(Commands { writes: |_| true, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, null, reads and writes, three descriptors",
        run: || run_scsi(Commands { writes: |n| n % 2 == 1, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, null, read, eight LUNs in turn",
        run: || run_scsi(Commands { luns: 8, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, null, read, a thousand LUNs, of which one is used",
        run: || run_scsi(Commands { idle_luns: 999, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, null, read, one at a time",
        run: || run_scsi(Commands { depth: 1, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, lasting, read, three descriptors",
        run: || run_scsi(Commands { device: lasting, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, lasting, read, eight LUNs in turn",
        run: || run_scsi(Commands { device: lasting, luns: 8, ..Commands::default() }),
    },
    Trace {
        name: "SCSI, null, read, in-flight tracking",
        run: || run_scsi(Commands { tracked: true, ..Commands::default() }),
    },
];

/// Properties of SCSI commands.
struct Commands {
    device: fn() -> Arc<dyn Device>,
    depth: u32,
    /// Number of LUNs that are used in turn.
    luns: u32,
    /// Number of other LUNs.
    idle_luns: u32,
    /// Whether the descriptors are in an indirect table.
    indirect: bool,
    /// Whether the queue tracks what is in flight.
    tracked: bool,
    /// Whether a command writes.
    writes: fn(u32) -> bool,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            device: null,
            depth: DEPTH,
            luns: 1,
            idle_luns: 0,
            indirect: false,
            tracked: false,
            writes: |_| false,
        }
    }
}

impl Commands {
    /// Fills the ring, with commands for blocks all over the disks.
    fn fill(&self, bench: &mut ScsiBench, round: u32) {
        for n in 0..self.depth {
            let lba = (round * DEPTH + n) * 2_654_435 % BLOCKS;
            let table = GuestAddress(RigMemory::FAR_DATA.0 + 128 * u64::from(n));
            let form = if self.indirect { Form::Indirect(table) } else { Form::Direct };
            let cmd = if (self.writes)(n) { Cmd::write(lba, &[0; 512], 512) } else { Cmd::read(lba, 1, 512) };
            bench.send_as(&cmd.to(lun_at(n % self.luns)), |readable, writable| {
                (usual_pieces(readable, writable), form)
            });
        }
    }
}

/// Address of the LUN with that ordinal: 16 on each target.
fn lun_at(ordinal: u32) -> LunAddress {
    let number = |number: u32| u8::try_from(number).unwrap();
    address(number(ordinal / 16), number(ordinal % 16))
}

fn run_scsi(commands: Commands) -> u32 {
    let inflight = commands.tracked.then(|| inflight_region(SIZE));
    let used = (0..commands.luns).map(|ordinal| (lun_at(ordinal), (commands.device)())).collect();
    let mut bench = ScsiBench::with(used, SIZE, inflight);
    let (_, first) = bench.luns[0].clone();
    bench.luns.extend((0..commands.idle_luns).map(|n| (lun_at(commands.luns + n), first.clone())));
    bench.set_table();
    for round in 0..ROUNDS {
        commands.fill(&mut bench, round);
        counted(|| while bench.turn() {});
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, commands.depth as usize);
    }
    ROUNDS * commands.depth
}

/// Properties of the requests.
struct Requests {
    /// Number of requests in flight.
    depth: u32,
    /// Descriptors of the data, which is 512 bytes together.
    pieces: u32,
    /// Whether the descriptors are in an indirect table.
    indirect: bool,
    /// Whether the queue tracks what is in flight.
    tracked: bool,
    /// Whether a request writes.
    writes: fn(u32) -> bool,
}

impl Default for Requests {
    fn default() -> Self {
        Self { depth: DEPTH, pieces: 1, indirect: false, tracked: false, writes: |_| false }
    }
}

fn shape() -> Shape {
    Shape::new(512, Blocks(BLOCKS.into())).unwrap()
}

fn null() -> Arc<dyn Device> {
    Arc::new(NullDevice::new(shape()))
}

fn lasting() -> Arc<dyn Device> {
    Arc::new(Lasting::new(null()))
}

fn memory() -> Arc<dyn Device> {
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape(), PageSize::Base, None).unwrap())
}

impl Requests {
    /// Fills the ring, with requests for blocks all over the disk.
    fn fill(&self, bench: &mut Bench, round: u32) {
        for n in 0..self.depth {
            let sector = u64::from((round * DEPTH + n) * 2_654_435 % BLOCKS);
            let table = GuestAddress(RigMemory::FAR_DATA.0 + 128 * u64::from(n));
            let form = if self.indirect { Form::Indirect(table) } else { Form::Direct };
            let writes = (self.writes)(n);
            let ask = if writes { Ask::write(sector, &[0; 512]) } else { Ask::read(sector, 512) };
            bench.send_as(&ask, |[header, _], [at, _]| {
                let (data, status) = if writes { (header + 16, at) } else { (at, at + 512) };
                let len = 512 / self.pieces;
                let data = (0..self.pieces).map(|piece| Piece {
                    at: GuestAddress(data + u64::from(piece * len)),
                    len,
                    writable: !writes,
                });
                let around = (Piece::readable(header, 16), Piece::writable(status, 1));
                ([around.0].into_iter().chain(data).chain([around.1]).collect(), form)
            });
        }
    }
}

fn run(device: Arc<dyn Device>, requests: Requests) -> u32 {
    let inflight = requests.tracked.then(|| inflight_region(SIZE));
    let mut bench = Bench::tracked(device, Setup { size: SIZE, ..Setup::default() }, inflight);
    for round in 0..ROUNDS {
        requests.fill(&mut bench, round);
        counted(|| while bench.turn() > 0 {});
        let answered = std::iter::from_fn(|| bench.driver.take_used()).count();
        assert_eq!(answered, requests.depth as usize);
    }
    ROUNDS * requests.depth
}

fn main() -> std::io::Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    luge_measure::instructions("instructions per 512-byte request, depth 128", &kept, &TRACES)
}
