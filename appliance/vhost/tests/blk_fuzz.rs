//! Requests by seed: legal ones in any layout, checked against a model of a disk, and hostile
//! ones, which may do no more than spoil their own guest's day.
//!
//! A second each by default; `LUGE_FUZZ_SECONDS` for longer, `LUGE_FUZZ_SEED` for a replay.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::{Delayed, Narrow};
use luge_block::{Blocks, Device, Geometry, MemoryDevice, Shape};
use luge_core::Session;
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_seeded::{Random, fuzz};
use luge_spec::virtio::blk::RequestType;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::{Answer, Ask, Bench, Sent, Setup, cut};
use std::collections::HashMap;
use std::sync::Arc;

const SECTORS: u32 = 512;
/// Requests in flight at once, on an area of the disk each.
const AREAS: u32 = 8;
const AREA_SECTORS: u32 = SECTORS / AREAS;

fn narrow(random: &mut Random, block_bytes: u32) -> Arc<dyn Device> {
    let blocks = Blocks(u64::from(SECTORS * 512 / block_bytes));
    let shape = Shape::new(block_bytes, blocks).unwrap();
    let memory = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    let geometry = Geometry {
        transfer_blocks_max: random.below(12) + 1,
        spans_max: random.below(40_u16) + 1,
        discard_blocks_max: random.below(12) + 1,
        write_zeroes_blocks_max: random.below(12) + 1,
        ..memory.geometry()
    };
    let device = Arc::new(Delayed::new(Arc::new(memory), random.number()));
    let depth = random.below(20_usize) + 1;
    Arc::new(Narrow::new(device, geometry, depth).refusing(333, random.number()))
}

/// Cuts a request into a single-segment or scattered one, or at random places.
fn pieces(random: &mut Random, readable: [u64; 2], writable: [u64; 2]) -> Vec<Piece> {
    let (in_layout, in_pieces) = (!random.once_in(3), random.once_in(2));
    let mut cuts = |len: u64, frame: u64, data: std::ops::RangeInclusive<u64>| -> Vec<u64> {
        let anywhere = if in_layout { data } else { 0..=len };
        let mut cuts = if in_layout { vec![frame.min(len)] } else { vec![] };
        if !in_layout || in_pieces {
            let room = anywhere.end().saturating_sub(*anywhere.start()) + 1;
            cuts.extend(
                (0..random.below(12_u32)).map(|_| (anywhere.start() + random.number() % room).min(len)),
            );
        }
        cuts
    };
    let before_status = writable[1].saturating_sub(1);
    let after_header = cuts(readable[1], 16, 16..=readable[1]);
    let before_status = cuts(writable[1], before_status, 0..=before_status);
    let pieces = [cut(readable, false, after_header), cut(writable, true, before_status)].concat();
    // Drivers make no pieces of nothing.
    pieces.into_iter().filter(|piece| !in_layout || piece.len > 0).collect()
}

/// A request to an area of the disk, and its data afterwards.
fn some_ask(random: &mut Random, area: u32, block_bytes: u32, disk: &mut [u8]) -> (Ask, Vec<u8>) {
    let unit = block_bytes / 512;
    let sectors = random.below(AREA_SECTORS / unit + 1) * unit;
    let first = area * AREA_SECTORS + random.below((AREA_SECTORS - sectors) / unit + 1) * unit;
    let range = (first as usize * 512)..((first + sectors) as usize * 512);
    match random.below(5_u32) {
        0 | 1 => (Ask::read(first.into(), sectors * 512), disk[range].to_vec()),
        2 | 3 => {
            let bytes: Vec<u8> = (0..range.len()).map(|_| random.number().to_le_bytes()[0]).collect();
            disk[range].copy_from_slice(&bytes);
            (Ask::write(first.into(), &bytes), vec![])
        }
        _ => {
            disk[range].fill(0);
            let split = random.below(sectors / unit + 1) * unit;
            let ranges =
                [(first.into(), split, 0), (u64::from(first + split), sectors - split, random.below(2))];
            (Ask::ranges(RequestType::WRITE_ZEROES, &ranges), vec![])
        }
    }
}

#[test]
fn a_disk_behaves_like_one_whatever_the_layout_of_requests_and_the_limits_of_the_device() {
    fuzz(|random| {
        let block_bytes = random.pick(&[512, 4096]);
        let device = narrow(random, block_bytes);
        let mut bench = Bench::with(device, Setup { size: 512, ..Setup::default() });
        let mut disk = vec![0; SECTORS as usize * 512];
        for _ in 0..20 {
            let mut waiting: HashMap<_, (Sent, Vec<u8>)> = HashMap::new();
            for area in 0..AREAS {
                let (ask, expected) = some_ask(random, area, block_bytes, &mut disk);
                let table = GuestAddress(RigMemory::FAR_DATA.0 + u64::from(area) * 4096);
                let sent = bench.send_as(&ask, |readable, writable| {
                    let pieces = pieces(random, readable, writable);
                    (pieces, random.pick(&[Form::Direct, Form::Indirect(table), Form::Mixed(1, table)]))
                });
                waiting.insert(sent.head, (sent, expected));
            }
            while !waiting.is_empty() {
                bench.turn();
                while let Some((head, written)) = bench.driver.take_used() {
                    let (sent, data) = waiting.remove(&head).expect("answered once");
                    let written_expected = u32::try_from(data.len()).unwrap() + 1;
                    let expected = Answer { status: 0, data, written: written_expected };
                    assert_eq!(bench.answer(&sent, written), expected);
                }
            }
        }
    });
}

#[test]
fn hostile_requests_all_end_and_leave_nothing_in_flight() {
    fuzz(|random| {
        let device = narrow(random, 512);
        let mut bench = Bench::with(device, Setup { size: 128, ..Setup::default() });
        for _ in 0..200 {
            let kind = random.pick(&[0, 1, 4, 8, 11, 13, 2, 0x8000_0000, u32::MAX]);
            let ask = Ask {
                kind: RequestType(kind.into()),
                sector: random.pick(&[0, 1, 511, 512, u64::MAX, u64::MAX >> 9, 1 << 55]),
                out: (0..random.below(600_u32)).map(|_| random.number().to_le_bytes()[0] & 0x83).collect(),
                in_bytes: random.pick(&[0, 1, 511, 512, 4096]),
            };
            bench.send_as(&ask, |readable, writable| {
                let mut pieces = pieces(random, readable, writable);
                if random.once_in(4) {
                    let at = random.below(pieces.len());
                    pieces[at].at = GuestAddress(random.number());
                }
                if random.once_in(4) {
                    pieces.truncate(random.below(pieces.len()) + 1);
                }
                (pieces, Form::Direct)
            });
            while bench.driver.lent() > 2 {
                bench.turn();
                while bench.driver.take_used().is_some() {}
            }
        }
        while bench.driver.lent() > 0 {
            bench.turn();
            while bench.driver.take_used().is_some() {}
        }
        assert_eq!(bench.session.in_flight(), 0);
        assert!(!bench.counters.broken());
    });
}
