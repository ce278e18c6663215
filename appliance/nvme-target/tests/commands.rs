//! Commands one by one: what each does, and the status of each that is wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Access, Durability, FileDevice, Geometry, Lba, Operation, Status};
use luge_core::Session;
use luge_memory::GuestAddress;
use luge_nvme_target::{CommandStatus, NamespaceId, Namespaces};
use luge_spec::nvme::{CopySource, DatasetRange, IoOpcode, StatusCode, SubmissionEntry, io_flags};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::{Bench, Setup, io, memory, read, write};
use std::sync::Arc;
use zerocopy::IntoBytes;

const DATA: u64 = RigMemory::DATA.0;
const FAR: u64 = RigMemory::FAR_DATA.0;
const BLOCKS: u64 = 64;

fn bench() -> Bench {
    Bench::new(memory(BLOCKS))
}

/// A bench on a device that the test plays.
fn scripted(geometry: Geometry) -> (Bench, Scripted) {
    let device = Scripted::new(geometry, 32);
    (Bench::new(Arc::new(device.clone())), device)
}

/// Fills blocks of the disk, each byte with the number of its block.
fn fill(bench: &mut Bench) {
    for lba in 0..BLOCKS {
        bench.memory.write(GuestAddress(DATA), &[u8::try_from(lba).unwrap(); 512]);
        assert_eq!(bench.status(write(lba, 1, DATA)), StatusCode::SUCCESS);
    }
}

/// First byte of a block of the disk.
fn byte(bench: &mut Bench, lba: u64) -> u8 {
    assert_eq!(bench.status(read(lba, 1, FAR)), StatusCode::SUCCESS);
    bench.memory.bytes(GuestAddress(FAR), 1)[0]
}

/// Sets CDW12 bits beside NLB.
fn with_flags(mut entry: SubmissionEntry, flags: u32) -> SubmissionEntry {
    entry.cdw10[2] |= flags;
    entry
}

#[test]
fn what_was_written_is_read() {
    let mut bench = bench();
    bench.memory.write(GuestAddress(DATA), &[7; 1024]);
    assert_eq!(bench.status(write(3, 2, DATA)), StatusCode::SUCCESS);
    assert_eq!(bench.status(read(3, 2, DATA + 0x2000)), StatusCode::SUCCESS);
    assert_eq!(bench.memory.bytes(GuestAddress(DATA + 0x2000), 1024), [7; 1024]);
}

#[test]
fn a_completion_names_its_command_its_queue_and_the_head() {
    let mut bench = bench();
    for n in 1..200 {
        let end = bench.send(read(0, 1, DATA));
        assert_eq!(u32::from(end.submission_head), n % 64, "command {n}");
        assert_eq!(end.submission_queue, 1);
        assert_eq!(end.result, 0);
    }
}

