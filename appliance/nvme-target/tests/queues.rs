//! Queues: their doorbells, their room, their turns, and what changes while they run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Status};
use luge_core::{Armed, Session, Took, Work};
use luge_memory::{GuestAddress, GuestMemory};
use luge_nvme_target::{
    CommandId, CommandStatus, GoneMemory, MemoryChange, QueueId, QueueLayout, QueueMemoryError, QueuePages,
    Removal, Service, SessionMemory, SubmissionQueueSetup,
};
use luge_spec::nvme::{IoOpcode, SglDescriptor, StatusCode, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::data::{block, with_sgl, write_words};
use rig::{Bench, HostQueue, PAGE, Setup, io, memory, read, write};
use std::sync::Arc;

const DATA: u64 = RigMemory::DATA.0;
const FAR: u64 = RigMemory::FAR_DATA.0;

/// A bench on a device that the test plays, with room for `room` requests.
fn scripted(setup: Setup, room: usize) -> (Bench, Scripted) {
    let device = Scripted::new(Geometry::for_tests(), room);
    (Bench::with(vec![Volume::whole(Arc::new(device.clone()))], setup), device)
}

/// Queue identifiers of all completions, in their order.
fn completed(bench: &mut Bench) -> Vec<u16> {
    std::iter::from_fn(|| bench.take()).map(|end| end.submission_queue).collect()
}

#[test]
fn a_completion_queue_never_overflows() {
    let (mut bench, device) = scripted(Setup { entries: 8, ..Setup::default() }, 64);
    for _ in 0..7 {
        bench.queues[0].push(read(0, 1, DATA));
    }
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.complete_all(Status::Success), 7, "one entry stays free");
    bench.turns();
    for _ in 0..7 {
        bench.queues[0].push(read(0, 1, DATA));
    }
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.taken().len(), 0, "there is no entry for another completion");
    assert_eq!(bench.session.take(&mut bench.graph, Work::QUANTUM), Took::NoRoom);
    bench.queues[0].take().unwrap();
    bench.turns();
    assert_eq!(device.taken().len(), 1, "as many as the host has consumed");
    assert_eq!(completed(&mut bench).len(), 6);
    bench.turns();
    assert_eq!(device.complete_all(Status::Success), 7);
    bench.turns();
    assert_eq!(completed(&mut bench).len(), 7);
}

#[test]
fn a_host_that_consumes_nothing_does_not_keep_a_core_awake() {
    let mut bench = Bench::with(vec![Volume::whole(memory(64))], Setup { entries: 8, ..Setup::default() });
    for _ in 0..2 {
        for _ in 0..7 {
            bench.queues[0].push(read(0, 1, DATA));
        }
        bench.queues[0].ring();
        bench.turns();
    }
    assert_eq!(bench.session.arm(), Armed::Quiet);
    assert!(bench.session.wake_at().is_some(), "it looks at the doorbells now and then");
    assert!(bench.take().is_some());
    assert_eq!(bench.session.arm(), Armed::Waiting);
}

#[test]
fn the_smallest_queues_serve_a_command_at_a_time() {
    let mut bench = Bench::with(vec![Volume::whole(memory(64))], Setup { entries: 2, ..Setup::default() });
    for lba in 0..50 {
        assert_eq!(bench.status(write(lba, 1, DATA)), StatusCode::SUCCESS, "{lba}");
    }
}

#[test]
fn a_command_without_room_beneath_waits_in_its_queue() {
    let (mut bench, device) = scripted(Setup::default(), 3);
    for lba in 0..10 {
        bench.queues[0].push(read(lba, 1, DATA));
    }
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.taken().len(), 3);
    assert_eq!(bench.session.in_flight(), 3);
    let mut all = 0;
    while all < 10 {
        let count = device.complete_all(Status::Success);
        assert!(count > 0, "{all} of ten");
        all += count;
        bench.turns();
    }
    let heads: Vec<u16> = std::iter::from_fn(|| bench.take()).map(|end| end.submission_head).collect();
    assert_eq!(heads.len(), 10);
    assert_eq!(heads.last(), Some(&10));
}

