//! Requests of any shape end with a status where the driver looks for one, and never with
//! the zero that was there before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, Device, MemoryDevice, Shape};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_seeded::{Random, fuzz};
use luge_spec::virtio::blk::RequestType;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::{Ask, Bench, Setup};
use std::sync::Arc;

const OK: u8 = 0;
const IOERR: u8 = 1;

fn disk() -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(4096)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

/// A request as the driver sees it: where its status is to be, and how long an answer is.
struct Expected {
    status_at: Option<u64>,
    written: u32,
}

impl Expected {
    /// Of a chain of these pieces.
    fn of(pieces: &[Piece]) -> Self {
        let writable = || pieces.iter().filter(|piece| piece.writable && piece.len > 0);
        let last = writable().next_back();
        Self {
            status_at: last.and_then(|piece| piece.at.0.checked_add(u64::from(piece.len) - 1)),
            written: writable().fold(0, |sum, piece| sum.saturating_add(piece.len)),
        }
    }
}

/// End of a chain: its used element and its status byte.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// The status; none where its byte is not in guest memory.
    status: Option<u8>,
    /// Bytes written, by the used element.
    written: u32,
}

/// The end of a chain at fault.
const REFUSED: Ended = Ended { status: Some(IOERR), written: 1 };

/// Sends a chain with its status preset to success; returns its end.
fn ask_raw(bench: &mut Bench, pieces: &[Piece], form: Form) -> Ended {
    let status_at = Expected::of(pieces).status_at.filter(|&at| is_memory(bench, at));
    status_at.iter().for_each(|&at| bench.memory.write(GuestAddress(at), &[OK]));
    let head = bench.driver.add(pieces, form).unwrap();
    let mut used = None;
    while used.is_none() {
        bench.turn();
        used = bench.driver.take_used();
    }
    let (used, written) = used.unwrap();
    assert_eq!(used, head);
    Ended { status: status_at.map(|at| bench.memory.bytes(GuestAddress(at), 1)[0]), written }
}

fn is_memory(bench: &Bench, at: u64) -> bool {
    bench.memory.files.iter().any(|(layout, _)| (layout.guest.0..layout.guest.0 + layout.len).contains(&at))
}

/// A request for `sectors` sectors whose data is in `count` pieces.
fn in_pieces(bench: &mut Bench, reads: bool, count: u32) -> Vec<Piece> {
    let ask = if reads { Ask::read(0, 1024) } else { Ask::write(0, &[7; 1024]) };
    let at = bench.place(2048);
    bench.memory.write(GuestAddress(at), &header(&ask));
    let (small, last) = (1024 / count, 1024 - 1024 / count * (count - 1));
    let piece = |n| Piece {
        at: GuestAddress(at + 16 + u64::from(n * small)),
        len: if n + 1 < count { small } else { last },
        writable: reads,
    };
    let data = (0..count).map(piece);
    [Piece::readable(at, 16)].into_iter().chain(data).chain([Piece::writable(at + 2000, 1)]).collect()
}

fn header(ask: &Ask) -> Vec<u8> {
    let kind: u32 = if ask.kind == RequestType::IN { 0 } else { 1 };
    [kind.to_le_bytes().to_vec(), vec![0; 4], ask.sector.to_le_bytes().to_vec()].concat()
}

#[test]
fn a_request_in_more_pieces_than_the_device_tells_is_served_all_the_same() {
    for size in [8, 16, 64, 128, 256, 1024] {
        for count in [1, 125, 126, 127, 128, 513, 1022] {
            for reads in [true, false] {
                let mut bench = Bench::with(disk(), Setup { size, ..Setup::default() });
                let pieces = in_pieces(&mut bench, reads, count);
                let table = Form::Indirect(GuestAddress(RigMemory::FAR_DATA.0));
                let Ended { status, written } = ask_raw(&mut bench, &pieces, table);
                assert_eq!(status, Some(OK), "ring of {size}, {count} pieces, reads: {reads}");
                assert_eq!(written, if reads { 1025 } else { 1 });
            }
        }
    }
}

#[test]
fn a_chain_at_fault_ends_with_an_error_in_its_last_byte() {
    let mut bench = Bench::with(disk(), Setup::default());
    let hole = GuestAddress(1 << 45);
    let request = |bench: &mut Bench| in_pieces(bench, true, 2);
    let cases: [fn(&mut Vec<Piece>, GuestAddress); 5] = [
        |pieces, hole| pieces[1].at = hole,
        |pieces, hole| pieces[0].at = hole,
        |pieces, _| pieces.swap(0, 1),
        |pieces, _| pieces.push(pieces[0]),
        |pieces, _| pieces[1].len = u32::MAX,
    ];
    for (number, spoil) in cases.into_iter().enumerate() {
        let mut pieces = request(&mut bench);
        spoil(&mut pieces, hole);
        assert_eq!(ask_raw(&mut bench, &pieces, Form::Direct), REFUSED, "{number}");
    }
    let mut pieces = request(&mut bench);
    pieces.last_mut().unwrap().at = hole;
    let nowhere = Ended { status: None, written: 0 };
    assert_eq!(ask_raw(&mut bench, &pieces, Form::Direct), nowhere, "its place is not in memory");
    assert_eq!(bench.counters.faults(), 6);
}

