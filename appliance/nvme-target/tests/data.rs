//! Data of commands: PRPs and SGLs in every legal form, and each fault with its status.

mod rig;

use luge_memory::GuestAddress;
use luge_seeded::{Random, fuzz};
use luge_spec::nvme::{IoOpcode, SglDescriptor, SglType, StatusCode, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use rig::data::{block, with_descriptor, with_sgl, write_words};
use rig::{Bench, PAGE, io, memory, read};

const DATA: u64 = RigMemory::DATA.0;
const MORE: u64 = RigMemory::MORE_DATA.0;
const LISTS: u64 = RigMemory::FAR_DATA.0;
const NOWHERE: u64 = 0xdead_0000;

/// Blocks of the disk: 2 MiB.
const BLOCKS: u64 = 4096;

fn bench() -> Bench {
    Bench::new(memory(BLOCKS))
}

/// A write of blocks without a data pointer.
fn write_of(lba: u64, blocks: u32) -> SubmissionEntry {
    io(IoOpcode::WRITE, lba, blocks)
}

/// Writes the disk, block `n` from `lba` on with bytes of its number, by commands of one page.
fn fill(bench: &mut Bench, lba: u64, blocks: u64) {
    for n in 0..blocks {
        bench.memory.write(GuestAddress(DATA), &[u8::try_from(n % 251).unwrap(); 512]);
        assert_eq!(bench.status(rig::write(lba + n, 1, DATA)), StatusCode::SUCCESS);
    }
}

/// First bytes of blocks that were read to an address.
fn read_to(bench: &Bench, at: u64, blocks: u64) -> Vec<u8> {
    (0..blocks).map(|n| bench.memory.bytes(GuestAddress(at + 512 * n), 1)[0]).collect()
}

#[test]
fn a_transfer_may_begin_inside_a_page_and_end_in_the_next_one() {
    let mut bench = bench();
    fill(&mut bench, 0, 8);
    let entry = SubmissionEntry { prp2: DATA + 0x9000, ..read(0, 8, DATA + 0x4e00) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, DATA + 0x4e00, 1), [0]);
    assert_eq!(read_to(&bench, DATA + 0x9000, 7), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_list_of_pages_may_begin_anywhere_in_a_page_and_go_on_in_another() {
    let mut bench = bench();
    fill(&mut bench, 0, 40);
    // Two entries up to the end of the page: one of data, and the next list.
    write_words(&bench.memory, LISTS + PAGE - 16, &[DATA + 0x11000, LISTS + 2 * PAGE]);
    let pages = [0x15000, 0x13000, 0x17000].map(|offset| DATA + offset);
    write_words(&bench.memory, LISTS + 2 * PAGE, &pages);
    let entry = SubmissionEntry { prp2: LISTS + PAGE - 16, ..read(0, 40, DATA + 0x10000) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    for (page, offset) in [0x10000, 0x11000, 0x15000, 0x13000, 0x17000].into_iter().enumerate() {
        let first = u8::try_from(8 * page).unwrap();
        assert_eq!(read_to(&bench, DATA + offset, 8), (first..first + 8).collect::<Vec<u8>>(), "page {page}");
    }
}

#[test]
fn a_list_that_ends_with_its_page_has_no_link() {
    let mut bench = bench();
    fill(&mut bench, 0, 24);
    write_words(&bench.memory, LISTS + PAGE - 16, &[DATA + 0x11000, DATA + 0x12000]);
    let entry = SubmissionEntry { prp2: LISTS + PAGE - 16, ..read(0, 24, DATA + 0x10000) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, DATA + 0x12000, 8), (16..24).collect::<Vec<u8>>());
}

#[test]
fn a_megabyte_is_moved_through_scattered_pages_and_no_more_is_taken() {
    let mut bench = bench();
    // Every other page, so that no two lie side by side; each is used four times, which a write may.
    let pages: Vec<u64> = (0..256).map(|n| DATA + 0x2000 * (n % 64)).collect();
    for page in 0..64_u8 {
        bench.memory.write(GuestAddress(DATA + 0x2000 * u64::from(page)), &[page + 1; 4096]);
    }
    write_words(&bench.memory, LISTS, &pages[1..]);
    let entry = SubmissionEntry { prp1: pages[0], prp2: LISTS, ..write_of(0, 2048) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!(bench.status(read(8 * 63, 1, LISTS + 0x8000)), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, LISTS + 0x8000, 1), [64]);
    assert_eq!(bench.status(read(8 * 64, 1, LISTS + 0x8000)), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, LISTS + 0x8000, 1), [1]);
    let entry = SubmissionEntry { prp1: pages[0], prp2: LISTS, ..write_of(0, 2049) };
    assert_eq!(bench.status(entry), StatusCode::INVALID_FIELD, "MDTS");
}

#[test]
fn offsets_that_pages_may_not_have_are_refused() {
    let mut bench = bench();
    let invalid = StatusCode::PRP_OFFSET_INVALID;
    assert_eq!(bench.status(read(0, 1, DATA + 2)), invalid, "PRP1 at half a word");
    let second = SubmissionEntry { prp2: DATA + 0x1200, ..read(0, 16, DATA) };
    assert_eq!(bench.status(second), invalid, "PRP2 with an offset");
    let list = SubmissionEntry { prp2: LISTS + 4, ..read(0, 24, DATA) };
    assert_eq!(bench.status(list), invalid, "a list at half an entry");
    write_words(&bench.memory, LISTS, &[DATA + 0x1000, DATA + 0x2008]);
    let listed = SubmissionEntry { prp2: LISTS, ..read(0, 24, DATA) };
    assert_eq!(bench.status(listed), invalid, "a listed page with an offset");
    let end = bench.send(listed);
    assert!(end.status.do_not_retry());
}

#[test]
fn memory_that_is_not_there_is_a_transfer_error_and_nothing_is_transferred() {
    let mut bench = bench();
    bench.memory.write(GuestAddress(DATA), &[0xee; 4096]);
    let error = StatusCode::DATA_TRANSFER_ERROR;
    assert_eq!(bench.status(read(0, 1, NOWHERE)), error);
    assert_eq!(bench.status(SubmissionEntry { prp2: NOWHERE, ..read(0, 16, DATA) }), error);
    assert_eq!(bench.status(SubmissionEntry { prp2: NOWHERE, ..read(0, 24, DATA) }), error, "a list");
    write_words(&bench.memory, LISTS, &[DATA + 0x1000, NOWHERE]);
    assert_eq!(bench.status(SubmissionEntry { prp2: LISTS, ..read(0, 24, DATA) }), error);
    assert_eq!(bench.memory.bytes(GuestAddress(DATA), 4096), [0xee; 4096]);
    let end = bench.send(read(0, 1, u64::MAX - 3));
    assert_eq!(end.status.code(), error);
}

#[test]
fn lists_that_loop_end_with_their_data() {
    let mut bench = bench();
    // A page of entries that all name the page itself: data and lists are the same memory.
    write_words(&bench.memory, LISTS, &vec![LISTS; 512]);
    let entry = SubmissionEntry { prp1: DATA, prp2: LISTS, ..write_of(0, 2048) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    let entry = SubmissionEntry { prp1: DATA, prp2: LISTS + PAGE - 8, ..write_of(0, 2048) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
}

#[test]
fn a_buffer_across_regions_is_one_for_the_guest() {
    let mut bench = bench();
    fill(&mut bench, 0, 16);
    let at = MORE - 0x1000;
    let entry = SubmissionEntry { prp2: MORE, ..read(0, 16, at) };
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, at, 16), (0..16).collect::<Vec<u8>>());
    let sgl = with_descriptor(io(IoOpcode::READ, 0, 16), block(at + 8, 8192 - 8));
    assert_eq!(bench.status(sgl), StatusCode::DATA_SGL_LENGTH_INVALID, "eight bytes too short");
    let sgl = with_descriptor(io(IoOpcode::READ, 0, 16), block(at + 1, 8192));
    assert_eq!(bench.status(sgl), StatusCode::SUCCESS, "of any alignment");
}

#[test]
fn blocks_of_any_length_are_collected() {
    let mut bench = bench();
    fill(&mut bench, 0, 2);
    let blocks = [block(DATA + 3, 1), block(DATA + 0x2001, 511), block(NOWHERE, 0), block(DATA + 4, 513)];
    let entry = with_sgl(&bench.memory, io(IoOpcode::READ, 0, 2), &blocks, LISTS);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS, "the last block is longer than the data");
    assert_eq!(bench.memory.bytes(GuestAddress(DATA + 4), 512), [1; 512]);
    assert_eq!(bench.memory.bytes(GuestAddress(DATA + 0x2001), 511), [0; 511]);
}

