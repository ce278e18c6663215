//! Every command's result against a simple model of the disk, on a device whose completions come late and in any order.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Delayed;
use luge_memory::GuestAddress;
use luge_seeded::{Random, fuzz};
use luge_spec::nvme::{DatasetRange, IoOpcode, StatusCode, SubmissionEntry, io_flags};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::data::{block, with_sgl, write_words};
use rig::{Bench, PAGE, Setup, io, memory};
use std::ops::Range;
use std::sync::Arc;
use zerocopy::IntoBytes;

const DATA: u64 = RigMemory::DATA.0;
const LISTS: u64 = RigMemory::FAR_DATA.0;
const BLOCKS: u64 = 512;

/// The disk as it must be.
struct Model(Vec<u8>);

/// A command, and what it must do.
struct Step {
    entry: SubmissionEntry,
    expected: StatusCode,
    /// Data in guest memory after the command, if it is a read that succeeds.
    data: Option<Vec<u8>>,
    /// Start of the data in guest memory.
    at: u64,
}

fn bytes_of(lba: u64, blocks: u64) -> Range<usize> {
    512 * usize::try_from(lba).unwrap()..512 * usize::try_from(lba + blocks).unwrap()
}

impl Model {
    /// Makes a command, mostly a good one, and does it to the model.
    fn step(&mut self, bench: &Bench, random: &mut Random) -> Step {
        let blocks = random.pick(&[1, 1, 1, 2, 7, 8, 9, 16, 64, 200]);
        let lba = random.below(BLOCKS + 2);
        let fits = lba + blocks <= BLOCKS;
        let at = DATA + 4 * random.below(PAGE / 4);
        let content = random.bytes(512 * usize::try_from(blocks).unwrap());
        bench.memory.write(GuestAddress(at), &content);
        let opcode = random.pick(&[
            IoOpcode::READ,
            IoOpcode::READ,
            IoOpcode::WRITE,
            IoOpcode::WRITE,
            IoOpcode::WRITE_ZEROES,
            IoOpcode::COMPARE,
            IoOpcode::VERIFY,
            IoOpcode::FLUSH,
            IoOpcode::DATASET_MANAGEMENT,
            IoOpcode(0x7f),
        ]);
        let plain = io(opcode, lba, u32::try_from(blocks).unwrap());
        let has_data = matches!(opcode, IoOpcode::READ | IoOpcode::WRITE | IoOpcode::COMPARE);
        let mut entry = if has_data { with_data(bench, plain, at, random) } else { plain };
        if opcode == IoOpcode::DATASET_MANAGEMENT {
            let range = DatasetRange { attributes: 0, blocks: u32::try_from(blocks).unwrap(), lba };
            bench.memory.write(GuestAddress(LISTS), range.as_bytes());
            entry = SubmissionEntry { prp1: LISTS, ..entry };
            entry.cdw10 = [0, io_flags::ATTRIBUTE_DEALLOCATE, 0, 0, 0, 0];
        }
        entry.namespace = random.pick(&[1, 1, 1, 1, 1, 1, 1, 2]);
        let expected = match opcode {
            IoOpcode(0x7f) => StatusCode::INVALID_OPCODE,
            _ if entry.namespace == 2 => StatusCode::INVALID_NAMESPACE,
            IoOpcode::FLUSH => StatusCode::SUCCESS,
            _ if !fits => StatusCode::LBA_OUT_OF_RANGE,
            IoOpcode::COMPARE if self.0[bytes_of(lba, blocks)] != content => StatusCode::COMPARE_FAILURE,
            _ => StatusCode::SUCCESS,
        };
        let mut data = None;
        if expected == StatusCode::SUCCESS {
            match opcode {
                IoOpcode::READ => data = Some(self.0[bytes_of(lba, blocks)].to_vec()),
                IoOpcode::WRITE => self.0[bytes_of(lba, blocks)].copy_from_slice(&content),
                IoOpcode::WRITE_ZEROES | IoOpcode::DATASET_MANAGEMENT => {
                    self.0[bytes_of(lba, blocks)].fill(0);
                }
                _ => {}
            }
        }
        Step { entry, expected, data, at }
    }
}

