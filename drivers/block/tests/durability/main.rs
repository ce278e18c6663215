//! Durability of the file device, seen from beneath the kernel: what is on the media of a drive with a
//! volatile cache when a flush or a write has ended.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../desk/mod.rs"]
mod desk;
mod drive;
mod fuse;

use desk::Desk;
use drive::Drive;
use luge_block::{Access, Completions, Durability, FileDevice, Operation, Status};
use luge_memory::Span;
use luge_seeded::{Random, fuzz};
use luge_skip::skip;
use std::ops::Range;
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 512;
const BLOCKS: usize = 64;

/// Time limit for the requests of a batch.
const BATCH_TIME: Duration = Duration::from_secs(20);

/// Polls of a channel that show that a request does not end.
const POLLS: u32 = 1000;

/// Channel to a file on a drive.
struct Rig {
    desk: Desk,
    drive: Drive,
}

impl Drop for Rig {
    /// Answers what was held back: a channel that is dropped waits for its requests.
    fn drop(&mut self) {
        self.drive.release();
    }
}

/// Rig with a file of zeroes; `None`, with the test reported as skipped, if no drive can be mounted.
#[track_caller]
fn rig() -> Option<Rig> {
    let Some(drive) = Drive::new(BLOCKS * BLOCK_BYTES) else {
        skip("a file system in user space cannot be mounted: run as root, with /dev/fuse");
        return None;
    };
    let device = FileDevice::open(&drive.path(), Some(512), Access::ReadWrite).unwrap();
    Some(Rig { desk: Desk::new(&device), drive })
}

impl Rig {
    /// Memory of a request for `blocks`, at their place.
    fn memory(&self, blocks: &Range<usize>) -> Span {
        let (at, len) = (blocks.start * BLOCK_BYTES, blocks.len() * BLOCK_BYTES);
        self.desk.span(at as u64, u32::try_from(len).unwrap())
    }

    /// Writes `blocks`, each byte `fill`.
    fn write(&mut self, when: Durability, blocks: Range<usize>, fill: u8) {
        let memory = self.memory(&blocks);
        memory.fill(fill);
        self.run(Operation::Write(when), blocks, &[memory]);
    }

    fn run(&mut self, operation: Operation, blocks: Range<usize>, data: &[Span]) {
        let place = blocks.start as u64..blocks.end as u64;
        assert_eq!(self.desk.run(operation, place, data), Status::Success);
    }

    fn flush(&mut self) {
        self.run(Operation::Flush, 0..0, &[]);
    }

    /// Polls until the request of each slot up to `count` has ended.
    fn end(&mut self, count: usize) {
        let (mut ended, deadline) = (0, Instant::now() + BATCH_TIME);
        while ended < count {
            assert!(Instant::now() < deadline, "{ended} of {count} requests have ended");
            let mut done = Completions::default();
            self.desk.channel.poll(&mut done);
            for completion in done.as_slice() {
                assert_eq!(completion.status(), Status::Success);
            }
            ended += done.as_slice().len();
        }
    }

    /// Asserts that the submitted requests do not end by themselves.
    fn assert_waiting(&mut self) {
        for _ in 0..POLLS {
            let mut done = Completions::default();
            self.desk.channel.poll(&mut done);
            assert!(done.as_slice().is_empty(), "ended before the drive had answered");
        }
    }

    /// Whether all bytes of `blocks` on the media are `fill`.
    fn survives(&self, blocks: &Range<usize>, fill: u8) -> bool {
        let bytes = blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES;
        self.drive.media()[bytes].iter().all(|&byte| byte == fill)
    }
}

#[test]
fn a_write_without_fua_or_flush_is_lost_at_a_power_cut_of_this_drive() {
    let Some(mut rig) = rig() else { return };
    rig.write(Durability::Cache, 3..5, 0xa5);
    assert!(rig.survives(&(3..5), 0));
}

#[test]
fn a_flush_brings_all_that_had_ended_to_the_media() {
    let Some(mut rig) = rig() else { return };
    rig.write(Durability::Cache, 3..5, 0xa5);
    rig.write(Durability::Cache, 60..64, 0x5a);
    rig.flush();
    assert!(rig.survives(&(3..5), 0xa5));
    assert!(rig.survives(&(60..64), 0x5a));
}