#[test]
fn segments_are_chained() {
    let mut bench = bench();
    fill(&mut bench, 0, 2);
    let [first, last] = [LISTS, LISTS + 0x100];
    let link = SglDescriptor::new(SglType::LAST_SEGMENT, last, 16);
    write_words(&bench.memory, first, &[block(DATA, 512).to_words(), link.to_words()].concat());
    write_words(&bench.memory, last, &block(DATA + 0x4000, 512).to_words());
    let segment = SglDescriptor::new(SglType::SEGMENT, first, 32);
    let entry = with_descriptor(io(IoOpcode::READ, 0, 2), segment);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, DATA + 0x4000, 1), [1]);
}

#[test]
fn data_in_a_bit_bucket_is_not_transferred_and_a_write_has_none() {
    let mut bench = bench();
    fill(&mut bench, 0, 400);
    let bucket = |len| SglDescriptor::new(SglType::BIT_BUCKET, 0, len);
    let blocks = [block(DATA, 512), bucket(398 * 512), block(DATA + 512, 512)];
    let entry = with_sgl(&bench.memory, io(IoOpcode::READ, 0, 400), &blocks, LISTS);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!(read_to(&bench, DATA, 2), [0, u8::try_from(399 % 251).unwrap()]);
    let entry = with_sgl(&bench.memory, write_of(0, 2), &[bucket(512), block(DATA, 512)], LISTS);
    assert_eq!(bench.status(entry), StatusCode::DATA_SGL_LENGTH_INVALID);
    let blocks = [bucket(512), block(DATA, 512), bucket(512), block(DATA, 512)];
    let entry = with_sgl(&bench.memory, write_of(0, 2), &blocks, LISTS);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
}