#[test]
fn of_commands_that_end_at_once_those_that_fail_say_so_and_the_others_succeed() {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(BLOCKS * 512).unwrap();
    let device = FileDevice::open(file.path(), Some(512), Access::ReadWrite).unwrap();
    let mut bench = Bench::new(Arc::new(device));
    fill(&mut bench);
    // Blocks that the file has no more cannot be read.
    file.as_file().set_len(BLOCKS / 2 * 512).unwrap();
    let lbas = [1, BLOCKS - 1, BLOCKS - 2, 2, 3, BLOCKS - 3];
    for (place, lba) in (0..).zip(lbas) {
        bench.queues[0].push(read(lba, 1, FAR + 512 * place));
    }
    bench.queues[0].ring();
    bench.turns();
    let mut ends: Vec<_> = std::iter::from_fn(|| bench.take()).collect();
    assert_eq!(ends.len(), lbas.len());
    ends.sort_by_key(|end| end.command_id);
    for (end, (place, lba)) in ends.iter().zip((0..).zip(lbas)) {
        let succeeds = lba < BLOCKS / 2;
        assert_eq!(end.status.code() == StatusCode::SUCCESS, succeeds, "block {lba}: {end:?}");
        if succeeds {
            let byte = bench.memory.bytes(GuestAddress(FAR + 512 * place), 1)[0];
            assert_eq!(u64::from(byte), lba, "the data of another block");
        }
    }
    assert_eq!(bench.namespaces.get(NamespaceId(1)).unwrap().stats.read().failed, 3);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn blocks_past_the_end_are_out_of_range_and_touch_nothing() {
    let mut bench = bench();
    bench.memory.write(GuestAddress(DATA), &[0xee; 4096]);
    for (lba, blocks) in [(BLOCKS, 1), (BLOCKS - 1, 2), (u64::MAX, 1), (u64::MAX - 1, 2)] {
        for entry in
            [read(lba, blocks, DATA), write(lba, blocks, DATA), io(IoOpcode::WRITE_ZEROES, lba, blocks)]
        {
            let end = bench.send(entry);
            assert_eq!(end.status.code(), StatusCode::LBA_OUT_OF_RANGE, "{blocks} from {lba}");
            assert!(end.status.do_not_retry(), "{blocks} from {lba}");
        }
    }
    assert_eq!(bench.memory.bytes(GuestAddress(DATA), 4096), [0xee; 4096]);
}

#[test]
fn commands_and_fields_that_do_not_exist_are_refused() {
    let mut bench = bench();
    let odd = |opcode| SubmissionEntry { opcode, ..read(0, 1, DATA) };
    for opcode in [0x03, 0x06, 0x0b, 0x7f, 0x80, 0xff] {
        assert_eq!(bench.status(odd(opcode)), StatusCode::INVALID_OPCODE, "{opcode:#x}");
    }
    let kinds = SubmissionEntry { flags: 3 << 6, ..read(0, 1, DATA) };
    assert_eq!(bench.status(kinds), StatusCode::INVALID_FIELD, "kind of data pointer");
    let fused = SubmissionEntry { flags: 3, ..read(0, 1, DATA) };
    assert_eq!(bench.status(fused), StatusCode::INVALID_FIELD, "reserved fused operation");
    let protection = with_flags(read(0, 1, DATA), io_flags::PROTECTION);
    assert_eq!(bench.status(protection), StatusCode::INVALID_FIELD, "protection information");
    let directive = with_flags(write(0, 1, DATA), io_flags::DIRECTIVE);
    assert_eq!(bench.status(directive), StatusCode::INVALID_FIELD, "directive");
}

#[test]
fn a_namespace_that_is_inactive_and_one_that_cannot_be_are_told_apart() {
    let mut bench = bench();
    let first = bench.namespaces.get(luge_nvme_target::NamespaceId(1)).unwrap().clone();
    let table = Namespaces::new([Some(first.clone()), None, Some(first)]);
    bench.session.replace_namespaces(Arc::new(table));
    let of = |namespace| SubmissionEntry { namespace, ..read(0, 1, DATA) };
    assert_eq!(bench.status(of(3)), StatusCode::SUCCESS);
    assert_eq!(bench.status(of(2)), StatusCode::INVALID_FIELD, "inactive");
    for beyond in [0, 4, u32::MAX - 1, u32::MAX] {
        assert_eq!(bench.status(of(beyond)), StatusCode::INVALID_NAMESPACE, "{beyond}");
    }
}

#[test]
fn a_failure_is_reported_with_its_queue_its_command_and_its_namespace() {
    let mut bench = bench();
    for namespace in [1, 7] {
        let end = bench.send(SubmissionEntry { namespace, ..read(BLOCKS, 1, DATA) });
        let failure = bench.relay.next_failure().unwrap();
        assert_eq!(failure.queue.0, 1);
        assert_eq!(failure.command.0, end.command_id);
        assert_eq!(failure.status.code(), end.status.code());
        assert_eq!(failure.namespace.0, namespace);
    }
    assert!(bench.relay.next_failure().is_none());
}

#[test]
fn a_namespace_that_refuses_gives_its_status() {
    let mut bench = bench();
    let mut first = bench.namespaces.get(luge_nvme_target::NamespaceId(1)).unwrap().clone();
    first.refusal = Some(CommandStatus::failed(StatusCode::FORMAT_IN_PROGRESS));
    bench.session.replace_namespaces(Arc::new(Namespaces::new([Some(first)])));
    for entry in [read(0, 1, DATA), write(0, 1, DATA), io(IoOpcode::FLUSH, 0, 1)] {
        assert_eq!(bench.status(entry), StatusCode::FORMAT_IN_PROGRESS);
    }
}

#[test]
fn force_unit_access_and_a_cache_that_is_off_make_writes_durable() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    let operation_of = |bench: &mut Bench, entry| {
        bench.queues[0].push(entry);
        bench.queues[0].ring();
        bench.turns();
        let operation = device.taken()[0].operation;
        device.complete_all(Status::Success);
        bench.turns();
        assert!(bench.take().is_some());
        operation
    };
    let fua = with_flags(write(0, 1, DATA), io_flags::FORCE_UNIT_ACCESS);
    let long = SubmissionEntry { prp2: DATA + 4096, ..write(0, 16, DATA) };
    assert_eq!(operation_of(&mut bench, write(0, 1, DATA)), Operation::Write(Durability::Cache));
    assert_eq!(operation_of(&mut bench, fua), Operation::Write(Durability::Media));
    assert_eq!(operation_of(&mut bench, long), Operation::Write(Durability::Cache));
    bench.session.set_durability(Durability::Media);
    assert_eq!(operation_of(&mut bench, write(0, 1, DATA)), Operation::Write(Durability::Media));
    assert_eq!(operation_of(&mut bench, long), Operation::Write(Durability::Media));
    assert_eq!(operation_of(&mut bench, read(0, 1, DATA)), Operation::Read);
}

