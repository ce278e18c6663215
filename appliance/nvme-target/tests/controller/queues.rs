//! Creation and deletion of I/O queues.

use crate::rig::host::{IO_ENTRIES, create_completion_queue, create_submission_queue, read, set_feature};
use crate::rig::queue::{QueuePair, tail_doorbell};
use crate::rig::{Host, Sled};
use luge_core::{Descriptors, Promise};
use luge_spec::nvme::{AdminOpcode, Configuration, StatusCode, SubmissionEntry, offset};
use luge_vfio_user::RegionIndex;
use luge_virtqueue::rig::RigMemory;
use std::sync::Arc;

fn pair(host: &Host, id: u16) -> QueuePair {
    QueuePair::new(&host.memory, id, IO_ENTRIES, RigMemory::RINGS.0 + 0x4000 * u64::from(id))
}

fn delete_submission_queue(id: u16) -> SubmissionEntry {
    SubmissionEntry::admin(AdminOpcode::DELETE_SUBMISSION_QUEUE, id.into(), 0)
}

fn delete_completion_queue(id: u16) -> SubmissionEntry {
    SubmissionEntry::admin(AdminOpcode::DELETE_COMPLETION_QUEUE, id.into(), 0)
}

fn with_cdw10(mut entry: SubmissionEntry, cdw10: u32) -> SubmissionEntry {
    entry.cdw10[0] = cdw10;
    entry
}

fn with_cdw11(mut entry: SubmissionEntry, cdw11: u32) -> SubmissionEntry {
    entry.cdw10[1] = cdw11;
    entry
}

#[test]
fn identifiers_that_cannot_be_or_are_in_use_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    for id in [0, 1, 9, 0xffff] {
        let queue = pair(&host, id.min(10));
        let cdw10 = u32::from(id) | 63 << 16;
        let completion = with_cdw10(create_completion_queue(&queue, 1), cdw10);
        assert_eq!(host.refused(completion), StatusCode::INVALID_QUEUE_ID, "completion queue {id}");
        let submission = with_cdw10(create_submission_queue(&queue, 1), cdw10);
        assert_eq!(host.refused(submission), StatusCode::INVALID_QUEUE_ID, "submission queue {id}");
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let queue = pair(&host, 2);
    for entries_z in [0_u32, 4096, 0xffff] {
        let cdw10 = 2 | entries_z << 16;
        let completion = with_cdw10(create_completion_queue(&queue, 1), cdw10);
        assert_eq!(host.refused(completion), StatusCode::INVALID_QUEUE_SIZE, "{entries_z}");
        let submission = with_cdw10(create_submission_queue(&queue, 1), cdw10);
        assert_eq!(host.refused(submission), StatusCode::INVALID_QUEUE_SIZE, "{entries_z}");
    }
}

#[test]
fn the_largest_queues_are_possible() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let queue = QueuePair::new(&host.memory, 1, 4096, RigMemory::RINGS.0 + 0x4000);
    host.succeed(create_completion_queue(&queue, 1));
    host.succeed(create_submission_queue(&queue, 1));
    host.queues.push(queue);
    host.use_disk(0, 0x77);
}

#[test]
fn a_submission_queue_needs_a_completion_queue() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let queue = pair(&host, 2);
    assert_eq!(host.refused(create_submission_queue(&queue, 0)), StatusCode::INVALID_QUEUE_ID);
    assert_eq!(host.refused(create_submission_queue(&queue, 9)), StatusCode::INVALID_QUEUE_ID);
    assert_eq!(host.refused(create_submission_queue(&queue, 3)), StatusCode::INVALID_COMPLETION_QUEUE);
}

#[test]
fn a_vector_that_is_not_there_is_refused_where_interrupts_are_enabled() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let queue = pair(&host, 1);
    assert_eq!(host.refused(create_completion_queue(&queue, 9)), StatusCode::INVALID_INTERRUPT_VECTOR);
    let polled = with_cdw11(create_completion_queue(&queue, 9), 1 | 9 << 16);
    host.succeed(polled);
}

