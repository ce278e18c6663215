//! Get Log Page.

use crate::rig::host::{DATA, identify, log, read};
use crate::rig::{BLOCKS, NAMESPACES_MAX, Sled, disk};
use luge_spec::nvme::{AdminOpcode, ErrorEntry, SmartLog, StatusCode, SubmissionEntry};
use zerocopy::FromBytes;

#[test]
fn supported_pages_are_those_that_can_be_read() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let supported = host.log(0, 0, 1024);
    let (words, _) = supported.as_chunks::<4>();
    for (page, word) in (0..=255_u8).zip(words) {
        let status = host.admin(log(page, 0, 4)).status.code();
        let expected = if word[0] & 1 == 1 { StatusCode::SUCCESS } else { StatusCode::INVALID_LOG_PAGE };
        assert_eq!(status, expected, "{page:#x}");
    }
}

#[test]
fn the_smart_log_counts_what_was_read_and_written() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    (0..3).for_each(|_| host.use_disk(0, 1));
    let smart = SmartLog::read_from_bytes(&host.log(2, 0, 512)).unwrap();
    assert_eq!(smart.host_reads, 3);
    assert_eq!(smart.host_writes, 3);
    assert_eq!(smart.data_units_read, 1, "three sectors, rounded up");
    assert_eq!(smart.data_units_written, 1);
    assert_eq!(smart.power_cycles, 1);
    assert_eq!(smart.unsafe_shutdowns, 0);
    assert_eq!(smart.critical_warning, 0);
    assert_eq!(smart.media_errors, 0);
}

#[test]
fn the_smart_log_of_a_namespace_is_that_of_its_volume() {
    let sled = Sled::with_disk();
    sled.add(2, disk());
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.use_disk(0, 1);
    let mut reads = |namespace| {
        host.succeed(SubmissionEntry { namespace, ..log(2, 0, 512) });
        SmartLog::read_from_bytes(&host.data(512)).unwrap().host_reads
    };
    assert_eq!(reads(1), 1);
    assert_eq!(reads(2), 0);
    assert_eq!(reads(0), 1);
    let of = |namespace| SubmissionEntry { namespace, ..log(2, 0, 512) };
    assert_eq!(host.refused(of(NAMESPACES_MAX)), StatusCode::INVALID_FIELD, "inactive");
    assert_eq!(host.refused(of(NAMESPACES_MAX + 1)), StatusCode::INVALID_NAMESPACE);
}

#[test]
fn a_client_that_leaves_a_running_controller_is_an_unsafe_shutdown() {
    let sled = Sled::with_disk();
    drop(sled.host());
    let mut host = sled.host();
    let smart = SmartLog::read_from_bytes(&host.log(2, 0, 512)).unwrap();
    assert_eq!(smart.power_cycles, 2);
    assert_eq!(smart.unsafe_shutdowns, 1);
}

#[test]
fn refused_commands_are_in_the_error_log() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let completion = host.admin(identify(0xfe, 1));
    assert_eq!(completion.status.0 >> 14 & 1, 1, "More");
    let errors = host.log(1, 0, 128);
    let first = ErrorEntry::read_from_bytes(&errors[..64]).unwrap();
    assert_eq!(first.count, 1);
    assert_eq!(first.command_id, completion.command_id);
    assert_eq!(first.submission_queue, 0);
    assert_eq!(first.namespace, 1);
    assert_eq!(first.status & 0xfffe, completion.status.0 & 0xfffe);
    assert_eq!(errors[64..], [0; 64]);
    let smart = SmartLog::read_from_bytes(&host.log(2, 0, 512)).unwrap();
    assert_eq!(smart.error_log_entries, 1);
}

#[test]
fn io_commands_that_fail_are_in_the_error_log() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let completion = host.io(0, read(1, BLOCKS));
    assert_eq!(completion.status.code(), StatusCode::LBA_OUT_OF_RANGE);
    assert_eq!(completion.status.0 >> 14 & 1, 1, "More");
    let first = ErrorEntry::read_from_bytes(&host.log(1, 0, 64)).unwrap();
    assert_eq!(first.submission_queue, 1);
    assert_eq!(first.namespace, 1);
    assert_eq!(first.lba, BLOCKS);
    assert_eq!(first.command_id, completion.command_id);
    assert_eq!(first.status & 0xfffe, completion.status.0 & 0xfffe);
}

#[test]
fn more_failures_than_the_log_has_entries_are_counted() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    (0..200).for_each(|_| {
        host.io(0, read(1, BLOCKS));
    });
    let smart = SmartLog::read_from_bytes(&host.log(2, 0, 512)).unwrap();
    assert_eq!(smart.error_log_entries, 200);
}

#[test]
fn the_error_log_outlives_a_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.admin(identify(0xfe, 1));
    host.disable();
    host.enable();
    assert_eq!(host.log(1, 0, 8), 1_u64.to_le_bytes());
}

#[test]
fn a_log_is_read_in_parts() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let whole = host.log(3, 0, 512);
    assert_eq!(whole[0], 1);
    assert_eq!(whole[8..16].trim_ascii_end(), env!("CARGO_PKG_VERSION").as_bytes());
    let parts: Vec<u8> = (0..512).step_by(128).flat_map(|at| host.log(3, at, 128)).collect();
    assert_eq!(parts, whole);
}

#[test]
fn an_offset_that_is_odd_or_past_the_end_is_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for offset in [2, 513, 516, 1 << 32, u64::MAX - 3] {
        assert_eq!(host.refused(log(3, offset, 4)), StatusCode::INVALID_FIELD, "{offset:#x}");
    }
    let mut by_index = log(3, 0, 4);
    by_index.cdw10[4] = 1 << 23;
    assert_eq!(host.refused(by_index), StatusCode::INVALID_FIELD);
}

#[test]
fn no_more_is_written_than_the_log_has() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.fill_data(4096);
    host.succeed(log(2, 0, 4096));
    assert_eq!(host.data(4096)[512..], [0xa5; 3584]);
    let mut huge = log(2, 0, 4);
    (huge.cdw10[0], huge.cdw10[1]) = (2 | 0xffff << 16, 0xffff);
    host.succeed(huge);
    assert_eq!(huge.prp1, DATA);
    assert_eq!(host.data(4096)[512..], [0xa5; 3584], "16 GiB were asked for");
}

#[test]
fn commands_that_have_effects_are_the_ones_that_are_served() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let effects = host.log(5, 0, 4096);
    let (words, _) = effects.as_chunks::<4>();
    // Those that would wait, or reset what the test needs.
    let skipped = [AdminOpcode::ASYNC_EVENT_REQUEST.0, AdminOpcode::FORMAT.0];
    for opcode in (0..=255_u8).filter(|opcode| !skipped.contains(opcode)) {
        let entry = SubmissionEntry { opcode, namespace: 0x7777, ..SubmissionEntry::default() };
        let unknown = host.admin(entry).status.code() == StatusCode::INVALID_OPCODE;
        let supported = words[usize::from(opcode)][0] & 1 == 1;
        assert_ne!(unknown, supported, "opcode {opcode:#x}");
    }
}
