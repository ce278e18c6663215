//! Namespaces that come, go and change, and the events that tell of it; other commands that wait.

use crate::rig::host::{DATA, IO_ENTRIES, identify, log, read, set_feature};
use crate::rig::{BLOCKS, Host, Sled, disk};
use luge_block::{Blocks, Device, MemoryDevice, NullDevice, Shape};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_nvme_target::NamespaceId;
use luge_spec::nvme::{AdminOpcode, IoOpcode, StatusCode, SubmissionEntry};
use luge_volume::Volume;
use luge_volume::doubles::{Delay, Delaying};
use std::sync::Arc;
use std::thread;

/// Completion of an event that namespaces have changed.
const CHANGED: u32 = 0x0004_0002;

/// Most Asynchronous Event Requests at once.
const REQUESTS_MAX: usize = 8;

fn request_event(host: &mut Host) -> u16 {
    host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0))
}

/// Sets the events that are sent to those of namespaces.
fn watch_namespaces(host: &mut Host) {
    host.succeed(set_feature(0x0b, 0x100));
}

fn changed_namespaces(host: &mut Host) -> Vec<u32> {
    let list = host.log(4, 0, 4096);
    let (words, _) = list.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).take_while(|&word| word != 0).collect()
}

/// Namespaces that are active.
fn active(host: &mut Host) -> Vec<u32> {
    let list = host.identify(2, 0);
    let (words, _) = list.as_chunks::<4>();
    words.iter().map(|word| u32::from_le_bytes(*word)).take_while(|&word| word != 0).collect()
}

fn attachment(namespace: u32, detach: bool) -> SubmissionEntry {
    let entry = SubmissionEntry::admin(AdminOpcode::NAMESPACE_ATTACHMENT, detach.into(), 0);
    SubmissionEntry { namespace, prp1: DATA, ..entry }
}

fn set_controllers(host: &Host, list: &[u16]) {
    let bytes: Vec<u8> = list.iter().flat_map(|word| word.to_le_bytes()).collect();
    host.memory.write(GuestAddress(DATA), &[0; 4096]);
    host.memory.write(GuestAddress(DATA), &bytes);
}

#[test]
fn a_namespace_that_is_added_is_told_and_served_by_queues_that_run() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    watch_namespaces(&mut host);
    let event = request_event(&mut host);
    sled.add(3, disk());
    assert_eq!(host.wait_for(event).result, CHANGED);
    assert_eq!(changed_namespaces(&mut host), [3]);
    assert_eq!(changed_namespaces(&mut host), [] as [u32; 0], "read once");
    assert_eq!(active(&mut host), [1, 3]);
    assert_eq!(host.io(0, read(3, 0)).status.code(), StatusCode::SUCCESS);
}

#[test]
fn changes_that_fall_together_are_one_event_and_all_in_the_list() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    watch_namespaces(&mut host);
    let (first, second) = (request_event(&mut host), request_event(&mut host));
    host.identify(1, 0);
    sled.add(3, disk());
    sled.add(2, disk());
    host.wait_for(first);
    sled.add(5, disk());
    host.identify(1, 0);
    assert_eq!(host.completion(second), None, "masked until the list is read");
    assert_eq!(changed_namespaces(&mut host), [2, 3, 5]);
    assert_eq!(host.completion(second), None);
    sled.add(4, disk());
    assert_eq!(host.wait_for(second).result, CHANGED);
    assert_eq!(changed_namespaces(&mut host), [4]);
}

#[test]
fn a_list_that_is_read_with_its_event_retained_stays() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    watch_namespaces(&mut host);
    sled.add(3, disk());
    let event = request_event(&mut host);
    host.wait_for(event);
    let mut retained = log(4, 0, 4096);
    retained.cdw10[0] |= 1 << 15;
    host.succeed(retained);
    assert_eq!(changed_namespaces(&mut host), [3]);
}

#[test]
fn events_that_the_host_has_not_enabled_are_not_sent() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.succeed(set_feature(0x0b, 0));
    let event = request_event(&mut host);
    host.identify(1, 0);
    sled.add(3, disk());
    assert_eq!(active(&mut host), [1, 3]);
    assert_eq!(host.completion(event), None);
}

#[test]
fn an_event_waits_for_a_request() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    watch_namespaces(&mut host);
    sled.add(3, disk());
    assert_eq!(active(&mut host), [1, 3]);
    let event = request_event(&mut host);
    assert_eq!(host.wait_for(event).result, CHANGED);
}