#[test]
fn a_tail_out_of_range_is_reported_once_and_changes_nothing() {
    let mut bench = Bench::new(memory(64));
    bench.queues[0].push(read(0, 1, DATA));
    for value in [64, 1 << 16, u32::MAX] {
        bench.queues[0].ring_with(value);
        bench.turns();
        assert!(bench.relay.take_invalid_doorbell(), "{value}");
        bench.turns();
        assert!(!bench.relay.take_invalid_doorbell(), "{value}");
        assert!(bench.take().is_none(), "{value}");
    }
    bench.queues[0].ring_with(0);
    bench.turns();
    bench.queues[0].ring_with(u32::MAX);
    bench.turns();
    assert!(bench.relay.take_invalid_doorbell(), "once more, after one that was in range");
    bench.queues[0].ring();
    bench.turns();
    assert!(bench.take().is_some());
}

#[test]
fn a_head_that_the_host_cannot_have_reached_is_reported_once_and_changes_nothing() {
    let (mut bench, device) = scripted(Setup { entries: 8, ..Setup::default() }, 64);
    for _ in 0..2 {
        bench.queues[0].push(read(0, 1, DATA));
    }
    bench.queues[0].ring();
    bench.turns();
    device.complete_all(Status::Success);
    bench.turns();
    for value in [3, 7, 8, u32::MAX] {
        bench.queues[0].ring_head_with(value);
        bench.session.arm();
        assert!(bench.relay.take_invalid_doorbell(), "{value}");
        bench.session.arm();
        assert!(!bench.relay.take_invalid_doorbell(), "{value}");
    }
    bench.queues[0].ring_head_with(2);
    bench.session.arm();
    assert!(!bench.relay.take_invalid_doorbell());
}

