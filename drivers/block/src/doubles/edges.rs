//! The edges of the contract: limits, refusals, and a channel that is full.

use super::rig::Rig;
use crate::{Blocks, Durability, Geometry, Lba, Operation, Refusal, Request, Status, Tag};
use luge_memory::Span;

/// Checks all of them. What is on the device stays as it is.
pub(super) fn check(rig: &mut Rig, first: u64) {
    refusals(rig);
    flood(rig, Lba(first));
    largest(rig);
    most_pieces(rig, Lba(first));
    rig.expect_quiet();
}

/// The content of some blocks. Waits for it.
pub(super) fn read(rig: &mut Rig, lba: Lba, blocks: u32) -> Vec<u8> {
    let Rig { arena, random, geometry, .. } = rig;
    let layout = arena.layout(0, blocks * geometry.block_bytes, geometry.spans_max, random);
    let data = arena.spans(&layout);
    succeed(rig, &request(Operation::Read, lba, blocks, &data));
    let content = rig.arena.read(&layout);
    rig.arena.scribble(&layout, &mut rig.random);
    content
}

/// One request, alone, until it succeeds. Where requests may fail, not all of many do.
fn succeed(rig: &mut Rig, request: &Request<'_>) {
    let succeeded = (0..100).any(|_| perform(rig, request) == Status::Success);
    rig.expect(succeeded, format_args!("{request:?} does not succeed"));
}

/// One request, alone, and how it ended.
fn perform(rig: &mut Rig, request: &Request<'_>) -> Status {
    let taken = rig.submit(request);
    rig.expect(taken.is_ok(), format_args!("{request:?} was not taken: {taken:?}"));
    let done = rig.wait();
    done.first().map_or(Status::Gone, |completion| completion.status())
}

/// Requests that no device takes. Nothing comes of them, and no memory is touched.
fn refusals(rig: &mut Rig) {
    let geometry = rig.geometry;
    let block = geometry.block_bytes;
    let layout = rig.arena.layout(0, block, 1, &mut rig.random);
    let Some(&whole) = rig.arena.spans(&layout).first() else { return };
    let (short, rest) = whole.split_at(block - 1);
    let end = geometry.blocks.0;
    let cases: [(u64, u32, &[Span], Status); 9] = [
        (end, 1, &[whole], Status::OutOfRange),
        (end - 1, 2, &[whole, whole], Status::OutOfRange),
        (u64::MAX, 1, &[whole], Status::OutOfRange),
        (u64::MAX - 1, u32::MAX, &[whole], Status::OutOfRange),
        (0, 0, &[], Status::Invalid),
        (0, 1, &[], Status::Invalid),
        (0, 1, &[short], Status::Invalid),
        (0, 1, &[short, rest, rest], Status::Invalid),
        (0, 1, &[whole, rest.split_at(0).0], Status::Invalid),
    ];
    for operation in [Operation::Read, Operation::Write(Durability::Media)] {
        for (lba, blocks, data, status) in cases {
            let status = protected(geometry, operation, status);
            refuse(rig, &request(operation, Lba(lba), blocks, data), status);
        }
    }
    for operation in [Operation::Discard, Operation::WriteZeroes, Operation::WriteZeroesUnmap] {
        let most = geometry.blocks_max(operation);
        let status = if most == 0 { Status::Unsupported } else { Status::OutOfRange };
        let past_end = request(operation, Lba(end), 1, &[]);
        refuse(rig, &past_end, protected(geometry, operation, status));
        if most > 0 && u64::from(most) < end {
            let too_long = request(operation, Lba(0), most + 1, &[]);
            refuse(rig, &too_long, protected(geometry, operation, Status::Invalid));
        }
    }
}

fn protected(geometry: Geometry, operation: Operation, otherwise: Status) -> Status {
    if geometry.read_only && operation.changes_data() { Status::WriteProtected } else { otherwise }
}

fn request(operation: Operation, lba: Lba, blocks: u32, data: &[Span]) -> Request<'_> {
    Request { tag: Tag::default(), operation, lba, blocks, data }
}

fn refuse(rig: &mut Rig, request: &Request<'_>, status: Status) {
    let result = rig.submit(request);
    let refused = result == Err(Refusal::Failed(status));
    rig.expect(refused, format_args!("{request:?} should be refused with {status:?}, not end in {result:?}"));
    rig.expect_quiet();
}

