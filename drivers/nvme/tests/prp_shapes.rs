//! Memory of every shape: the SSD, which reads PRPs by the specification, transfers the data of the request.

#![expect(clippy::cast_possible_truncation, reason = "small numbers of the tests' own")]

use luge_block::{Device, Durability, Lba, Operation, Request, Status, Tag};
use luge_memory::Span;
use luge_nvme::scripted::{Rig, Script};
use luge_seeded::Random;

const WRITE: Operation = Operation::Write(Durability::Cache);
const PAGE: u64 = 4096;

fn bytes(spans: &[Span]) -> Vec<u8> {
    let mut all = Vec::new();
    for span in spans {
        let mut piece = vec![0; span.len() as usize];
        span.read(&mut piece);
        all.extend(piece);
    }
    all
}

fn scribble(spans: &[Span], random: &mut Random) {
    for span in spans {
        let piece: Vec<u8> = (0..span.len()).map(|_| random.number() as u8).collect();
        span.write(&piece);
    }
}

/// Cuts `total` bytes into pieces that do not overlap in memory.
fn pieces(
    rig: &Rig,
    random: &mut Random,
    total: u32,
    cut: impl Fn(&mut Random, u32) -> (u64, u32),
) -> Vec<Span> {
    let (mut spans, mut left, mut at) = (Vec::new(), total, 0);
    while left > 0 && spans.len() < 250 {
        let (offset, len) = cut(random, left);
        let len = if spans.len() == 249 { left } else { len.min(left) };
        spans.push(rig.buffer(at + offset, len));
        at += (offset + u64::from(len)).next_multiple_of(PAGE);
        left -= len;
    }
    spans
}

fn write_and_read_back(rig: &Rig, seed: u64, cut: impl Fn(&mut Random, u32) -> (u64, u32) + Copy) {
    let (mut channel, mut random) = (rig.channel(), Random::new(seed));
    for round in 0..20 {
        let blocks = 1 + random.below(256_u32);
        let lba = Lba(random.below(rig.blocks().0 - 256));
        let spans = pieces(rig, &mut random, blocks * 512, cut);
        scribble(&spans, &mut random);
        let written = bytes(&spans);
        assert_eq!(rig.run(&mut *channel, WRITE, lba, &spans), Status::Success, "seed {seed} round {round}");
        assert_eq!(rig.ssd.media(1, lba.0, blocks), written, "seed {seed} round {round}");
        let spans = pieces(rig, &mut random, blocks * 512, cut);
        spans.iter().for_each(|span| span.fill(0xee));
        assert_eq!(rig.run(&mut *channel, Operation::Read, lba, &spans), Status::Success);
        assert!(bytes(&spans) == written, "seed {seed} round {round}");
    }
    assert_eq!(rig.ssd.dma_faults(), 0);
}

#[test]
fn pieces_of_any_length_and_alignment_are_written_and_read_through_bounce_pages() {
    let rig = Rig::new(Script::default());
    for seed in 0..10 {
        write_and_read_back(&rig, seed, |random, _| (random.below(PAGE), 1 + random.below(9000_u32)));
    }
    assert!(rig.controller.bounced() > 100);
}

#[test]
fn whole_pages_scattered_anywhere_are_written_and_read_in_place() {
    let rig = Rig::new(Script::default());
    for seed in 0..10 {
        write_and_read_back(&rig, seed, |random, _| (0, 4096 * (1 + random.below(4_u32))));
    }
    assert_eq!(rig.controller.bounced(), 0);
}

#[test]
fn one_piece_at_any_multiple_of_four_is_written_and_read_in_place() {
    let rig = Rig::new(Script::default());
    for seed in 0..10 {
        write_and_read_back(&rig, seed, |random, left| (random.below(1024) * 4, left));
    }
    assert_eq!(rig.controller.bounced(), 0);
}