#[test]
fn zeroes_are_on_the_media_after_a_flush() {
    let Some(mut rig) = rig() else { return };
    rig.write(Durability::Media, 0..8, 0xff);
    rig.run(Operation::WriteZeroes, 2..6, &[]);
    rig.flush();
    assert!(rig.survives(&(2..6), 0));
}

#[test]
fn a_fua_write_is_on_the_media_when_it_ends() {
    let Some(mut rig) = rig() else { return };
    rig.write(Durability::Media, 3..5, 0xa5);
    assert!(rig.survives(&(3..5), 0xa5));
}

#[test]
fn a_scattered_fua_write_is_on_the_media_when_it_ends() {
    let Some(mut rig) = rig() else { return };
    let pieces = [0, 7, 30].map(|at| rig.desk.span(at * 1024 + 1, 512));
    pieces.iter().for_each(|piece| piece.fill(0xa5));
    rig.run(Operation::Write(Durability::Media), 8..11, &pieces);
    assert!(rig.survives(&(8..11), 0xa5));
}

#[test]
fn a_flush_ends_no_earlier_than_the_drive_has_answered() {
    let Some(mut rig) = rig() else { return };
    rig.write(Durability::Cache, 3..5, 0xa5);
    rig.drive.hold();
    rig.desk.submit(0, Operation::Flush, 0..0, &[]);
    rig.desk.channel.commit();
    rig.drive.wait_held(1);
    rig.assert_waiting();
    rig.drive.release();
    rig.end(1);
    assert!(rig.survives(&(3..5), 0xa5));
}

#[test]
fn a_write_ends_no_earlier_than_the_drive_has_answered() {
    for when in [Durability::Cache, Durability::Media] {
        let Some(mut rig) = rig() else { return };
        let memory = rig.memory(&(0..1));
        rig.drive.hold();
        rig.desk.submit(0, Operation::Write(when), 0..1, &[memory]);
        rig.desk.channel.commit();
        rig.drive.wait_held(1);
        rig.assert_waiting();
        rig.drive.release();
        rig.end(1);
    }
}

/// Batches of writes between the mount and the last power cut of a case.
const BATCHES: u32 = 12;

/// Last content of each block, and whether it must survive a power cut.
struct Model([(u8, bool); BLOCKS]);

impl Model {
    /// Writes one block each in one batch.
    fn write_batch(&mut self, rig: &mut Rig, random: &mut Random) {
        let mut blocks: Vec<usize> = (0..BLOCKS).collect();
        random.shuffle(&mut blocks);
        blocks.truncate(random.between(1, 8));
        for (slot, &block) in (0..).zip(&blocks) {
            let (fill, fua) = (random.between(1, u8::MAX), random.once_in(3));
            let memory = rig.memory(&(block..block + 1));
            memory.fill(fill);
            let when = if fua { Durability::Media } else { Durability::Cache };
            rig.desk.submit(slot, Operation::Write(when), block as u64..block as u64 + 1, &[memory]);
            self.0[block] = (fill, fua);
        }
        rig.desk.channel.commit();
        rig.end(blocks.len());
    }

    /// All blocks must survive.
    fn flushed(&mut self) {
        self.0.iter_mut().for_each(|(_, survives)| *survives = true);
    }

    fn check(&self, rig: &Rig) {
        for (block, &(fill, _)) in self.0.iter().enumerate().filter(|(_, (_, survives))| *survives) {
            assert!(rig.survives(&(block..block + 1), fill), "block {block} is not on the media");
        }
    }
}

#[test]
fn whatever_was_written_before_a_power_cut_all_that_was_promised_is_there() {
    fuzz(|random| {
        let Some(mut rig) = rig() else { return };
        let mut model = Model([(0, true); BLOCKS]);
        for _ in 0..BATCHES {
            model.write_batch(&mut rig, random);
            model.check(&rig);
            if random.once_in(4) {
                rig.flush();
                model.flushed();
                model.check(&rig);
            }
        }
    });
}