#[test]
fn a_request_of_as_many_pieces_as_a_large_table_has_ends_with_an_error_some_turns_later() {
    let mut bench = Bench::with(disk(), Setup { size: 16, ..Setup::default() });
    let at = bench.place(2048);
    let mut pieces = vec![Piece::writable(at + 16, 1); 30_000];
    pieces.insert(0, Piece::readable(at, 16));
    pieces.push(Piece::writable(at + 2000, 1));
    let table = Form::Indirect(GuestAddress(RigMemory::FAR_DATA.0));
    assert_eq!(ask_raw(&mut bench, &pieces, table), REFUSED);
}

#[test]
fn what_was_taken_together_with_a_chain_that_breaks_the_ring_is_answered() {
    let mut bench = Bench::with(disk(), Setup { size: 64, ..Setup::default() });
    let first = bench.send(&Ask::read(0, 512));
    bench.driver.push_head(first.head.0);
    let others = [bench.send(&Ask::read(8, 512)), bench.send(&Ask::flush())];
    // The second use of a head is seen while the first one is in flight: in the same batch.
    (0..3).for_each(|_| _ = bench.turn());
    assert!(bench.counters.broken());
    let mut ended: Vec<_> = std::iter::from_fn(|| bench.driver.take_used()).map(|(head, _)| head.0).collect();
    ended.sort_unstable();
    let mut expected = vec![first.head.0, others[0].head.0, others[1].head.0];
    expected.sort_unstable();
    assert_eq!(ended, expected);
}

/// Type of a request, in the first four bytes that the device reads. All pieces are in memory.
fn kind_of(bench: &Bench, pieces: &[Piece]) -> u32 {
    let readable = pieces.iter().filter(|piece| !piece.writable);
    let bytes = readable.flat_map(|piece| bench.memory.bytes(piece.at, piece.len.min(4) as usize));
    bytes.take(4).zip(0..).fold(0, |kind, (byte, at)| kind | u32::from(byte) << (8 * at))
}

/// Pieces of any number, order and place.
fn any_pieces(random: &mut Random, at: u64) -> Vec<Piece> {
    let count = random.pick(&[1, 2, 3, 5, 20, 126, 127, 200]);
    let piece = |random: &mut Random| Piece {
        at: GuestAddress(if random.once_in(300) { random.number() } else { at + random.number() % 4000 }),
        len: random.pick(&[0, 1, 16, 512]),
        writable: random.once_in(2),
    };
    let mut pieces: Vec<Piece> = (0..count).map(|_| piece(random)).collect();
    if !random.once_in(4) {
        pieces.sort_by_key(|piece| piece.writable);
    }
    if !random.once_in(4) {
        pieces.insert(0, Piece::readable(at, 16));
    }
    pieces
}

#[test]
fn no_request_of_any_shape_ends_without_a_status_where_there_is_room_for_one() {
    let disk = disk();
    fuzz(|random| {
        let size = random.pick(&[8, 64, 256]);
        let mut bench = Bench::with(disk.clone(), Setup { size, ..Setup::default() });
        for _ in 0..50 {
            let at = bench.place(8192);
            let kind = random.pick(&[0_u32, 1, 4, 8, 11, 13, 77]);
            let sector = random.pick(&[0_u64, 8, 4096, u64::MAX]);
            bench.memory.write(GuestAddress(at), &[0; 4096]);
            bench.memory.write(GuestAddress(at), &kind.to_le_bytes());
            bench.memory.write(GuestAddress(at + 8), &sector.to_le_bytes());
            let pieces = any_pieces(random, at);
            let table = GuestAddress(RigMemory::FAR_DATA.0 + random.pick(&[0, 8]));
            let direct = pieces.len() <= usize::from(size) && random.once_in(2);
            let form = if direct { Form::Direct } else { Form::Indirect(table) };
            let in_memory = pieces.iter().all(|piece| is_memory(&bench, piece.at.0));
            let reads = in_memory && kind_of(&bench, &pieces) == 0;
            let Ended { status, written } = ask_raw(&mut bench, &pieces, form);
            let Some(status) = status else { continue };
            assert_ne!(written, 0, "{pieces:?}");
            if status == OK {
                let Expected { written: all, .. } = Expected::of(&pieces);
                assert!(written == all || !reads, "{written} of {all} bytes are called success");
            } else {
                assert_eq!(written, 1, "only the status is certain");
            }
        }
    });
}
