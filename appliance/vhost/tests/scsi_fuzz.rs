//! SCSI requests by seed: legal ones in any layout, checked against a model of disks, and hostile ones, which may do no
//! more than spoil their own guest's day.
//!
//! A second each by default; `LUGE_FUZZ_SECONDS` for longer, `LUGE_FUZZ_SEED` for a replay.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::{Delayed, Narrow};
use luge_block::{Device, Geometry};
use luge_memory::GuestAddress;
use luge_scsi::Gate;
use luge_seeded::{Random, fuzz};
use luge_spec::virtio::scsi::LunField;
use luge_vhost::{CancelledAs, CommandReply, Drain, Ended, LunAddress, Scope};
use luge_virtqueue::Head;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::scripted::memory_disk;
use rig::scsi::{Answered, Cmd, HEADER, RESPONSE, ScsiBench, SentCmd, address, cdb_10, cdb_16};
use rig::{UNANSWERED, cut};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a disk.
const BYTES: u32 = 128 << 10;
/// Requests in flight at once on each LUN, on an area of the disk each.
const AREAS: u32 = 4;

const LUNS: [(u8, u8); 3] = [(0, 0), (0, 7), (255, 255)];

fn narrow(random: &mut Random, block_bytes: u32) -> Arc<dyn Device> {
    let memory = memory_disk(block_bytes, u64::from(BYTES / block_bytes));
    let geometry = Geometry {
        transfer_blocks_max: random.below(12) + 1,
        spans_max: random.below(40_u16) + 1,
        discard_blocks_max: random.below(12) + 1,
        ..memory.geometry()
    };
    let device = Arc::new(Delayed::new(memory, random.number()));
    let depth = random.below(20_usize) + 1;
    Arc::new(Narrow::new(device, geometry, depth).refusing(333, random.number()))
}

fn luns(random: &mut Random, block_bytes: u32) -> Vec<(LunAddress, Arc<dyn Device>)> {
    LUNS.iter().map(|&(target, lun)| (address(target, lun), narrow(random, block_bytes))).collect()
}

/// Cuts a request into one that is in the layout, or at random places.
fn pieces(random: &mut Random, readable: [u64; 2], writable: [u64; 2]) -> Vec<Piece> {
    let (in_layout, in_pieces) = (!random.once_in(3), random.once_in(2));
    let mut cuts = |len: u64, frame: u64| -> Vec<u64> {
        let mut cuts = if in_layout { vec![frame.min(len)] } else { vec![] };
        let from = if in_layout { frame.min(len) } else { 0 };
        if !in_layout || in_pieces {
            cuts.extend((0..random.below(12_u32)).map(|_| from + random.number() % (len - from + 1)));
        }
        cuts
    };
    let (out, into) = (cuts(readable[1], HEADER), cuts(writable[1], RESPONSE));
    let pieces = [cut(readable, false, out), cut(writable, true, into)].concat();
    // Drivers make no pieces of nothing.
    pieces.into_iter().filter(|piece| !in_layout || piece.len > 0).collect()
}

fn some_bytes(random: &mut Random, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.number().to_le_bytes()[0]).collect()
}

/// A CDB of any length that has room for the numbers.
fn cdb(random: &mut Random, writes: bool, lba: u32, blocks: u32) -> Vec<u8> {
    let bit = if writes { 2 } else { 0 };
    match random.below(4_u32) {
        0 if blocks > 0 => {
            let [_, a, b, c] = lba.to_be_bytes();
            vec![0x08 | bit, a, b, c, u8::try_from(blocks).unwrap_or(0), 0]
        }
        1 => {
            let (lba, blocks) = (lba.to_be_bytes(), blocks.to_be_bytes());
            [&[0xa8 | bit, 0][..], &lba, &blocks, &[0, 0]].concat()
        }
        2 => cdb_16(0x88 | bit, lba.into(), blocks),
        _ => cdb_10(0x28 | bit, lba, u16::try_from(blocks).unwrap()),
    }
}

/// A request to an area of a disk, and its answer. Now and then it has more memory than it needs.
fn some_cmd(random: &mut Random, area: u32, block_bytes: u32, disk: &mut [u8]) -> (Cmd, Answered) {
    let per_area = BYTES / AREAS / block_bytes;
    let blocks = random.below(per_area.min(200) + 1);
    let first = area * per_area + random.below(per_area - blocks + 1);
    let range = (first * block_bytes) as usize..((first + blocks) * block_bytes) as usize;
    let more = if random.once_in(4) { random.below(1000_u32) } else { 0 };
    let writes = random.once_in(2);
    let cmd = Cmd { tag: random.number(), ..Cmd::new(&cdb(random, writes, first, blocks)) };
    if writes {
        let out = some_bytes(random, range.len() + more as usize);
        disk[range.clone()].copy_from_slice(&out[..range.len()]);
        return (Cmd { out, ..cmd }, Answered { residual: more, ..Answered::good(&[]) });
    }
    let good = Answered::good(&disk[range.clone()]);
    let data = [good.data.clone(), vec![UNANSWERED; more as usize]].concat();
    let in_bytes = u32::try_from(data.len()).unwrap();
    (Cmd { in_bytes, ..cmd }, Answered { residual: more, data, ..good })
}