#[test]
fn more_requests_than_advertised_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let limit_z = host.identify(1, 0)[259];
    assert_eq!(usize::from(limit_z) + 1, REQUESTS_MAX);
    (0..REQUESTS_MAX).for_each(|_| {
        request_event(&mut host);
    });
    let refused = host.refused(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    assert_eq!(refused, StatusCode::EVENT_LIMIT_EXCEEDED);
}

#[test]
fn requests_for_events_end_without_an_answer_when_the_controller_is_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    watch_namespaces(&mut host);
    request_event(&mut host);
    host.identify(1, 0);
    host.disable();
    host.enable();
    watch_namespaces(&mut host);
    sled.add(3, disk());
    host.identify(1, 0);
    assert!(host.unexpected.is_empty());
}

#[test]
fn a_request_for_an_event_can_be_aborted() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let event = request_event(&mut host);
    let abort = |command: u16| SubmissionEntry::admin(AdminOpcode::ABORT, u32::from(command) << 16, 0);
    assert_eq!(host.succeed(abort(event)), 0, "aborted");
    assert_eq!(host.wait_for(event).status.code(), StatusCode::ABORT_REQUESTED);
    assert_eq!(host.succeed(abort(event)), 1, "there is none any more");
    assert_eq!(host.succeed(abort(0x7777)), 1);
}

#[test]
fn a_namespace_that_is_removed_is_gone_when_the_call_returns() {
    let sled = Sled::with_disk();
    sled.add(2, disk());
    let mut host = sled.host();
    host.create_queue_pair(1);
    watch_namespaces(&mut host);
    let event = request_event(&mut host);
    let subsystem = sled.subsystem.clone();
    let removal = thread::spawn(move || subsystem.remove_namespace(NamespaceId(2)));
    assert_eq!(host.wait_for(event).result, CHANGED);
    host.wait("the removal", |_| removal.is_finished());
    removal.join().unwrap().unwrap();
    assert_eq!(changed_namespaces(&mut host), [2]);
    assert_eq!(active(&mut host), [1]);
    assert_eq!(host.identify(0, 2), [0; 4096]);
    assert_eq!(host.io(0, read(2, 0)).status.code(), StatusCode::INVALID_FIELD, "inactive");
    host.use_disk(0, 1);
}

#[test]
fn a_removal_waits_for_commands_in_flight_and_the_host_does_not() {
    let (sled, delay) = Sled::slow();
    sled.add(2, disk());
    let mut host = sled.host();
    host.create_queue_pair(1);
    delay.hold();
    let stuck = host.send_io(0, read(1, 0));
    let volume = sled.subsystem.namespaces().remove(0).volume;
    host.wait("a read in flight", |_| volume.counters().reads > 0);
    let weak = Arc::downgrade(&volume);
    drop(volume);
    let subsystem = sled.subsystem.clone();
    let removal = thread::spawn(move || subsystem.remove_namespace(NamespaceId(1)));
    host.wait("the namespace to go", |host| active(host) == [2]);
    assert_eq!(host.io(0, read(2, 0)).status.code(), StatusCode::SUCCESS, "others are served");
    assert!(!removal.is_finished());
    assert!(weak.upgrade().is_some(), "the volume stays");
    delay.release();
    host.wait("the removal", |_| removal.is_finished());
    let mut ended = None;
    host.wait("the read", |host| {
        ended = host.take_io(0);
        ended.is_some()
    });
    assert_eq!(ended.unwrap().command_id, stuck);
}

#[test]
fn a_namespace_with_the_identifier_of_one_that_was_removed_is_another() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.use_disk(0, 7);
    let subsystem = sled.subsystem.clone();
    let removal = thread::spawn(move || subsystem.remove_namespace(NamespaceId(1)));
    host.wait("the removal", |_| removal.is_finished());
    sled.add(1, disk());
    host.wait("the namespace", |host| active(host) == [1]);
    host.fill_data(512);
    assert_eq!(host.io(0, read(1, 7)).status.code(), StatusCode::SUCCESS);
    assert_eq!(host.data(512), [0; 512], "what was written is not there");
}