#[test]
fn a_read_only_namespace_refuses_every_command_that_changes_data() {
    let whole = Volume::whole(memory(BLOCKS)).read_only_view();
    let mut bench = Bench::with(vec![whole], Setup::default());
    let range = deallocation(&bench, &[DatasetRange { attributes: 0, blocks: 1, lba: 0 }]);
    for change in [write(0, 1, DATA), io(IoOpcode::WRITE_ZEROES, 0, 1), range] {
        assert_eq!(bench.status(change), StatusCode::NAMESPACE_WRITE_PROTECTED, "{change:?}");
    }
    assert_eq!(bench.status(read(0, 1, DATA)), StatusCode::SUCCESS);
    assert_eq!(bench.status(io(IoOpcode::FLUSH, 0, 1)), StatusCode::SUCCESS);
}

#[test]
fn each_failure_of_a_volume_has_a_status_and_is_counted() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    for (status, code, retries) in [
        (Status::MediaError, StatusCode::UNRECOVERED_READ, false),
        (Status::DeviceError, StatusCode::INTERNAL_ERROR, true),
        (Status::Aborted, StatusCode::INTERNAL_ERROR, true),
        (Status::Gone, StatusCode::INTERNAL_ERROR, false),
        (Status::NoSpace, StatusCode::CAPACITY_EXCEEDED, false),
    ] {
        bench.queues[0].push(read(0, 1, DATA));
        bench.queues[0].ring();
        bench.turns();
        device.complete_all(status);
        bench.turns();
        let end = bench.take().unwrap();
        assert_eq!(end.status.code(), code, "{status}");
        assert_eq!(end.status.do_not_retry(), !retries, "{status}");
    }
    let stats = bench.namespaces.get(luge_nvme_target::NamespaceId(1)).unwrap().stats.read();
    assert_eq!(stats.aborted, 1);
    assert_eq!(stats.failed, 4);
}

