//! Commands of several namespaces in one queue: served together by namespace, whatever lies between them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Status};
use luge_core::{Session, Took, Work};
use luge_spec::nvme::{CompletionEntry, IoOpcode, StatusCode, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::{Bench, Setup, io, memory, read, write};
use std::sync::Arc;

const DATA: u64 = RigMemory::DATA.0;

/// A bench with so many namespaces on devices that the test plays, with room for 256 requests each.
fn scripted(count: usize, setup: Setup) -> (Bench, Vec<Scripted>) {
    let devices: Vec<Scripted> = (0..count).map(|_| Scripted::new(Geometry::for_tests(), 256)).collect();
    let volumes = devices.iter().map(|device| Volume::whole(Arc::new(device.clone()))).collect();
    (Bench::with(volumes, setup), devices)
}

fn of(namespace: u32, command: SubmissionEntry) -> SubmissionEntry {
    SubmissionEntry { namespace, ..command }
}

fn push_reads(bench: &mut Bench, namespaces: &[u32]) {
    for (lba, &namespace) in (0..).zip(namespaces) {
        bench.queues[0].push(of(namespace, read(lba, 1, DATA)));
    }
    bench.queues[0].ring();
}

/// First blocks of the requests that a device was given, in order.
fn blocks(device: &Scripted) -> Vec<u64> {
    device.taken().iter().map(|taken| taken.lba.0).collect()
}

/// Identifiers of the commands that have ended, in order of their numbers.
fn ended(bench: &mut Bench) -> Vec<u16> {
    let mut ends: Vec<u16> = std::iter::from_fn(|| bench.take()).map(|end| end.command_id).collect();
    ends.sort_unstable();
    ends
}

#[test]
fn one_turn_gives_each_namespace_its_commands_in_their_order() {
    let (mut bench, devices) = scripted(3, Setup::default());
    push_reads(&mut bench, &[1, 2, 3, 1, 1, 3, 2, 1]);
    bench.turn();
    assert_eq!(blocks(&devices[0]), [0, 3, 4, 7]);
    assert_eq!(blocks(&devices[1]), [1, 6]);
    assert_eq!(blocks(&devices[2]), [2, 5]);
}

#[test]
fn a_namespace_without_room_does_not_hold_up_the_others_and_its_commands_are_not_lost() {
    let (mut bench, devices) = scripted(2, Setup::default());
    devices[0].set_room(1);
    push_reads(&mut bench, &[1, 2, 1, 2, 1, 2]);
    bench.turns();
    assert_eq!(blocks(&devices[0]), [0]);
    assert_eq!(blocks(&devices[1]), [1, 3, 5]);
    devices[1].complete_all(Status::Success);
    bench.turns();
    assert_eq!(ended(&mut bench), [1, 3, 5]);
    for (block, id) in [(2, 0), (4, 2)] {
        devices[0].complete_all(Status::Success);
        bench.turns();
        assert_eq!(ended(&mut bench), [id]);
        assert_eq!(blocks(&devices[0]), [block]);
    }
}

#[test]
fn the_head_passes_no_command_that_was_not_taken() {
    let (mut bench, devices) = scripted(2, Setup::default());
    let head = |bench: &mut Bench| -> CompletionEntry {
        devices[1].complete_all(Status::Success);
        bench.turns();
        std::iter::from_fn(|| bench.take()).last().unwrap()
    };
    devices[0].set_room(0);
    push_reads(&mut bench, &[1, 2, 2]);
    bench.turns();
    push_reads(&mut bench, &[2]);
    bench.turns();
    assert_eq!(head(&mut bench).submission_head, 0, "the first command waits");
    devices[0].set_room(256);
    bench.turns();
    push_reads(&mut bench, &[2]);
    bench.turns();
    assert_eq!(head(&mut bench).submission_head, 5);
}

#[test]
fn the_queue_may_be_as_long_as_it_can_and_wrap_around_while_a_namespace_has_no_room() {
    let (mut bench, devices) = scripted(2, Setup { entries: 8, ..Setup::default() });
    for round in 0..40 {
        devices[0].set_room(round % 3);
        push_reads(&mut bench, &[1, 2, 1, 2, 2, 1, 2]);
        bench.turns();
        devices[1].complete_all(Status::Success);
        bench.turns();
        devices[0].set_room(256);
        bench.turns();
        assert_eq!(devices[0].complete_all(Status::Success), 3, "round {round}");
        devices[1].complete_all(Status::Success);
        bench.turns();
        assert_eq!(ended(&mut bench).len(), 7, "round {round}");
    }
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn other_commands_between_reads_of_several_namespaces_are_served_once_each() {
    let mut bench = Bench::with((0..3).map(|_| Volume::whole(memory(64))).collect(), Setup::default());
    let commands = [
        read(0, 1, DATA),
        of(2, write(1, 1, DATA)),
        of(3, io(IoOpcode::FLUSH, 0, 1)),
        of(2, read(99, 1, DATA)),
        of(7, read(0, 1, DATA)),
        of(3, read(0, 1, DATA)),
        io(IoOpcode(0x7f), 0, 1),
        of(2, read(0, 1, DATA + 1)),
        read(1, 1, DATA),
        // A fused pair, and half of one.
        SubmissionEntry { flags: 1, ..of(2, io(IoOpcode::COMPARE, 5, 1)) },
        SubmissionEntry { flags: 2, ..of(2, write(5, 1, DATA)) },
        SubmissionEntry { flags: 2, ..of(3, write(5, 1, DATA)) },
        of(2, read(2, 1, DATA)),
        of(u32::MAX, io(IoOpcode::FLUSH, 0, 1)),
        of(3, read(2, 1, DATA)),
    ]
    .map(|command| if command.prp1 == 0 { SubmissionEntry { prp1: DATA, ..command } } else { command });
    for command in commands {
        bench.queues[0].push(command);
    }
    bench.queues[0].ring();
    // Comparisons are done in steps, between which no turn has work for the session.
    for _ in 0..100 {
        bench.turn();
    }
    let mut ends: Vec<CompletionEntry> = std::iter::from_fn(|| bench.take()).collect();
    ends.sort_unstable_by_key(|end| end.command_id);
    let ids: Vec<u16> = ends.iter().map(|end| end.command_id).collect();
    assert_eq!(ids, (0..15).collect::<Vec<u16>>());
    let failed: Vec<u16> = ends
        .iter()
        .filter(|end| end.status.code() != StatusCode::SUCCESS)
        .map(|end| end.command_id)
        .collect();
    assert_eq!(failed, [3, 4, 6, 7, 11]);
}

#[test]
fn namespaces_that_share_a_group_are_told_apart() {
    let (mut bench, devices) = scripted(65, Setup::default());
    push_reads(&mut bench, &[1, 65, 1, 65, 2]);
    bench.turns();
    assert_eq!(blocks(&devices[0]), [0, 2]);
    assert_eq!(blocks(&devices[64]), [1, 3]);
    assert_eq!(blocks(&devices[1]), [4]);
}

#[test]
fn a_turn_takes_no_more_commands_of_several_namespaces_than_it_may() {
    let (mut bench, devices) = scripted(2, Setup::default());
    push_reads(&mut bench, &[1, 2].repeat(20));
    let allowance = Work::REQUEST.times(5);
    assert!(matches!(bench.session.take(&mut bench.graph, allowance), Took::Work(_)));
    let taken: usize = devices.iter().map(|device| device.taken().len()).sum();
    assert_eq!(taken, 5);
}

#[test]
fn a_tail_that_moves_back_over_commands_that_were_taken_serves_nothing_twice() {
    let (mut bench, devices) = scripted(2, Setup::default());
    devices[0].set_room(0);
    push_reads(&mut bench, &[1, 2, 2, 2]);
    bench.turns();
    bench.queues[0].ring_with(1);
    bench.turns();
    assert_eq!(devices[1].complete_all(Status::Success), 3);
    bench.turns();
    assert_eq!(ended(&mut bench), [1, 2, 3]);
    bench.queues[0].ring_with(4);
    devices[0].set_room(256);
    bench.turns();
    assert_eq!(devices[0].complete_all(Status::Success), 1);
    bench.turns();
    assert_eq!(ended(&mut bench), [0]);
    assert_eq!(devices[1].taken().len(), 0);
}