#[test]
fn a_resize_is_told() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    watch_namespaces(&mut host);
    let event = request_event(&mut host);
    sled.subsystem.resized(NamespaceId(1)).unwrap();
    assert_eq!(host.wait_for(event).result, CHANGED);
    assert_eq!(changed_namespaces(&mut host), [1]);
    assert!(sled.subsystem.resized(NamespaceId(2)).is_err());
}

#[test]
fn a_namespace_is_detached_and_attached_again() {
    let sled = Sled::with_disk();
    let (mut host, mut other) = (sled.host(), sled.host());
    host.create_queue_pair(1);
    set_controllers(&host, &[1, 1]);
    host.succeed(attachment(1, true));
    assert_eq!(active(&mut host), [] as [u32; 0]);
    assert_eq!(host.identify(0, 1), [0; 4096], "inactive");
    assert_ne!(host.identify(0x11, 1), [0; 4096], "and still there");
    assert_eq!(host.io(0, read(1, 0)).status.code(), StatusCode::INVALID_FIELD);
    assert_eq!(active(&mut other), [1], "another controller keeps it");
    assert_eq!(host.identify(0x12, 1)[..4], [1, 0, 2, 0]);
    set_controllers(&host, &[1, 1]);
    assert_eq!(host.refused(attachment(1, true)), StatusCode::NAMESPACE_NOT_ATTACHED);
    host.succeed(attachment(1, false));
    assert_eq!(active(&mut host), [1]);
    host.use_disk(0, 2);
    set_controllers(&host, &[2, 1, 2]);
    assert_eq!(host.refused(attachment(1, false)), StatusCode::NAMESPACE_ALREADY_ATTACHED);
}

#[test]
fn lists_of_controllers_that_are_wrong_change_nothing() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    for list in [&[0, 1][..], &[1, 9], &[2, 1, 1], &[2048, 1], &[0xffff]] {
        set_controllers(&host, list);
        assert_eq!(host.refused(attachment(1, true)), StatusCode::INVALID_CONTROLLER_LIST, "{list:?}");
    }
    set_controllers(&host, &[1, 1]);
    assert_eq!(host.refused(attachment(2, true)), StatusCode::INVALID_NAMESPACE);
    assert_eq!(host.refused(attachment(u32::MAX, true)), StatusCode::INVALID_NAMESPACE);
    assert_eq!(active(&mut host), [1]);
}

#[test]
fn a_format_zeroes_a_namespace_and_others_are_served_meanwhile() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.use_disk(0, 7);
    let format = SubmissionEntry { namespace: 1, ..SubmissionEntry::admin(AdminOpcode::FORMAT, 1 << 9, 0) };
    host.succeed(format);
    host.fill_data(512);
    assert_eq!(host.io(0, read(1, 7)).status.code(), StatusCode::SUCCESS);
    assert_eq!(host.data(512), [0; 512]);
}

#[test]
fn formats_that_are_not_possible_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let format = |namespace, cdw10| SubmissionEntry {
        namespace,
        ..SubmissionEntry::admin(AdminOpcode::FORMAT, cdw10, 0)
    };
    assert_eq!(host.refused(format(1, 1)), StatusCode::INVALID_FORMAT);
    assert_eq!(host.refused(format(1, 1 << 12)), StatusCode::INVALID_FORMAT);
    assert_eq!(host.refused(format(1, 1 << 5)), StatusCode::INVALID_FIELD, "protection");
    assert_eq!(host.refused(format(1, 1 << 4)), StatusCode::INVALID_FIELD, "metadata");
    assert_eq!(host.refused(format(1, 2 << 9)), StatusCode::INVALID_FIELD, "cryptographic erase");
    assert_eq!(host.refused(format(2, 0)), StatusCode::INVALID_FIELD, "inactive");
    assert_eq!(host.refused(format(9, 0)), StatusCode::INVALID_NAMESPACE);
    assert_eq!(host.refused(format(u32::MAX, 0)), StatusCode::INVALID_NAMESPACE);
}