#[test]
fn queues_that_are_not_aligned_or_not_in_memory_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let queue = pair(&host, 1);
    let at = |prp1| SubmissionEntry { prp1, ..create_completion_queue(&queue, 1) };
    assert_eq!(host.refused(at(0)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(at(queue.completion + 8)), StatusCode::PRP_OFFSET_INVALID);
    assert_eq!(host.refused(at(0x7000_0000)), StatusCode::DATA_TRANSFER_ERROR);
    assert_eq!(host.refused(at(!0xfff)), StatusCode::DATA_TRANSFER_ERROR);
    host.succeed(create_completion_queue(&queue, 1));
}

#[test]
fn entries_of_another_size_are_refused_when_queues_are_created() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    host.set_admin_queues();
    host.write32(offset::CC, 1);
    let queue = pair(&host, 1);
    assert_eq!(host.refused(create_completion_queue(&queue, 1)), StatusCode::INVALID_QUEUE_SIZE);
    host.write32(offset::CC, Configuration::ENABLED.0);
    host.succeed(create_completion_queue(&queue, 1));
}

#[test]
fn queues_are_deleted_submission_queues_first() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    assert_eq!(host.refused(delete_completion_queue(1)), StatusCode::INVALID_QUEUE_DELETION);
    host.succeed(delete_submission_queue(1));
    assert_eq!(host.refused(delete_submission_queue(1)), StatusCode::INVALID_QUEUE_ID);
    host.succeed(delete_completion_queue(1));
    assert_eq!(host.refused(delete_completion_queue(1)), StatusCode::INVALID_QUEUE_ID);
    assert_eq!(host.refused(delete_submission_queue(0)), StatusCode::INVALID_QUEUE_ID);
    assert_eq!(host.refused(delete_completion_queue(0)), StatusCode::INVALID_QUEUE_ID);
    host.queues.clear();
    host.create_queue_pair(2);
    host.use_disk(0, 1);
}

#[test]
fn a_deletion_waits_for_commands_in_flight_and_other_commands_do_not_wait_for_it() {
    let (sled, delay) = Sled::slow();
    let mut host = sled.host();
    host.create_queue_pair(1);
    delay.hold();
    host.send_io(0, read(1, 0));
    let volume = sled.subsystem.namespaces().remove(0).volume;
    host.wait("a read in flight", |_| volume.counters().reads > 0);
    let deletion = host.send(delete_submission_queue(1));
    host.identify(1, 0);
    assert_eq!(host.completion(deletion), None, "the read has not ended");
    assert_eq!(host.refused(delete_submission_queue(1)), StatusCode::INVALID_QUEUE_ID, "it is being deleted");
    delay.release();
    let completion = host.wait_for(deletion);
    assert_eq!(completion.status.code(), StatusCode::SUCCESS);
    assert!(host.take_io(0).is_some(), "the read was completed before");
}

#[test]
fn several_submission_queues_feed_one_completion_queue() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let second = pair(&host, 2);
    host.succeed(create_submission_queue(&second, 1));
    host.succeed(delete_submission_queue(1));
    assert_eq!(host.refused(delete_completion_queue(1)), StatusCode::INVALID_QUEUE_DELETION);
    host.succeed(delete_submission_queue(2));
    host.succeed(delete_completion_queue(1));
}

#[test]
fn numbers_of_queues_are_asked_for_before_there_are_any() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    assert_eq!(host.succeed(set_feature(7, 0x00fe_00fe)), 0x0007_0007, "as many as there are");
    assert_eq!(host.refused(set_feature(7, 0xffff_0000)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(set_feature(7, 0x0000_ffff)), StatusCode::INVALID_FIELD);
    assert_eq!(host.succeed(set_feature(7, 0x0001_0000)), 0x0001_0000);
    let queue = pair(&host, 2);
    host.succeed(create_completion_queue(&queue, 1));
    assert_eq!(
        host.refused(create_submission_queue(&queue, 2)),
        StatusCode::INVALID_QUEUE_ID,
        "one was granted"
    );
    assert_eq!(host.refused(set_feature(7, 0)), StatusCode::COMMAND_SEQUENCE_ERROR);
}

#[test]
fn the_operator_sees_the_queues() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let controllers = sled.subsystem.controllers();
    let queues: Vec<(u16, u32)> =
        controllers[0].queues.iter().map(|queue| (queue.id.0, queue.entries)).collect();
    assert_eq!(queues, [(0, 32), (1, 64)]);
    host.disable();
    assert!(sled.subsystem.controllers()[0].queues.is_empty());
}