#[test]
fn queues_have_their_turns_by_the_burst() {
    let mut setup = Setup { queues: 3, ..Setup::default() };
    setup.rules.burst = 2;
    let mut bench = Bench::with(vec![Volume::whole(memory(64))], setup);
    for queue in &mut bench.queues {
        for _ in 0..4 {
            queue.push(io(IoOpcode::FLUSH, 0, 1));
        }
        queue.ring();
    }
    bench.turns();
    assert_eq!(completed(&mut bench), [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_busy_queue_does_not_keep_another_from_its_turn() {
    let (mut bench, device) = scripted(Setup { queues: 2, ..Setup::default() }, 1);
    for _ in 0..40 {
        bench.queues[0].push(read(0, 1, DATA));
    }
    bench.queues[0].ring();
    bench.queues[1].push(read(1, 1, DATA));
    bench.queues[1].ring();
    let mut before = 0;
    while device.taken().first().is_none_or(|taken| taken.lba.0 == 0) {
        device.complete_all(Status::Success);
        bench.turns();
        before += 1;
        assert!(before < 20, "{before} commands of the other queue");
    }
    device.complete_all(Status::Success);
    bench.turns();
}

#[test]
fn a_queue_across_regions_and_one_of_listed_pages_are_queues() {
    let mut setup = Setup { queues: 0, ..Setup::default() };
    setup.rules.submission_queues_max = 2;
    let mut bench = Bench::with(vec![Volume::whole(memory(64))], setup);
    let across = RigMemory::MORE_DATA.0 - PAGE;
    let completion = QueueLayout {
        id: QueueId(1),
        base: GuestAddress(RigMemory::RINGS.0),
        entries: 64,
        pages: QueuePages::Contiguous,
    };
    let layout =
        |id, base, pages| QueueLayout { id: QueueId(id), base: GuestAddress(base), entries: 128, pages };
    write_words(&bench.memory, FAR + PAGE - 8, &[FAR + 2 * PAGE]);
    write_words(&bench.memory, FAR + 2 * PAGE, &[FAR + 5 * PAGE, FAR + 4 * PAGE]);
    let contiguous = layout(1, across, QueuePages::Contiguous);
    let listed = layout(2, FAR + PAGE - 8, QueuePages::Listed);
    for layout in [contiguous, listed] {
        let setup = SubmissionQueueSetup::find(layout, &bench.rules, &bench.memory.table).unwrap();
        assert!(bench.session.add_submission_queue(setup).is_ok());
    }
    let host = |layout| HostQueue::new(bench.memory.clone(), bench.doorbells.clone(), layout, completion);
    let [mut first, second] = [host(contiguous), host(listed)];
    for n in 0..200_u32 {
        first.push(read(0, 1, DATA));
        first.ring();
        // The pages are the wrong way round.
        let page = if n % 128 < 64 { FAR + 5 * PAGE } else { FAR + 4 * PAGE };
        let entry = SubmissionEntry { command_id: 7, ..io(IoOpcode::FLUSH, 0, 1) };
        write_words(&bench.memory, page + 64 * u64::from(n % 64), &entry.to_words());
        second.ring_with((n + 1) % 128);
        bench.turns();
        let mut ends: Vec<u16> =
            std::iter::from_fn(|| first.take()).map(|end| end.submission_queue).collect();
        ends.sort_unstable();
        assert_eq!(ends, [1, 2], "round {n}");
    }
}

#[test]
fn queues_that_cannot_be_are_refused() {
    let bench = Bench::new(memory(64));
    let find = |base, entries, pages| {
        let layout = QueueLayout { id: QueueId(2), base: GuestAddress(base), entries, pages };
        SubmissionQueueSetup::find(layout, &bench.rules, &bench.memory.table).err()
    };
    let contiguous = QueuePages::Contiguous;
    assert_eq!(find(DATA, 1, contiguous), Some(QueueMemoryError::Entries(1)));
    assert_eq!(find(DATA, 1 << 17, contiguous), Some(QueueMemoryError::Entries(1 << 17)));
    let at = GuestAddress(DATA + 64);
    assert_eq!(find(at.0, 64, contiguous), Some(QueueMemoryError::Unaligned(at)));
    let at = GuestAddress(0xdead_0000);
    assert_eq!(find(at.0, 64, contiguous), Some(QueueMemoryError::Missing(at)));
    assert_eq!(find(at.0, 64, QueuePages::Listed), Some(QueueMemoryError::Missing(at)));
    let end = RigMemory::MORE_DATA.0 + RigMemory::MORE_DATA.1;
    let past = find(end - PAGE, 128, contiguous);
    assert_eq!(past, Some(QueueMemoryError::Missing(GuestAddress(end))));
    write_words(&bench.memory, FAR + PAGE - 8, &[FAR + PAGE - 8]);
    let looping = find(FAR + PAGE - 8, 4096, QueuePages::Listed);
    assert_eq!(looping, Some(QueueMemoryError::Unaligned(GuestAddress(FAR + PAGE - 8))));
}

#[test]
fn a_queue_is_gone_when_its_commands_have_ended_and_its_place_is_free() {
    let (mut bench, device) = scripted(Setup { queues: 2, ..Setup::default() }, 64);
    for queue in &mut bench.queues {
        queue.push(read(0, 1, DATA));
        queue.ring();
    }
    bench.turns();
    bench.queues[1].push(read(9, 1, DATA));
    bench.queues[1].ring();
    assert!(matches!(bench.session.remove_submission_queue(QueueId(2)), Removal::Draining));
    bench.turns();
    assert_eq!(device.taken().len(), 2, "nothing more is taken");
    assert!(!bench.relay.take_drained());
    device.complete_all(Status::Success);
    bench.turns();
    assert!(bench.relay.take_drained());
    assert!(matches!(bench.session.remove_submission_queue(QueueId(2)), Removal::Gone(_)));
    assert!(matches!(bench.session.remove_submission_queue(QueueId(2)), Removal::Unknown));
    assert_eq!(completed(&mut bench).len(), 2);
    let layout = rig::layout(2, 64, 64, &mut (FAR + 0x1_0000));
    let setup = SubmissionQueueSetup::find(layout, &bench.rules, &bench.memory.table).unwrap();
    assert!(bench.session.add_submission_queue(setup).is_ok());
}

#[test]
fn a_session_that_is_held_takes_nothing_and_tells_when_it_has_drained() {
    let (mut bench, device) = scripted(Setup::default(), 64);
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert!(!bench.session.hold());
    bench.queues[0].push(read(1, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.taken().len(), 1);
    device.complete_all(Status::Success);
    bench.turns();
    assert!(bench.relay.take_drained());
    assert!(bench.session.is_drained());
    bench.session.resume();
    bench.turns();
    assert_eq!(device.complete_all(Status::Success), 1);
    bench.turns();
    assert_eq!(completed(&mut bench).len(), 2);
    assert!(bench.session.hold(), "nothing is in flight");
}

/// Completion layout of a bench.
fn layouts() -> [QueueLayout; 2] {
    let mut at = RigMemory::RINGS.0;
    [rig::layout(1, 64, 16, &mut at), rig::layout(1, 64, 64, &mut at)]
}

#[test]
fn memory_is_exchanged_under_commands_in_flight_which_keep_what_goes() {
    let (mut bench, device) = scripted(Setup::default(), 64);
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    let (layout, _) = RigMemory::file(0x9000_0000, 0x1000);
    let before = bench.memory.table.clone();
    let more = luge_memory::GuestRegion::map_for_process(layout, RigMemory::file(0, 0x1000).1).unwrap();
    let grown = Arc::new(before.with(more).unwrap());
    let fewer = Arc::new(before.without(GuestAddress(FAR), RigMemory::FAR_DATA.1).unwrap());
    let [completion, submission] = layouts();
    let find = |table: &Arc<GuestMemory>| {
        let memory = SessionMemory::find(&completion, &[submission], &bench.rules, table.clone());
        memory.without(GoneMemory::between(&before, table))
    };
    assert!(matches!(bench.session.replace_memory(find(&grown)), MemoryChange::Done(_)));
    assert!(matches!(bench.session.replace_memory(find(&fewer)), MemoryChange::Leaving));
    assert!(matches!(bench.session.replace_memory(find(&fewer)), MemoryChange::Refused(_)), "once at a time");
    assert!(bench.session.take_left_memory().is_none());
    // Commands to come use the new memory.
    bench.queues[0].push(read(0, 1, FAR));
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(bench.take().unwrap().status.code(), StatusCode::DATA_TRANSFER_ERROR);
    let [first, second] = [0, 1].map(|index| device.taken()[index].tag);
    assert!(device.complete(first, Status::Success));
    bench.turns();
    assert!(bench.relay.take_drained(), "the first one has ended");
    let before = bench.session.take_left_memory();
    assert!(before.is_some(), "the second one uses the new memory");
    assert!(device.complete(second, Status::Success));
    bench.turns();
}

/// Whether a session that notes the memory of its commands waits for `command` before memory goes, at the place of
/// far data.
fn waits_for(command: SubmissionEntry) -> bool {
    let (mut bench, device) = scripted(Setup::default(), 64);
    let [completion, submission] = layouts();
    let find = |bench: &Bench, table: &Arc<_>| {
        SessionMemory::find(&completion, &[submission], &bench.rules, Arc::clone(table))
    };
    let noting = find(&bench, &bench.memory.table).with_notes(64);
    assert!(matches!(bench.session.replace_memory(noting), MemoryChange::Done(_)));
    // Two at a time are a run.
    for entry in [read(0, 1, DATA), command] {
        bench.queues[0].push(entry);
    }
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.taken().len(), 2);
    let before = bench.memory.table.clone();
    let fewer = Arc::new(before.without(GuestAddress(FAR), RigMemory::FAR_DATA.1).unwrap());
    let memory = find(&bench, &fewer).without(GoneMemory::between(&before, &fewer));
    let waits = matches!(bench.session.replace_memory(memory), MemoryChange::Leaving);
    assert_eq!(device.complete_all(Status::Success), 2);
    bench.turns();
    waits
}

#[test]
fn memory_that_goes_waits_for_commands_that_use_it_and_for_no_others() {
    assert!(waits_for(read(0, 1, FAR)));
    assert!(waits_for(SubmissionEntry { prp2: FAR, ..read(0, 16, DATA) }), "the second of two pages");
    assert!(!waits_for(SubmissionEntry { prp2: DATA + 2 * rig::PAGE, ..read(0, 16, DATA) }));
    let compare = |at| SubmissionEntry { prp1: at, ..rig::io(IoOpcode::COMPARE, 0, 1) };
    assert!(waits_for(compare(FAR)), "no command of a run");
    assert!(!waits_for(compare(DATA)));
    assert!(!waits_for(rig::io(IoOpcode::FLUSH, 0, 1)), "it has no data");
}

#[test]
fn a_queue_whose_memory_went_away_rests_until_it_is_there_again() {
    let mut bench = Bench::new(memory(64));
    let before = bench.memory.table.clone();
    let rings = RigMemory::RINGS;
    let without = Arc::new(before.without(GuestAddress(rings.0), rings.1).unwrap());
    let [completion, submission] = layouts();
    let find = |table| SessionMemory::find(&completion, &[submission], &bench.rules, table);
    let (gone, back) = (find(without), find(before.clone()));
    assert!(matches!(bench.session.replace_memory(gone), MemoryChange::Done(_)));
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert!(bench.take().is_none());
    assert!(matches!(bench.session.replace_memory(back), MemoryChange::Done(_)));
    bench.turns();
    assert!(bench.take().is_some());
}

#[test]
fn relayed_commands_are_answered_once_and_are_not_in_flight() {
    let mut bench = Bench::with(vec![], Setup { service: Service::Admin, ..Setup::default() });
    let entry = SubmissionEntry { opcode: 6, prp1: DATA, ..SubmissionEntry::default() };
    let command = bench.queues[0].push(entry);
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(bench.session.in_flight(), 0);
    let relayed = bench.relay.next().unwrap();
    assert!(bench.relay.next().is_none());
    assert_eq!(relayed.entry, SubmissionEntry { command_id: command, ..entry });
    assert_eq!(relayed.queue, QueueId(1));
    let invalid = CommandStatus::refused(StatusCode::INVALID_LOG_PAGE);
    assert!(bench.session.complete_relayed(relayed.id, invalid, 0x1234));
    assert!(!bench.session.complete_relayed(relayed.id, invalid, 0x1234), "once");
    let end = bench.take().unwrap();
    assert_eq!(end.status.code(), StatusCode::INVALID_LOG_PAGE);
    assert_eq!(end.result, 0x1234);
    assert_eq!(end.command_id, command);
}

#[test]
fn relayed_commands_that_find_no_room_wait_in_their_queue() {
    let mut bench = Bench::with(vec![], Setup { service: Service::Admin, entries: 1024, ..Setup::default() });
    for _ in 0..600 {
        bench.queues[0].push(SubmissionEntry { opcode: 0x0c, ..SubmissionEntry::default() });
    }
    bench.queues[0].ring();
    bench.turns();
    let mut relayed = 0;
    while let Some(command) = bench.relay.next() {
        bench.turns();
        assert!(bench.session.complete_relayed(command.id, CommandStatus::SUCCESS, 0));
        relayed += 1;
    }
    assert_eq!(relayed, 600);
    assert_eq!(completed(&mut bench).len(), 600);
}

#[test]
fn a_long_command_is_aborted_and_one_that_the_volume_has_is_not() {
    let (mut bench, device) = scripted(Setup::default(), 64);
    let taken = bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert!(!bench.session.abort(QueueId(1), CommandId(taken)));
    let blocks: Vec<SglDescriptor> = (0..1024).map(|n| block(DATA + 8 * n, 4)).collect();
    let entry = with_sgl(&bench.memory, io(IoOpcode::READ, 0, 8), &blocks, FAR);
    let long = bench.queues[0].push(entry);
    bench.queues[0].ring();
    bench.turn();
    assert!(!bench.session.abort(QueueId(2), CommandId(long)), "of another queue");
    assert!(bench.session.abort(QueueId(1), CommandId(long)));
    assert!(!bench.session.abort(QueueId(1), CommandId(long)), "once");
    bench.turns();
    let end = bench.take().unwrap();
    assert_eq!(end.command_id, long);
    assert_eq!(end.status.code(), StatusCode::ABORT_REQUESTED);
    assert_eq!(device.complete_all(Status::Success), 1);
    bench.turns();
    assert_eq!(bench.take().unwrap().command_id, taken);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn a_session_that_is_held_gives_a_long_command_back_to_its_queue() {
    let mut bench = Bench::new(memory(64));
    let blocks: Vec<SglDescriptor> = (0..1024).map(|n| block(DATA + 8 * n, 4)).collect();
    let entry = with_sgl(&bench.memory, io(IoOpcode::READ, 0, 8), &blocks, FAR);
    bench.queues[0].push(entry);
    bench.queues[0].ring();
    bench.turn();
    assert_eq!(bench.session.in_flight(), 1);
    assert!(!bench.session.hold());
    bench.turn();
    assert!(bench.session.is_drained());
    assert!(bench.relay.take_drained());
    bench.session.resume();
    bench.turns();
    assert_eq!(bench.take().unwrap().status.code(), StatusCode::SUCCESS);
}

#[test]
fn writes_of_a_batch_keep_their_data_apart() {
    let mut bench = Bench::new(memory(64));
    for lba in 0..40 {
        let at = DATA + 512 * lba;
        bench.memory.write(GuestAddress(at), &[u8::try_from(lba).unwrap(); 512]);
        bench.queues[0].push(write(lba, 1, at));
    }
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(completed(&mut bench).len(), 40);
    for lba in 0..40 {
        assert_eq!(bench.status(read(lba, 1, FAR)), StatusCode::SUCCESS);
        assert_eq!(bench.memory.bytes(GuestAddress(FAR), 512), [u8::try_from(lba).unwrap(); 512]);
    }
}