#[test]
fn commands_to_a_namespace_that_is_being_formatted_are_refused_on_all_controllers() {
    let (sled, delay) = Sled::slow();
    let (mut host, mut other) = (sled.host(), sled.host());
    host.create_queue_pair(1);
    other.create_queue_pair(1);
    delay.hold();
    let entry = SubmissionEntry { namespace: 1, ..SubmissionEntry::admin(AdminOpcode::FORMAT, 0, 0) };
    let format = host.send(entry);
    let volume = sled.subsystem.namespaces().remove(0).volume;
    host.wait("a format in flight", |_| volume.counters().writes > 0);
    assert_eq!(host.io(0, read(1, 0)).status.code(), StatusCode::FORMAT_IN_PROGRESS);
    active(&mut other);
    assert_eq!(other.io(0, read(1, 0)).status.code(), StatusCode::FORMAT_IN_PROGRESS);
    assert_eq!(other.admin(entry).status.code(), StatusCode::FORMAT_IN_PROGRESS);
    delay.release();
    assert_eq!(host.wait_for(format).status.code(), StatusCode::SUCCESS);
    assert_eq!(host.io(0, read(1, 0)).status.code(), StatusCode::SUCCESS);
    active(&mut other);
    assert_eq!(other.io(0, read(1, 0)).status.code(), StatusCode::SUCCESS);
}

#[test]
fn a_host_that_leaves_during_a_format_leaves_the_namespace_to_others() {
    let (sled, delay) = Sled::slow();
    let mut host = sled.host();
    delay.hold();
    host.send(SubmissionEntry { namespace: 1, ..SubmissionEntry::admin(AdminOpcode::FORMAT, 0, 0) });
    let volume = sled.subsystem.namespaces().remove(0).volume;
    host.wait("a format in flight", |_| volume.counters().writes > 0);
    drop(host);
    delay.release();
    let mut next = sled.host();
    next.create_queue_pair(1);
    let mut status = StatusCode::FORMAT_IN_PROGRESS;
    next.wait("the end of the format", |next| {
        status = next.io(0, read(1, 0)).status.code();
        status != StatusCode::FORMAT_IN_PROGRESS
    });
    assert_eq!(status, StatusCode::SUCCESS);
}

#[test]
fn a_namespace_that_is_removed_while_it_is_formatted_takes_the_format_along() {
    let sled = Sled::new();
    let delay = Delay::default();
    // Longer than one request of a format.
    let shape = Shape::new(512, Blocks(1 << 20)).unwrap();
    let slow = Arc::new(Volume::whole(Arc::new(NullDevice::new(shape))));
    let slow = Arc::new(Volume::of_composite(Arc::new(Delaying::new(slow, delay.clone()))));
    sled.add(1, slow.clone());
    let mut host = sled.host();
    delay.hold();
    let format =
        host.send(SubmissionEntry { namespace: 1, ..SubmissionEntry::admin(AdminOpcode::FORMAT, 0, 0) });
    host.wait("a format in flight", |_| slow.counters().writes > 0);
    let subsystem = sled.subsystem.clone();
    let removal = thread::spawn(move || subsystem.remove_namespace(NamespaceId(1)));
    host.wait("the namespace to go", |host| active(host).is_empty());
    delay.release();
    assert_eq!(host.wait_for(format).status.code(), StatusCode::INTERNAL_ERROR);
    host.wait("the removal", |_| removal.is_finished());
    assert_eq!(slow.counters().writes, 1, "it went no further");
    sled.add(1, disk());
    host.create_queue_pair(1);
    host.use_disk(0, 1);
}

#[test]
fn a_reset_ends_a_format() {
    let (sled, delay) = Sled::slow();
    let mut host = sled.host();
    delay.hold();
    let format = SubmissionEntry { namespace: 1, ..SubmissionEntry::admin(AdminOpcode::FORMAT, 0, 0) };
    host.send(format);
    let volume = sled.subsystem.namespaces().remove(0).volume;
    host.wait("a format in flight", |_| volume.counters().writes > 0);
    host.write32(luge_spec::nvme::offset::CC, 0);
    host.pump();
    assert_eq!(host.status(), 1);
    delay.release();
    host.wait("the reset", |host| host.status() == 0);
    host.enable();
    host.create_queue_pair(1);
    host.use_disk(0, 1);
}

#[test]
fn shadow_doorbells_are_used_until_the_next_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let [shadow, _] = host.use_shadow_doorbells();
    host.create_queue_pair(1);
    let entry = SubmissionEntry { prp1: DATA, namespace: 1, ..SubmissionEntry::io(IoOpcode::READ, 0, 0, 0) };
    host.queues[0].push(entry);
    let doorbell = host.queues[0].tail_doorbell() - 0x1000;
    host.memory.write(GuestAddress(shadow + doorbell), &1_u32.to_le_bytes());
    host.write32(u32::try_from(host.queues[0].tail_doorbell()).unwrap(), 1);
    let mut taken = None;
    host.wait("the completion", |host| {
        taken = host.take_io(0);
        taken.is_some()
    });
    host.disable();
    host.memory.write(GuestAddress(shadow), &[0xff; 64]);
    host.enable();
    host.create_queue_pair(1);
    host.use_disk(0, 3);
}