#[test]
fn zeroes_are_written_with_and_without_deallocation() {
    for deallocate in [0, io_flags::DEALLOCATE, io_flags::FORCE_UNIT_ACCESS] {
        let mut bench = bench();
        fill(&mut bench);
        let entry = with_flags(io(IoOpcode::WRITE_ZEROES, 8, 4), deallocate);
        assert_eq!(bench.status(entry), StatusCode::SUCCESS);
        assert_eq!(byte(&mut bench, 7), 7);
        assert_eq!(byte(&mut bench, 8), 0);
        assert_eq!(byte(&mut bench, 11), 0);
        assert_eq!(byte(&mut bench, 12), 12);
    }
}

#[test]
fn durable_zeroes_complete_after_a_flush_where_there_is_a_cache() {
    let (mut bench, device) = scripted(Geometry { volatile_cache: true, ..Geometry::for_tests() });
    bench.queues[0].push(with_flags(io(IoOpcode::WRITE_ZEROES, 8, 4), io_flags::FORCE_UNIT_ACCESS));
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.taken()[0].operation, Operation::WriteZeroes);
    device.complete_all(Status::Success);
    bench.turns();
    assert!(bench.take().is_none(), "not on the media yet");
    assert_eq!(device.taken()[0].operation, Operation::Flush);
    device.complete_all(Status::MediaError);
    bench.turns();
    assert_eq!(bench.take().unwrap().status.code(), StatusCode::WRITE_FAULT);
}

/// A deallocation of ranges, whose list it writes to guest memory.
fn deallocation(bench: &Bench, ranges: &[DatasetRange]) -> SubmissionEntry {
    bench.memory.write(GuestAddress(FAR + 0x1000), ranges.as_bytes());
    let mut entry = SubmissionEntry { prp1: FAR + 0x1000, ..io(IoOpcode::DATASET_MANAGEMENT, 0, 1) };
    let ranges_z = u32::try_from(ranges.len() - 1).unwrap();
    entry.cdw10 = [ranges_z, io_flags::ATTRIBUTE_DEALLOCATE, 0, 0, 0, 0];
    entry
}

#[test]
fn ranges_are_deallocated_and_those_without_blocks_are_none() {
    let mut bench = bench();
    fill(&mut bench);
    let range = |lba, blocks| DatasetRange { attributes: 0, blocks, lba };
    let entry = deallocation(&bench, &[range(2, 1), range(u64::MAX, 0), range(4, 2)]);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    let zeroes: Vec<u64> = (0..8).filter(|&lba| lba > 0 && byte(&mut bench, lba) == 0).collect();
    assert_eq!(zeroes, [2, 4, 5]);
    let entry = deallocation(&bench, &[range(0, 0)]);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
}

#[test]
fn a_deallocation_that_is_wrong_anywhere_changes_nothing() {
    let mut bench = bench();
    fill(&mut bench);
    let range = |lba, blocks| DatasetRange { attributes: 0, blocks, lba };
    let entry = deallocation(&bench, &[range(1, 1), range(BLOCKS, 1)]);
    assert_eq!(bench.status(entry), StatusCode::LBA_OUT_OF_RANGE);
    let missing = SubmissionEntry { prp1: 0xdead_0000, ..entry };
    assert_eq!(bench.status(missing), StatusCode::DATA_TRANSFER_ERROR);
    let mut hint = entry;
    hint.cdw10[1] = 0;
    assert_eq!(bench.status(hint), StatusCode::SUCCESS, "a hint");
    assert_eq!(byte(&mut bench, 1), 1);
}