/// Checks that a channel takes as many reads of one block as it has room for, and no more.
fn flood(rig: &mut Rig, lba: Lba) {
    let expected = read(rig, lba, 1);
    let layout = rig.arena.layout(0, rig.geometry.block_bytes, 1, &mut rig.random);
    let data = rig.arena.spans(&layout);
    let room = u16::try_from(rig.room(0)).unwrap_or(u16::MAX);
    for slot in 0..room {
        let tag = Tag::new(0, slot);
        let taken = rig.submit(&Request { tag, operation: Operation::Read, lba, blocks: 1, data: &data });
        rig.expect(taken.is_ok(), format_args!("room for {room}, but read {slot} was refused: {taken:?}"));
    }
    let tag = Tag::new(0, room);
    let more = rig.submit(&Request { tag, operation: Operation::Read, lba, blocks: 1, data: &data });
    rig.expect(more == Err(Refusal::Full), format_args!("a full channel answered {more:?}"));
    let mut read = false;
    while rig.in_flight() > 0 {
        read |= rig.wait().iter().any(|completion| completion.status() == Status::Success);
    }
    rig.expect(!read || rig.arena.read(&layout) == expected, "a full channel read something else");
    rig.arena.scribble(&layout, &mut rig.random);
}

/// The largest transfer works, in both directions; a larger one is refused.
fn largest(rig: &mut Rig) {
    let Geometry { blocks: Blocks(end), transfer_blocks_max: most, read_only, .. } = rig.geometry;
    let blocks = u32::try_from(end).unwrap_or(most).min(most);
    let before = read(rig, Lba(0), blocks);
    if !read_only {
        write(rig, Lba(0), &before);
        let after = read(rig, Lba(0), blocks);
        rig.expect(before == after, "the largest write wrote something else");
    }
    if u64::from(most) < end {
        let layout = rig.arena.layout(0, (most + 1) * rig.geometry.block_bytes, 1, &mut rig.random);
        let data = rig.arena.spans(&layout);
        refuse(rig, &request(Operation::Read, Lba(0), most + 1, &data), Status::Invalid);
    }
}

fn write(rig: &mut Rig, lba: Lba, content: &[u8]) {
    let Rig { arena, random, geometry, .. } = rig;
    let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let layout = arena.layout(0, len, geometry.spans_max, random);
    arena.write(&layout, content);
    let (data, blocks) = (arena.spans(&layout), len / geometry.block_bytes);
    let operation = Operation::Write(Durability::Cache);
    succeed(rig, &request(operation, lba, blocks, &data));
    rig.arena.scribble(&layout, &mut rig.random);
}

/// Checks that a device takes as many pieces as its geometry says, of one byte each but for the last, and no
/// more.
fn most_pieces(rig: &mut Rig, lba: Lba) {
    let Geometry { spans_max, block_bytes, transfer_blocks_max, blocks: end, .. } = rig.geometry;
    let blocks = (u32::from(spans_max) + 1).div_ceil(block_bytes);
    if blocks > transfer_blocks_max || lba.0 + u64::from(blocks) > end.0 {
        return;
    }
    let expected = read(rig, lba, blocks);
    let layout = rig.arena.layout(0, blocks * block_bytes, 1, &mut rig.random);
    let Some(&whole) = rig.arena.spans(&layout).first() else { return };
    let data = bytewise(whole, spans_max);
    succeed(rig, &request(Operation::Read, lba, blocks, &data));
    rig.expect(rig.arena.read(&layout) == expected, "many pieces were read wrong");
    rig.arena.scribble(&layout, &mut rig.random);
    if let Some(more) = spans_max.checked_add(1) {
        let data = bytewise(whole, more);
        refuse(rig, &request(Operation::Read, lba, blocks, &data), Status::Invalid);
    }
}

fn bytewise(whole: Span, pieces: u16) -> Vec<Span> {
    let mut rest = whole;
    let mut list = Vec::new();
    for _ in 1..pieces {
        let (byte, after) = rest.split_at(1);
        list.push(byte);
        rest = after;
    }
    list.push(rest);
    list
}