/// propolis, issue 1008: an event index ahead of the host lets the last commands wait for ever.
#[test]
fn a_full_completion_queue_goes_on_when_only_a_shadow_doorbell_tells_of_room() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let [shadow, _] = host.use_shadow_doorbells();
    host.create_queue_pair(1);
    let volume = sled.subsystem.namespaces().remove(0).volume;
    let [tail, head] = [host.queues[0].tail_doorbell(), host.queues[0].head_doorbell()]
        .map(|at| GuestAddress(shadow + at - 0x1000));
    let most = u64::from(IO_ENTRIES) - 1;
    for _ in 0..2 {
        for _ in 0..most {
            host.queues[0].push(read(1, 0));
        }
        let value = u32::from(host.queues[0].tail);
        host.memory.write(tail, &value.to_le_bytes());
        host.wait("a full completion queue", |_| volume.counters().reads == most);
    }
    let mut ended = 0;
    host.wait("all completions", |host| {
        while host.queues[0].take().is_some() {
            ended += 1;
            let value = u32::from(host.queues[0].head);
            host.memory.write(head, &value.to_le_bytes());
        }
        ended == 2 * most
    });
}

/// Drivers of the specification, such as libvfn's, do so; Linux and SPDK ring the registers of the admin queues.
#[test]
fn admin_queues_are_rung_by_either_kind_of_doorbell() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let [shadow, _] = host.use_shadow_doorbells();
    // More than the queue has entries.
    for _ in 0..40 {
        host.identify(1, 0);
    }
    let words = [host.admin.tail_doorbell(), host.admin.head_doorbell()].map(|at| shadow + at - 0x1000);
    for round in 0..100 {
        let id = host.admin.push(identify(1, 0));
        host.memory.write(GuestAddress(words[0]), &u32::from(host.admin.tail).to_le_bytes());
        let mut end = None;
        host.wait("the completion", |host| {
            end = host.admin.take();
            end.is_some()
        });
        assert_eq!(end.unwrap().command_id, id, "round {round}");
        host.memory.write(GuestAddress(words[1]), &u32::from(host.admin.head).to_le_bytes());
    }
    host.disable();
    host.enable();
    host.identify(1, 0);
}

#[test]
fn shadow_doorbells_that_cannot_be_are_refused() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let config = |prp1, prp2| SubmissionEntry {
        prp1,
        prp2,
        ..SubmissionEntry::admin(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0, 0)
    };
    assert_eq!(host.refused(config(DATA + 4, DATA + 4096)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(config(DATA, DATA + 4096 + 8)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(config(DATA, DATA)), StatusCode::INVALID_FIELD);
    assert_eq!(host.refused(config(DATA, 0x7000_0000)), StatusCode::DATA_TRANSFER_ERROR);
    host.create_queue_pair(1);
    host.use_disk(0, 3);
}

#[test]
fn a_volume_that_grows_is_told_with_its_size_and_served_by_queues_that_run() {
    let sled = Sled::new();
    let shape = Shape::new(512, Blocks(BLOCKS)).unwrap();
    let device = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    let device: Arc<dyn Device> = Arc::new(device);
    sled.add(1, Arc::new(Volume::whole(device.clone())));
    let mut host = sled.host();
    host.create_queue_pair(1);
    let event = request_event(&mut host);
    host.identify(1, 0);
    device.resize(Blocks(2 * BLOCKS)).unwrap();
    sled.core.resize(&device);
    sled.subsystem.resized(NamespaceId(1)).unwrap();
    assert_eq!(host.wait_for(event).result, CHANGED);
    assert_eq!(host.identify(0, 1)[..8], (2 * BLOCKS).to_le_bytes());
    assert_eq!(host.io(0, read(1, 2 * BLOCKS - 1)).status.code(), StatusCode::SUCCESS);
    assert_eq!(host.io(0, read(1, 2 * BLOCKS)).status.code(), StatusCode::LBA_OUT_OF_RANGE);
}