/// Sets the data pointer of a command to memory that lies side by side, by PRPs or an SGL.
fn with_data(bench: &Bench, entry: SubmissionEntry, at: u64, random: &mut Random) -> SubmissionEntry {
    let blocks = u64::from(entry.cdw10[2] & 0xffff) + 1;
    let bytes = 512 * blocks;
    if random.once_in(4) {
        let cut = random.below(bytes);
        let [cut, rest] = [cut, bytes - cut].map(|len| u32::try_from(len).unwrap());
        return with_sgl(&bench.memory, entry, &[block(at, cut), block(at + u64::from(cut), rest)], LISTS);
    }
    let entry = SubmissionEntry { prp1: at, ..entry };
    let second = (at / PAGE + 1) * PAGE;
    let pages = (at + bytes).saturating_sub(second).div_ceil(PAGE);
    if pages < 2 {
        return SubmissionEntry { prp2: second, ..entry };
    }
    write_words(&bench.memory, LISTS, &(0..pages).map(|page| second + page * PAGE).collect::<Vec<u64>>());
    SubmissionEntry { prp2: LISTS, ..entry }
}

#[test]
fn every_command_does_what_it_does_to_the_model() {
    fuzz(|random| {
        let device = Delayed::new(memory(BLOCKS), random.number());
        let mut bench = Bench::with(vec![Volume::whole(Arc::new(device))], Setup::default());
        let mut model = Model(vec![0; bytes_of(0, BLOCKS).end]);
        for n in 0..200 {
            let Step { entry, expected, data, at } = model.step(&bench, random);
            assert_eq!(bench.status(entry), expected, "command {n}: {entry:?}");
            let Some(data) = data else { continue };
            assert!(
                bench.memory.bytes(GuestAddress(at), data.len()) == data,
                "data of command {n}: {entry:?}"
            );
        }
    });
}

/// Commands of a batch, and blocks of the largest.
const BATCH: u64 = 24;
const BLOCKS_MAX: u64 = 32;

/// Number of namespaces of commands in batches.
const NAMESPACES: u32 = 3;

/// A command of a batch, with blocks and memory of its own.
struct Part {
    entry: SubmissionEntry,
    expected: StatusCode,
    /// Pieces of its memory, in order.
    pieces: Vec<(u64, usize)>,
    /// Content of the memory after the command, if it is a read that succeeds.
    data: Option<Vec<u8>>,
}

/// Five pages of the `n`th command, in any order.
fn pages(n: u64, random: &mut Random) -> Vec<u64> {
    let mut pages: Vec<u64> = (0..5).map(|page| DATA + (5 * n + page) * PAGE).collect();
    random.shuffle(&mut pages);
    pages
}

/// So many bytes in pages, from an offset in the first one on.
fn pieces(pages: &[u64], offset: u64, bytes: u64) -> Vec<(u64, usize)> {
    let mut left = bytes;
    let piece = |(index, &page): (usize, &u64)| {
        let offset = if index == 0 { offset } else { 0 };
        let len = left.min(PAGE - offset);
        left -= len;
        (len > 0).then(|| (page + offset, usize::try_from(len).unwrap()))
    };
    pages.iter().enumerate().map_while(piece).collect()
}

/// Sets the data pointer of a command to these pieces, by PRPs or an SGL.
fn with_pieces(
    bench: &Bench,
    entry: SubmissionEntry,
    pieces: &[(u64, usize)],
    list: u64,
    random: &mut Random,
) -> SubmissionEntry {
    if random.once_in(4) {
        let blocks: Vec<_> = pieces.iter().map(|&(at, len)| block(at, u32::try_from(len).unwrap())).collect();
        return with_sgl(&bench.memory, entry, &blocks, list);
    }
    let words: Vec<u64> = pieces[1..].iter().map(|&(at, _)| at).collect();
    write_words(&bench.memory, list, &words);
    let prp2 = if let [second] = words[..] { second } else { list };
    SubmissionEntry { prp1: pieces[0].0, prp2, ..entry }
}