#[test]
fn a_flush_of_all_namespaces_ends_after_all_of_them_with_the_first_failure() {
    let devices: Vec<Scripted> = (0..3).map(|_| Scripted::new(Geometry::for_tests(), 32)).collect();
    let volumes = devices.iter().map(|device| Volume::whole(Arc::new(device.clone()))).collect();
    let mut bench = Bench::with(volumes, Setup::default());
    devices[1].set_room(0);
    bench.queues[0].push(SubmissionEntry { namespace: u32::MAX, ..io(IoOpcode::FLUSH, 0, 1) });
    bench.queues[0].ring();
    bench.turn();
    assert_eq!(devices[0].complete_all(Status::MediaError), 1);
    bench.turn();
    assert!(bench.take().is_none(), "one has no room yet");
    devices[1].set_room(32);
    bench.turn();
    assert_eq!(devices[1].complete_all(Status::Success), 1);
    bench.turn();
    assert!(bench.take().is_none(), "one is flushing");
    assert_eq!(devices[2].complete_all(Status::Success), 1);
    bench.turn();
    assert_eq!(bench.take().unwrap().status.code(), StatusCode::WRITE_FAULT);
    assert_eq!(luge_core::Session::in_flight(&bench.session), 0);
}

#[test]
fn a_comparison_succeeds_where_the_blocks_are_equal() {
    let mut bench = bench();
    fill(&mut bench);
    bench.memory.write(GuestAddress(DATA), &[9; 512]);
    let compare = |lba| SubmissionEntry { prp1: DATA, ..io(IoOpcode::COMPARE, lba, 1) };
    assert_eq!(bench.status(compare(9)), StatusCode::SUCCESS);
    assert_eq!(bench.status(compare(8)), StatusCode::COMPARE_FAILURE);
    assert_eq!(bench.status(io(IoOpcode::VERIFY, 0, 8)), StatusCode::SUCCESS);
}

/// The two commands of a pair: compare with 512 bytes of `expected`, and write `new`.
fn pair(bench: &Bench, lba: u64, [expected, new]: [u8; 2]) -> [SubmissionEntry; 2] {
    bench.memory.write(GuestAddress(DATA), &[expected; 512]);
    bench.memory.write(GuestAddress(DATA + 0x1000), &[new; 512]);
    let compare = SubmissionEntry { flags: 1, prp1: DATA, ..io(IoOpcode::COMPARE, lba, 1) };
    [compare, SubmissionEntry { flags: 2, ..write(lba, 1, DATA + 0x1000) }]
}

/// Statuses of commands that are announced together.
fn statuses(bench: &mut Bench, entries: &[SubmissionEntry]) -> Vec<StatusCode> {
    for &entry in entries {
        bench.queues[0].push(entry);
    }
    bench.queues[0].ring();
    for _ in 0..100 {
        bench.turn();
    }
    std::iter::from_fn(|| bench.take()).map(|end| end.status.code()).collect()
}

#[test]
fn a_fused_pair_writes_only_where_the_comparison_succeeds() {
    let mut bench = bench();
    fill(&mut bench);
    let entries = pair(&bench, 5, [5, 77]);
    assert_eq!(statuses(&mut bench, &entries), [StatusCode::SUCCESS; 2]);
    assert_eq!(byte(&mut bench, 5), 77);
    let entries = pair(&bench, 6, [5, 78]);
    let failed = [StatusCode::COMPARE_FAILURE, StatusCode::ABORTED_FAILED_FUSED];
    assert_eq!(statuses(&mut bench, &entries), failed);
    assert_eq!(byte(&mut bench, 6), 6);
}

#[test]
fn a_lone_half_of_a_pair_is_aborted_and_others_go_on() {
    let mut bench = bench();
    let [first, second] = pair(&bench, 5, [0, 1]);
    let missing = StatusCode::ABORTED_MISSING_FUSED;
    assert_eq!(statuses(&mut bench, &[first]), [missing]);
    assert_eq!(statuses(&mut bench, &[second]), [missing]);
    assert_eq!(statuses(&mut bench, &[second, first]), [missing, missing]);
    let plain = read(0, 1, FAR);
    assert_eq!(statuses(&mut bench, &[first, plain]), [missing, StatusCode::SUCCESS]);
    assert_eq!(
        statuses(&mut bench, &[first, first, second]),
        [missing, StatusCode::SUCCESS, StatusCode::SUCCESS]
    );
}

