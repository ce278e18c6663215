//! Instructions of the driver for a request, on the way to the SSD and on the way back.
//!
//! `cargo bench -p luge-nvme --bench instructions` (`-- --keep` keeps the counts in `instructions.txt`).

use luge_block::{
    Channel, CheckedTransfer, Completions, Device, Lba, Operation, Request, Tag, TransferExtent,
};
use luge_measure::{Trace, counted};
use luge_memory::Span;
use luge_nvme::Options;
use luge_nvme::scripted::{Rig, Script};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

/// Number of requests in flight.
const DEPTH: u16 = 128;
/// Number of requests of one call of the channel.
const BATCH: usize = 32;
const ROUNDS: u32 = 200;

const TRACES: [Trace; 3] = [
    Trace { name: "submit and commit, 512 bytes in one piece", run: submit_one },
    Trace { name: "submit and commit, 4 pages in 4 pieces", run: submit_four },
    Trace { name: "poll", run: poll },
];

/// Half of a round that is counted.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Submit,
    Poll,
}

fn submit_one() -> u32 {
    run(&|rig| vec![rig.buffer(0, 512)], 1, Half::Submit)
}

fn submit_four() -> u32 {
    run(&|rig| (0..4).map(|page| rig.buffer(page * 8192, 4096)).collect(), 32, Half::Submit)
}

fn poll() -> u32 {
    run(&|rig| vec![rig.buffer(0, 512)], 1, Half::Poll)
}

/// Reads `blocks` blocks again and again, into the same memory; returns the number of requests.
fn run(data: &dyn Fn(&Rig) -> Vec<Span>, blocks: u32, half: Half) -> u32 {
    let options = Options { queue_entries: 256, command_timeout: Duration::from_secs(600), ..Rig::options() };
    let rig = Rig::with(Script::default(), options).expect("the scripted SSD comes up");
    let (mut channel, mut partner) = (rig.channel(), rig.ssd.null_partner(1).expect("queue pair 1"));
    let data = data(&rig);
    let request = |slot| {
        let lba = Lba(u64::from(slot) * 32);
        Request { tag: Tag::new(0, slot), operation: Operation::Read, lba, blocks, data: &data }
    };
    let geometry = rig.controller.namespaces()[0].geometry();
    let extent = TransferExtent::new(&geometry, Lba(0), geometry.blocks);
    let checked = |slot| extent.check(&request(slot), Tag::new(0, slot)).expect("one that the SSD takes");
    let requests: Vec<CheckedTransfer> = (0..DEPTH).map(checked).collect();
    let mut done = Completions::default();
    for _ in 0..ROUNDS {
        let taken = Half::Submit.run(half, || submit(&mut *channel, &requests));
        let served = partner.serve();
        Half::Poll.run(half, || channel.poll(&mut done));
        assert_eq!(taken, usize::from(DEPTH));
        assert_eq!(served, usize::from(DEPTH));
        assert_eq!(done.as_slice().len(), usize::from(DEPTH));
        done.clear();
    }
    ROUNDS * u32::from(DEPTH)
}

impl Half {
    /// Does the work of this half of a round; counts it if that is the half to be counted.
    fn run<T>(self, to_count: Self, work: impl FnOnce() -> T) -> T {
        if self == to_count { counted(work) } else { work() }
    }
}

fn submit(channel: &mut dyn Channel, transfers: &[CheckedTransfer<'_>]) -> usize {
    let taken = transfers.chunks(BATCH).map(|batch| black_box(channel.submit_all(batch)).0).sum();
    channel.commit();
    taken
}

fn main() -> std::io::Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    luge_measure::instructions("instructions per request, depth 128", &kept, &TRACES)
}