impl Model {
    /// Makes the `n`th command of a batch, for the namespace of the model, and does it to the model.
    fn part(&mut self, bench: &Bench, namespace: u32, n: u64, random: &mut Random) -> Part {
        let blocks = random.pick(&[1, 1, 4, 8, 9, 16, 24, BLOCKS_MAX]);
        let offset = random.pick(&[0, 0, 4, 512, 3584, 4092]);
        let pieces = pieces(&pages(n, random), offset, 512 * blocks);
        let lba = BLOCKS_MAX * n;
        let reads = random.once_in(2);
        let opcode = if reads { IoOpcode::READ } else { IoOpcode::WRITE };
        let entry = io(opcode, lba, u32::try_from(blocks).unwrap());
        let mut entry = with_pieces(bench, entry, &pieces, LISTS + PAGE * n / 2, random);
        let content = random.bytes(512 * usize::try_from(blocks).unwrap());
        let mut rest = &content[..];
        for &(at, len) in &pieces {
            bench.memory.write(GuestAddress(at), &rest[..len]);
            rest = &rest[len..];
        }
        entry.namespace = namespace;
        let expected = random.pick(&[
            StatusCode::SUCCESS,
            StatusCode::SUCCESS,
            StatusCode::SUCCESS,
            StatusCode::LBA_OUT_OF_RANGE,
            StatusCode::INVALID_NAMESPACE,
        ]);
        match expected {
            StatusCode::LBA_OUT_OF_RANGE => entry.cdw10[0] = u32::MAX,
            StatusCode::INVALID_NAMESPACE => entry.namespace = NAMESPACES + namespace,
            _ if reads => {}
            _ => self.0[bytes_of(lba, blocks)].copy_from_slice(&content),
        }
        let is_read = reads && expected == StatusCode::SUCCESS;
        let data = is_read.then(|| self.0[bytes_of(lba, blocks)].to_vec());
        Part { entry, expected, pieces, data }
    }
}

#[test]
fn commands_of_any_layout_in_one_batch_each_do_what_they_do_to_the_model() {
    fuzz(|random| {
        let blocks = BATCH * BLOCKS_MAX;
        let device = |seed| Volume::whole(Arc::new(Delayed::new(memory(blocks), seed)));
        let volumes = (0..NAMESPACES).map(|_| device(random.number())).collect();
        let mut bench = Bench::with(volumes, Setup::default());
        let mut models: Vec<Model> =
            (0..NAMESPACES).map(|_| Model(vec![0; bytes_of(0, blocks).end])).collect();
        for namespaces in [1, NAMESPACES, 2, NAMESPACES] {
            let part = |n| {
                let index = random.below(namespaces);
                let model = &mut models[usize::try_from(index).unwrap()];
                model.part(&bench, index + 1, n, random)
            };
            let parts: Vec<Part> = (0..BATCH).map(part).collect();
            let ids: Vec<u16> = parts.iter().map(|part| bench.queues[0].push(part.entry)).collect();
            bench.queues[0].ring();
            let mut ends = Vec::new();
            while ends.len() < parts.len() {
                bench.turn();
                ends.extend(std::iter::from_fn(|| bench.take()));
            }
            for (part, id) in parts.iter().zip(ids) {
                let end = ends.iter().find(|end| end.command_id == id).unwrap();
                assert_eq!(end.status.code(), part.expected, "{:?}", part.entry);
                let Some(data) = &part.data else { continue };
                let pieces = part.pieces.iter();
                let found: Vec<u8> =
                    pieces.flat_map(|&(at, len)| bench.memory.bytes(GuestAddress(at), len)).collect();
                assert!(found == *data, "{:?}", part.entry);
            }
        }
    });
}