#[test]
fn descriptors_where_they_may_not_be_are_refused() {
    let mut bench = bench();
    let plain = io(IoOpcode::READ, 0, 1);
    let one = |kind, address, len| with_descriptor(plain, SglDescriptor::new(kind, address, len));
    let segment = StatusCode::INVALID_SGL_SEGMENT;
    for (kind, len) in [(SglType::SEGMENT, 0), (SglType::LAST_SEGMENT, 8), (SglType::LAST_SEGMENT, 17)] {
        assert_eq!(bench.status(one(kind, LISTS, len)), segment, "{kind:?} of {len} bytes");
    }
    assert_eq!(bench.status(one(SglType::LAST_SEGMENT, LISTS + 4, 16)), segment, "half a word");
    for kind in [4, 5, 0xf] {
        assert_eq!(bench.status(one(SglType(kind), DATA, 512)), StatusCode::SGL_TYPE_INVALID, "{kind}");
    }
    let offset = SglDescriptor { identifier: 1, ..block(DATA, 512) };
    assert_eq!(bench.status(with_descriptor(plain, offset)), StatusCode::SGL_TYPE_INVALID, "subtype");
    let last = SglDescriptor::new(SglType::LAST_SEGMENT, LISTS + 0x100, 16);
    let entry = with_sgl(&bench.memory, plain, &[block(DATA, 256), last], LISTS);
    assert_eq!(bench.status(entry), segment, "a segment in the last segment");
    write_words(&bench.memory, LISTS, &[block(DATA, 256).to_words(), block(DATA, 256).to_words()].concat());
    assert_eq!(bench.status(one(SglType::SEGMENT, LISTS, 32)), segment, "no link at the end");
    assert_eq!(bench.status(one(SglType::LAST_SEGMENT, NOWHERE, 16)), StatusCode::DATA_TRANSFER_ERROR);
}

#[test]
fn segments_that_loop_end() {
    let mut bench = bench();
    let link = SglDescriptor::new(SglType::SEGMENT, LISTS, 32);
    write_words(&bench.memory, LISTS, &[block(DATA, 0).to_words(), link.to_words()].concat());
    let entry = with_descriptor(io(IoOpcode::READ, 0, 1), link);
    assert_eq!(bench.status(entry), StatusCode::INVALID_SGL_COUNT);
    assert_eq!(luge_core::Session::in_flight(&bench.session), 0);
    let short = SglDescriptor { length: 16, ..link };
    write_words(&bench.memory, LISTS, &short.to_words());
    let entry = with_descriptor(io(IoOpcode::READ, 0, 1), short);
    assert_eq!(bench.status(entry), StatusCode::INVALID_SGL_COUNT);
}