#[test]
fn a_doorbell_of_a_queue_that_is_not_there_is_an_event() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let event = host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    host.identify(1, 0);
    host.write32(u32::try_from(tail_doorbell(3)).unwrap(), 1);
    assert_eq!(host.wait_for(event).result, 0x0001_0000);
}

#[test]
fn a_queue_for_which_no_file_descriptors_are_left_is_refused_and_takes_none() {
    let mut sled = Sled::with_disk();
    // 6 of the controller and 9 of its vectors; 4 of each queue.
    let descriptors = Descriptors::with_limit(1000);
    sled.limit_descriptors(&descriptors);
    let mut host = sled.host();
    let taken = leave(&descriptors, 3);
    let queue = pair(&host, 1);
    let refusal = host.admin(create_completion_queue(&queue, 1)).status;
    assert_eq!(refusal.code(), StatusCode::INTERNAL_ERROR);
    assert!(!refusal.do_not_retry());
    drop(taken);
    host.create_queue_pair(1);
    host.use_disk(0, 1);
}

/// Takes all but so many descriptors.
fn leave(descriptors: &Arc<Descriptors>, left: u64) -> Vec<Promise> {
    let mut taken: Vec<Promise> = std::iter::from_fn(|| descriptors.promise(1).ok()).collect();
    taken.truncate(taken.len() - usize::try_from(left).unwrap());
    taken
}

#[test]
fn a_submission_queue_is_made_anew_beside_its_completion_queue() {
    // SPDK, issues 2173 and 2174: a second deletion stopped the target, and the identifier stayed in use.
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    for byte in 1..4 {
        host.use_disk(0, byte);
        host.succeed(delete_submission_queue(1));
        assert_eq!(host.refused(delete_submission_queue(1)), StatusCode::INVALID_QUEUE_ID);
        let queue = &mut host.queues[0];
        queue.tail = 0;
        let again = create_submission_queue(queue, 1);
        host.succeed(again);
    }
    host.use_disk(0, 9);
}

#[test]
fn identifiers_of_deleted_queues_serve_again_and_begin_at_the_first_entry() {
    // SPDK, issue 1795: queues that were made with an identifier once more had completions of those before.
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for byte in 1..5 {
        host.queues.clear();
        host.create_queue_pair(1);
        for _ in 0..5 {
            host.use_disk(0, byte);
        }
        host.succeed(delete_submission_queue(1));
        host.succeed(delete_completion_queue(1));
    }
}

#[test]
fn every_reset_deletes_all_queues() {
    // SPDK, issue 2186: I/O queues outlived resets of the device.
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let resets: [fn(&mut Host); 3] = [
        |host| host.disable(),
        |host| _ = host.function.reset(),
        |host| host.function.write(RegionIndex::CONFIG, 0x68, &0x8000_u16.to_le_bytes()),
    ];
    for reset in resets {
        host.create_queue_pair(1);
        host.use_disk(0, 1);
        reset(&mut host);
        host.wait("the reset", |host| host.status() & 1 == 0);
        host.enable();
        assert_eq!(host.refused(delete_submission_queue(1)), StatusCode::INVALID_QUEUE_ID);
        assert_eq!(host.refused(delete_completion_queue(1)), StatusCode::INVALID_QUEUE_ID);
    }
}

#[test]
fn doorbells_of_a_disabled_controller_and_values_of_32_bits_do_nothing() {
    // propolis, issue 308 and pull request 309: the process stopped.
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    for value in [1, 0xffff, 0x1_0000, u32::MAX] {
        for at in [tail_doorbell(0), tail_doorbell(1), tail_doorbell(0xffff)] {
            host.function.write(RegionIndex::BAR0, at, &value.to_le_bytes());
        }
    }
    host.enable();
    host.create_queue_pair(1);
    host.function.write(RegionIndex::BAR0, tail_doorbell(1), &0x1_0001_u32.to_le_bytes());
    host.use_disk(0, 1);
}

#[test]
fn registers_of_the_admin_queues_are_read_back_while_the_controller_is_enabled() {
    // propolis, pull request 1199: Windows' driver reads ASQ after its first command, and gives up on zeroes.
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.identify(1, 0);
    assert_eq!(host.read64(offset::ASQ), host.admin.submission);
    assert_eq!(host.read64(offset::ACQ), host.admin.completion);
    assert_eq!(host.read32(offset::AQA) & 0xfff, u32::from(host.admin.entries) - 1);
}