#[test]
fn a_pair_that_does_not_fit_together_is_refused_and_writes_nothing() {
    let mut bench = bench();
    let [first, second] = pair(&bench, 5, [0, 1]);
    let invalid = [StatusCode::INVALID_FIELD; 2];
    assert_eq!(statuses(&mut bench, &[first, SubmissionEntry { flags: 2, ..write(6, 1, DATA) }]), invalid);
    assert_eq!(statuses(&mut bench, &[first, SubmissionEntry { flags: 2, ..write(5, 2, DATA) }]), invalid);
    assert_eq!(statuses(&mut bench, &[first, SubmissionEntry { flags: 2, ..read(5, 1, DATA) }]), invalid);
    let aborted = StatusCode::ABORTED_FAILED_FUSED;
    let nowhere = SubmissionEntry { prp1: 0xdead_0000, ..second };
    assert_eq!(statuses(&mut bench, &[first, nowhere]), [aborted, StatusCode::DATA_TRANSFER_ERROR]);
    let nowhere = SubmissionEntry { prp1: 0xdead_0000, ..first };
    assert_eq!(statuses(&mut bench, &[nowhere, second]), [StatusCode::DATA_TRANSFER_ERROR, aborted]);
    assert_eq!(byte(&mut bench, 5), 0);
}

/// A copy of ranges to `lba`, whose list it writes to guest memory.
fn copy(bench: &Bench, lba: u64, sources: &[(u64, u16)]) -> SubmissionEntry {
    let sources: Vec<CopySource> = sources
        .iter()
        .map(|&(lba, blocks)| CopySource { lba, blocks_z: blocks - 1, ..CopySource::default() })
        .collect();
    bench.memory.write(GuestAddress(FAR + 0x1000), sources.as_bytes());
    let ranges_z = u32::try_from(sources.len() - 1).unwrap();
    let mut entry = SubmissionEntry { prp1: FAR + 0x1000, ..io(IoOpcode::COPY, lba, 1) };
    entry.cdw10[2] = ranges_z;
    entry
}

#[test]
fn ranges_are_copied_one_after_the_other() {
    let mut bench = bench();
    fill(&mut bench);
    let entry = copy(&bench, 40, &[(3, 2), (10, 1)]);
    assert_eq!(bench.status(entry), StatusCode::SUCCESS);
    assert_eq!([40, 41, 42, 43].map(|lba| byte(&mut bench, lba)), [3, 4, 10, 43]);
}

#[test]
fn a_copy_beyond_its_limits_changes_nothing() {
    let mut bench = bench();
    fill(&mut bench);
    let entry = copy(&bench, 40, &[(39, 2)]);
    assert_eq!(bench.status(entry), StatusCode::OVERLAPPING_RANGE);
    let entry = copy(&bench, 40, &[(3, 1), (BLOCKS - 1, 2)]);
    assert_eq!(bench.status(entry), StatusCode::LBA_OUT_OF_RANGE);
    let limit = Volume::whole(memory(BLOCKS)).geometry().operations.copy;
    assert!(limit.ranges_max >= 128, "as many as Linux asks for");
    let mut other_format = copy(&bench, 40, &[(3, 1)]);
    other_format.cdw10[2] |= 1 << 8;
    assert_eq!(bench.status(other_format), StatusCode::INVALID_FIELD);
    assert_eq!(byte(&mut bench, 40), 40);
}

#[test]
fn a_block_number_reaches_the_volume_whole() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    let lba = Geometry::for_tests().blocks.0 - 1;
    bench.queues[0].push(read(lba, 1, DATA));
    bench.queues[0].ring();
    bench.turns();
    assert_eq!(device.taken()[0].lba, Lba(lba));
    device.complete_all(Status::Success);
    bench.turns();
}