#[test]
fn luns_behave_like_disks_whatever_the_layout_of_requests_and_the_limits_of_the_device() {
    fuzz(|random| {
        let block_bytes = random.pick(&[512, 4096]);
        let mut bench = ScsiBench::with(luns(random, block_bytes), 1024, None);
        let mut disks = vec![vec![0; BYTES as usize]; LUNS.len()];
        for _ in 0..6 {
            if random.once_in(2) {
                bench.set_gate(if random.once_in(2) { Gate::closed() } else { Gate::default() });
            }
            let mut waiting: HashMap<Head, (SentCmd, Answered)> = HashMap::new();
            for (area, lun) in (0..AREAS).flat_map(|area| (0..LUNS.len()).map(move |lun| (area, lun))) {
                let (cmd, expected) = some_cmd(random, area, block_bytes, &mut disks[lun]);
                let cmd = cmd.to(address(LUNS[lun].0, LUNS[lun].1));
                let table =
                    GuestAddress(RigMemory::FAR_DATA.0 + u64::try_from(waiting.len()).unwrap() * 4096);
                let sent = bench.send_as(&cmd, |readable, writable| {
                    let pieces = pieces(random, readable, writable);
                    (pieces, random.pick(&[Form::Direct, Form::Indirect(table), Form::Mixed(1, table)]))
                });
                waiting.insert(sent.head, (sent, expected));
            }
            while !waiting.is_empty() {
                bench.turn();
                while let Some((relayed, _)) = bench.relayed() {
                    assert!(bench.reply(&relayed, &CommandReply::GoOn));
                }
                while let Some((head, written)) = bench.driver.take_used() {
                    let (sent, expected) = waiting.remove(&head).expect("answered once");
                    assert!(bench.answer(&sent, written) == expected, "{sent:?}");
                }
            }
            assert_eq!(bench.in_flight(), 0);
        }
    });
}

fn hostile_cmd(random: &mut Random) -> Cmd {
    let opcodes = [0x28, 0x2a, 0x88, 0x8a, 0x08, 0x42, 0x35, 0x12, 0x2f, 0x2e, 0x41, 0x93, 0x89, 0xa0, 0x7f];
    let mut cdb = [0; 32];
    let noise = some_bytes(random, 16);
    (0..16).filter(|_| random.once_in(4)).for_each(|at| cdb[at] = noise[at]);
    cdb[0] = random.pick(&opcodes);
    let fields = [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 7, 0, 0, 0, 0],
        [1, 255, 0x40, 255, 0, 0, 0, 0],
        [1, 0, 0, 9, 0, 0, 0, 0],
        [1, 9, 0, 0, 0, 0, 0, 0],
        [0xc1, 1, 0, 0, 0, 0, 0, 0],
        [0xff; 8],
    ];
    Cmd {
        lun: LunField(random.pick(&fields)),
        tag: random.below(4_u32).into(),
        attribute: random.below(8_u8),
        cdb: cdb.to_vec(),
        out: if random.once_in(2) {
            (0..random.below(1500_u32)).map(|_| random.below(9_u8)).collect()
        } else {
            vec![]
        },
        in_bytes: random.pick(&[0, 0, 1, 511, 512, 4096]),
    }
}

/// Answers some of what is relayed, in any way.
fn reply_to_some(random: &mut Random, bench: &mut ScsiBench) {
    while let Some((relayed, _)) = bench.relayed() {
        let data_in = some_bytes(random, 600);
        let reply = match random.below(3_u32) {
            0 => CommandReply::GoOn,
            1 => CommandReply::NoTarget,
            _ => CommandReply::Done(Ended { data_in, data_out_bytes: 5000, ..Ended::default() }),
        };
        assert!(bench.reply(&relayed, &reply));
    }
}

fn cancel_some(random: &mut Random, bench: &mut ScsiBench, drain: &Arc<Drain>) {
    let lun = address(0, 0);
    let scopes = [Scope::All, Scope::Lun(lun), Scope::Target(0), Scope::Task { lun, tag: 1 }];
    let ends = [CancelledAs::Aborted, CancelledAs::Reset, CancelledAs::Nothing];
    drop(bench.session.cancel(random.pick(&scopes), random.pick(&ends), drain.clone()));
    let _ = bench.session.is_in_flight(lun, 1);
    bench.publish();
}

#[test]
fn hostile_requests_all_end_and_leave_nothing_in_flight() {
    fuzz(|random| {
        let luns = luns(random, 512);
        let mut bench = ScsiBench::with(luns, 256, None);
        let drain = Arc::new(Drain::default());
        let mut answered = 0;
        for _ in 0..200 {
            let cmd = hostile_cmd(random);
            bench.send_as(&cmd, |readable, writable| {
                let mut pieces = pieces(random, readable, writable);
                if random.once_in(6) {
                    let at = random.below(pieces.len());
                    pieces[at].at = GuestAddress(random.number());
                }
                if random.once_in(6) {
                    pieces.truncate(random.below(pieces.len()) + 1);
                }
                (pieces, Form::Direct)
            });
            if random.once_in(20) {
                cancel_some(random, &mut bench, &drain);
            }
            if random.once_in(20) {
                bench.set_gate(if random.once_in(2) { Gate::closed() } else { Gate::default() });
            }
            while bench.driver.lent() > 8 {
                bench.turn();
                reply_to_some(random, &mut bench);
                answered += std::iter::from_fn(|| bench.driver.take_used()).count();
            }
        }
        for _ in 0..10_000 {
            if bench.driver.lent() == 0 {
                break;
            }
            bench.turn();
            reply_to_some(random, &mut bench);
            answered += std::iter::from_fn(|| bench.driver.take_used()).count();
        }
        assert_eq!(answered, 200);
        assert_eq!(bench.in_flight(), 0);
        assert!(!bench.counters.broken());
        assert_eq!(Arc::strong_count(&drain), 1, "all cancellations are over");
    });
}