#[test]
fn a_very_long_sgl_is_walked_in_several_turns_and_others_go_on() {
    let mut bench = bench();
    fill(&mut bench, 0, 8);
    // Four bytes each, a word apart: no two lie side by side.
    let blocks: Vec<SglDescriptor> = (0..1024).map(|n| block(DATA + 8 * n, 4)).collect();
    let entry = with_sgl(&bench.memory, io(IoOpcode::READ, 0, 8), &blocks, LISTS);
    bench.queues[0].push(entry);
    bench.queues[0].ring();
    let mut turns = 0;
    while bench.take().is_none() {
        bench.turn();
        turns += 1;
        assert!(turns < 1000, "no completion");
    }
    assert!(turns > 3, "{turns} turns");
    for n in 0..1024 {
        let expected = u8::try_from(n / 128).unwrap();
        assert_eq!(bench.memory.bytes(GuestAddress(DATA + 8 * n), 4), [expected; 4], "descriptor {n}");
    }
}

/// A piece of memory, and bytes in it.
struct Piece {
    at: u64,
    len: u64,
}

/// Cuts `bytes` bytes into pieces that a PRP list can name.
fn some_pages(random: &mut Random, bytes: u64) -> Vec<Piece> {
    let mut pages: Vec<u64> = (0..128).map(|n| DATA + PAGE * n).collect();
    random.shuffle(&mut pages);
    let offset = 4 * random.below(PAGE / 4);
    let mut pieces = Vec::new();
    let mut left = bytes;
    for (n, page) in pages.into_iter().enumerate() {
        let offset = if n == 0 { offset } else { 0 };
        let len = left.min(PAGE - offset);
        pieces.push(Piece { at: page + offset, len });
        left -= len;
        if left == 0 {
            break;
        }
    }
    pieces
}

/// Sets PRPs to pieces, with a list somewhere that has links.
fn with_prps(
    bench: &Bench,
    entry: SubmissionEntry,
    pieces: &[Piece],
    random: &mut Random,
) -> SubmissionEntry {
    let (first, rest) = pieces.split_first().unwrap();
    let entry = SubmissionEntry { prp1: first.at, ..entry };
    match rest {
        [] => SubmissionEntry { prp2: random.number(), ..entry },
        [second] => SubmissionEntry { prp2: second.at, ..entry },
        _ => {
            let mut at = LISTS + 8 * random.below(512_u64);
            let list = at;
            let mut next_page = LISTS + PAGE;
            for (n, piece) in rest.iter().enumerate() {
                if at % PAGE == PAGE - 8 && n + 1 < rest.len() {
                    write_words(&bench.memory, at, &[next_page]);
                    at = next_page;
                    next_page += PAGE;
                }
                write_words(&bench.memory, at, &[piece.at]);
                at += 8;
            }
            SubmissionEntry { prp2: list, ..entry }
        }
    }
}

#[test]
fn data_is_moved_as_the_list_says_whatever_its_form() {
    let mut bench = bench();
    let mut disk = vec![0_u8; 512 * usize::try_from(BLOCKS).unwrap()];
    fuzz(|random| {
        let blocks = random.between(1_u64, 256);
        let lba = random.below(BLOCKS - blocks + 1);
        let bytes = 512 * blocks;
        let range = 512 * usize::try_from(lba).unwrap()..512 * usize::try_from(lba + blocks).unwrap();
        let pieces = some_pages(random, bytes);
        let writes = random.once_in(2);
        let opcode = if writes { IoOpcode::WRITE } else { IoOpcode::READ };
        let plain = io(opcode, lba, u32::try_from(blocks).unwrap());
        let entry = if random.once_in(2) {
            with_prps(&bench, plain, &pieces, random)
        } else {
            let blocks: Vec<SglDescriptor> =
                pieces.iter().map(|piece| block(piece.at, u32::try_from(piece.len).unwrap())).collect();
            with_sgl(&bench.memory, plain, &blocks, LISTS)
        };
        let content = random.bytes(usize::try_from(bytes).unwrap());
        let mut done = 0;
        for piece in &pieces {
            let len = usize::try_from(piece.len).unwrap();
            bench.memory.write(GuestAddress(piece.at), &content[done..done + len]);
            done += len;
        }
        assert_eq!(bench.status(entry), StatusCode::SUCCESS, "{blocks} blocks");
        if writes {
            disk[range].copy_from_slice(&content);
            return;
        }
        let read = pieces.iter().flat_map(|piece| {
            bench.memory.bytes(GuestAddress(piece.at), usize::try_from(piece.len).unwrap())
        });
        assert!(read.eq(disk[range].iter().copied()), "{blocks} blocks from {lba}");
    });
}