#[test]
fn pieces_that_follow_each_other_in_memory_are_one() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let spans = [rig.buffer(100, 400), rig.buffer(500, 624), rig.buffer(1124, 8192 - 1024)];
    spans.iter().for_each(|span| span.fill(0x11));
    assert_eq!(rig.run(&mut *channel, WRITE, Lba(0), &spans), Status::Success);
    assert_eq!(rig.ssd.media(1, 0, 16), vec![0x11; 8192]);
    assert_eq!(rig.controller.bounced(), 0);
}

#[test]
fn a_piece_that_starts_at_an_odd_byte_bounces() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    for (offset, bounced) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        let data = [rig.buffer(offset, 512)];
        assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::Success);
        assert_eq!(rig.controller.bounced(), bounced);
        assert_eq!(rig.controller.namespaces()[0].bounced(), bounced);
    }
}

#[test]
fn a_transfer_of_2_mib_fits_its_list_at_any_alignment() {
    let options = luge_nvme::Options { bounce_pages: 512, ..Rig::options() };
    let rig = Rig::with(Script { transfer_max: 0, ..Script::default() }, options).unwrap();
    let mut channel = rig.channel();
    for offset in [0, 4, 2048, 4092, 1] {
        let data = rig.buffer(offset, 2 << 20);
        data.fill(offset as u8 + 1);
        assert_eq!(rig.run(&mut *channel, WRITE, Lba(0), &[data]), Status::Success);
        assert!(rig.ssd.media(1, 0, 4096).iter().all(|&byte| byte == offset as u8 + 1));
    }
    assert_eq!(rig.controller.bounced(), 1);
}

#[test]
fn requests_for_which_there_are_no_bounce_pages_wait_inside_and_all_are_served() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    // 64 pages: two requests of 32 pages have them all.
    for slot in 0..6 {
        let data = [rig.buffer(1 + u64::from(slot) * (1 << 20), 32 * 4096)];
        data[0].fill(slot as u8 + 1);
        let (tag, lba) = (Tag::new(0, slot), Lba(u64::from(slot) * 256));
        channel.submit(&Request { tag, operation: WRITE, lba, blocks: 256, data: &data }).unwrap();
    }
    channel.commit();
    assert_eq!(channel.in_flight(), 6);
    assert_eq!(channel.room(), 9);
    assert_eq!(rig.ssd.step(), 2);
    assert_eq!(rig.drain(&mut *channel).len(), 6);
    for slot in 0..6 {
        assert_eq!(rig.ssd.media(1, slot * 256, 256), vec![slot as u8 + 1; 32 * 4096]);
    }
}

#[test]
fn requests_that_wait_for_bounce_pages_end_with_a_reset_too() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    rig.ssd.misbehave([Some(luge_nvme::scripted::Mischief::Fatal)]);
    for slot in 0..6 {
        let data = [rig.buffer(1 + u64::from(slot) * (1 << 20), 32 * 4096)];
        let tag = Tag::new(0, slot);
        let read = Request { tag, operation: Operation::Read, lba: Lba(0), blocks: 256, data: &data };
        channel.submit(&read).unwrap();
    }
    channel.commit();
    let done = rig.drain(&mut *channel);
    assert_eq!(done.len(), 6);
    assert!(done.iter().all(|done| done.status() == Status::Aborted));
    rig.until_room(&mut *channel);
    let data = [rig.buffer(1, 32 * 4096)];
    assert_eq!(
        (0..3).map(|_| rig.run(&mut *channel, WRITE, Lba(0), &data)).collect::<Vec<_>>(),
        [Status::Success; 3]
    );
}

#[test]
fn a_bounced_read_that_failed_leaves_the_memory_as_it_was() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = rig.buffer(1, 512);
    data.fill(0x77);
    let broken = luge_nvme::scripted::Mischief::Status(luge_spec::nvme::StatusCode::UNRECOVERED_READ);
    rig.ssd.misbehave([Some(broken)]);
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &[data]), Status::MediaError);
    assert_eq!(bytes(&[data]), vec![0x77; 512]);
}
