//! Requests as commands, and their effects on the SSD.

#![expect(clippy::cast_possible_truncation, reason = "small numbers of the tests' own")]

use luge_block::{
    Completions, Device, Durability, Lba, Operation, Refusal, Request, Status, Tag, TransferExtent,
};
use luge_nvme::scripted::{Mischief, Rig, Script, ScriptedNamespace};
use luge_seeded::Random;
use luge_spec::nvme::{IoOpcode, StatusCode, oncs};

const WRITE: Operation = Operation::Write(Durability::Cache);

fn request(operation: Operation, lba: u64, blocks: u32) -> Request<'static> {
    Request { tag: Tag::new(3, 9), operation, lba: Lba(lba), blocks, data: &[] }
}

#[test]
fn what_was_written_is_read_back() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let (from, to) = (rig.buffer(0, 4096), rig.buffer(8192, 4096));
    from.fill(0x3c);
    assert_eq!(rig.run(&mut *channel, WRITE, Lba(40), &[from]), Status::Success);
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(40), &[to]), Status::Success);
    let mut bytes = [0; 4096];
    to.read(&mut bytes);
    assert_eq!(bytes, [0x3c; 4096]);
    assert_eq!(rig.controller.bounced(), 0);
}

#[test]
fn every_operation_is_the_command_that_the_specification_says() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 1024)];
    let durable = Operation::Write(Durability::Media);
    for request in [
        Request { data: &data, ..request(durable, 5, 2) },
        request(Operation::Flush, 0, 0),
        request(Operation::WriteZeroes, 7, 8),
        request(Operation::WriteZeroesUnmap, 7, 8),
        request(Operation::Discard, 16, 4),
    ] {
        assert_eq!(rig.run_blocks(&mut *channel, &request), Status::Success);
    }
    let commands = rig.ssd.take_commands();
    let told: Vec<_> = commands.iter().map(|c| (IoOpcode(c.opcode), c.cdw10[2])).collect();
    let expected = [
        (IoOpcode::WRITE, 1 << 30 | 1),
        (IoOpcode::FLUSH, 0),
        (IoOpcode::WRITE_ZEROES, 7),
        (IoOpcode::WRITE_ZEROES, 1 << 25 | 7),
        (IoOpcode::DATASET_MANAGEMENT, 0),
    ];
    assert_eq!(told, expected);
    assert!(commands.iter().all(|command| command.namespace == 1));
}

#[test]
fn discard_and_write_zeroes_reach_exactly_their_blocks() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    for (operation, lba) in [(Operation::Discard, 2), (Operation::WriteZeroes, 20)] {
        let data = rig.buffer(0, 4096);
        data.fill(0xff);
        assert_eq!(rig.run(&mut *channel, WRITE, Lba(lba), &[data]), Status::Success);
        assert_eq!(rig.run_blocks(&mut *channel, &request(operation, lba + 1, 6)), Status::Success);
        let media = rig.ssd.media(1, lba, 8);
        assert!(media[..512].iter().chain(&media[7 * 512..]).all(|&byte| byte == 0xff));
        assert!(media[512..7 * 512].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_batch_is_taken_as_far_as_there_is_room_and_a_wrong_request_is_refused_for_its_own_reason() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    let read = |lba| Request { data: &data, ..request(Operation::Read, lba, 1) };
    let geometry = rig.controller.namespaces()[0].geometry();
    let extent = TransferExtent::new(&geometry, Lba(0), geometry.blocks);
    let batch = [extent.check(&read(0), Tag::default()).unwrap(); 20];
    let (taken, refusal) = channel.submit_all(&batch[..2]);
    assert_eq!(taken, 2);
    assert_eq!(refusal, None);
    let (taken, refusal) = channel.submit_all(&batch);
    assert_eq!(taken, 13);
    assert_eq!(refusal, Some(Refusal::Full));
    assert_eq!(channel.submit(&read(0)), Err(Refusal::Full));
    assert_eq!(channel.submit(&read(u64::MAX)), Err(Refusal::Failed(Status::OutOfRange)));
    let (taken, refusal) = channel.submit_all(&[]);
    assert_eq!(taken, 0);
    assert_eq!(refusal, None);
    assert_eq!(channel.room(), 0);
    channel.commit();
    assert_eq!(rig.drain(&mut *channel).len(), 15);
    assert_eq!(channel.room(), 15);
}

#[test]
fn a_request_that_can_never_succeed_is_refused_and_touches_nothing() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 1024)];
    let blocks = rig.blocks().0;
    for (bad, status) in [
        (Request { data: &data, ..request(Operation::Read, blocks - 1, 2) }, Status::OutOfRange),
        (Request { data: &data, ..request(WRITE, u64::MAX, 2) }, Status::OutOfRange),
        (Request { data: &data, ..request(WRITE, 0, 1) }, Status::Invalid),
        (Request { data: &data, ..request(WRITE, 0, 3) }, Status::Invalid),
        (Request { data: &data, ..request(Operation::Discard, 0, 2) }, Status::Invalid),
        (request(Operation::Read, 0, 0), Status::Invalid),
        (request(Operation::Read, 0, 257), Status::Invalid),
        (request(Operation::WriteZeroes, 0, 65537), Status::OutOfRange),
        (request(Operation::Discard, blocks, 1), Status::OutOfRange),
    ] {
        assert_eq!(channel.submit(&bad), Err(Refusal::Failed(status)), "{bad:?}");
    }
    channel.commit();
    assert_eq!(rig.ssd.step(), 0);
    assert_eq!(channel.in_flight(), 0);
}

#[test]
fn a_read_only_namespace_refuses_all_that_changes_data() {
    let namespaces = vec![ScriptedNamespace { read_only: true, ..ScriptedNamespace::new(1, 9) }];
    let rig = Rig::new(Script { namespaces, ..Script::default() });
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    let write = Request { data: &data, ..request(WRITE, 0, 1) };
    let changing = [write, request(Operation::Discard, 0, 1), request(Operation::WriteZeroes, 0, 1)];
    for request in changing {
        assert_eq!(channel.submit(&request), Err(Refusal::Failed(Status::WriteProtected)));
    }
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::Success);
}

#[test]
fn what_the_ssd_cannot_do_is_unsupported() {
    let rig = Rig::new(Script { oncs: oncs::WRITE_ZEROES, ..Script::default() });
    let mut channel = rig.channel();
    let refused = channel.submit(&request(Operation::Discard, 0, 1));
    assert_eq!(refused, Err(Refusal::Failed(Status::Unsupported)));
    assert_eq!(rig.controller.namespaces()[0].geometry().discard_blocks_max, 0);
}

#[test]
fn a_block_that_was_written_uncorrectable_fails_until_it_is_written() {
    let offered = oncs::VERIFY | oncs::WRITE_UNCORRECTABLE;
    let rig = Rig::new(Script { oncs: offered, ..Script::default() });
    let mut channel = rig.channel();
    let mut run = |operation, lba, blocks| rig.run_blocks(&mut *channel, &request(operation, lba, blocks));
    assert_eq!(run(Operation::Verify, 0, 64), Status::Success);
    assert_eq!(run(Operation::WriteUncorrectable, 10, 2), Status::Success);
    assert_eq!(run(Operation::Verify, 0, 64), Status::MediaError);
    assert_eq!(run(Operation::Verify, 12, 64), Status::Success);
    let data = [rig.buffer(0, 1024)];
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(11), &data), Status::MediaError);
    assert_eq!(rig.run(&mut *channel, WRITE, Lba(10), &data), Status::Success);
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(10), &data), Status::Success);
    let opcodes: Vec<u8> = rig.ssd.take_commands().iter().map(|command| command.opcode).collect();
    assert_eq!(opcodes[..3], [IoOpcode::VERIFY.0, IoOpcode::WRITE_UNCORRECTABLE.0, IoOpcode::VERIFY.0]);
}

#[test]
fn an_ssd_without_verify_and_write_uncorrectable_is_not_asked_for_them() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    for operation in [Operation::Verify, Operation::WriteUncorrectable] {
        let refused = channel.submit(&request(operation, 0, 1));
        assert_eq!(refused, Err(Refusal::Failed(Status::Unsupported)), "{operation}");
    }
}

#[test]
fn an_error_of_the_ssd_ends_its_request_only() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    rig.ssd.misbehave([Some(Mischief::Status(StatusCode::UNRECOVERED_READ)), None]);
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::MediaError);
    assert_eq!(rig.run(&mut *channel, Operation::Read, Lba(0), &data), Status::Success);
    assert_eq!(rig.ssd.account().controller_resets, 0);
}

#[test]
fn a_batch_rings_one_doorbell_and_only_at_the_commit() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    for slot in 0..5 {
        let tag = Tag::new(0, slot);
        channel.submit(&Request { tag, data: &data, ..request(Operation::Read, slot.into(), 1) }).unwrap();
        assert_eq!(rig.ssd.tail(1), 0);
    }
    channel.commit();
    assert_eq!(rig.ssd.tail(1), 5);
    let slots: Vec<_> = rig.drain(&mut *channel).iter().map(|done| done.tag().slot()).collect();
    assert_eq!(slots, [0, 1, 2, 3, 4]);
}

#[test]
fn a_full_queue_says_so_beforehand_and_takes_more_after_a_poll() {
    let rig = Rig::new(Script::default());
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    let read = Request { data: &data, ..request(Operation::Read, 0, 1) };
    assert_eq!(channel.room(), 15);
    for left in (0..15).rev() {
        channel.submit(&read).unwrap();
        assert_eq!(channel.room(), left);
    }
    assert_eq!(channel.submit(&read), Err(Refusal::Full));
    channel.commit();
    assert_eq!(rig.drain(&mut *channel).len(), 15);
    assert_eq!(channel.room(), 15);
    assert_eq!(channel.in_flight(), 0);
}

#[test]
fn completions_that_do_not_fit_wait_for_the_next_poll() {
    let options = luge_nvme::Options { queue_entries: 1024, ..Rig::options() };
    let rig = Rig::with(Script::default(), options).unwrap();
    let mut channel = rig.channel();
    let data = [rig.buffer(0, 512)];
    for slot in 0..300 {
        let tag = Tag::new(0, slot);
        channel.submit(&Request { tag, data: &data, ..request(Operation::Read, 0, 1) }).unwrap();
    }
    channel.commit();
    rig.ssd.step();
    let mut done = Completions::default();
    channel.poll(&mut done);
    assert_eq!(done.as_slice().len(), 256);
    assert_eq!(channel.in_flight(), 44);
    done.clear();
    channel.poll(&mut done);
    assert_eq!(done.as_slice().len(), 44);
    assert_eq!(channel.in_flight(), 0);
}

#[test]
fn queues_go_round_many_times_with_requests_in_any_number() {
    for seed in 0..8 {
        let rig = Rig::new(Script::default());
        let (mut channel, mut random) = (rig.channel(), Random::new(seed));
        let data = [rig.buffer(0, 512)];
        let mut ended = 0;
        for _ in 0..200 {
            let batch = random.below(16);
            for slot in 0..batch.min(channel.room() as u64) {
                let tag = Tag::new(0, slot as u16);
                channel.submit(&Request { tag, data: &data, ..request(Operation::Read, slot, 1) }).unwrap();
                ended += 1;
            }
            channel.commit();
            ended -= rig.drain(&mut *channel).len();
        }
        assert_eq!(ended, 0, "seed {seed}");
    }
}

/// Report of a device's failures: the first one in words, and their number.
fn reported(device: &dyn Device) -> Option<(String, u64)> {
    let (error, count) = device.errors()?.take()?;
    Some((error.to_string(), count))
}

#[test]
fn a_command_that_fails_is_reported_as_the_request_that_it_was() {
    let rig = Rig::new(Script::default());
    let namespace = &rig.controller.namespaces()[0];
    let mut channel = namespace.open(luge_block::CoreId(0)).unwrap();
    let data = [rig.buffer(0, 1024)];
    let odd = [rig.buffer(4097, 1024)];
    for (request, words) in [
        (Request { data: &data, ..request(Operation::Read, 100, 2) }, "read of LBA 100 to 101"),
        (Request { data: &odd, ..request(Operation::Read, 102, 2) }, "read of LBA 102 to 103"),
        (Request { data: &data, ..request(WRITE, 7, 2) }, "write of LBA 7 to 8"),
        (request(Operation::WriteZeroesUnmap, 5, 9), "write-zeroes of LBA 5 to 13"),
        (request(Operation::Discard, 16, 4), "discard of LBA 16 to 19"),
        (request(Operation::Flush, 0, 0), "flush"),
    ] {
        // Enough before it for the ring to have gone around.
        for _ in 0..20 {
            let read = Request { data: &data, ..self::request(Operation::Read, 1, 2) };
            assert_eq!(rig.run_blocks(&mut *channel, &read), Status::Success);
        }
        assert_eq!(reported(&**namespace), None);
        rig.ssd.misbehave([Some(Mischief::Status(StatusCode::UNRECOVERED_READ))]);
        assert_eq!(rig.run_blocks(&mut *channel, &request), Status::MediaError);
        let expected = format!("{words} failed: {}", Status::MediaError);
        assert_eq!(reported(&**namespace), Some((expected, 1)));
    }
}

#[test]
fn of_many_failures_the_first_is_told_and_the_others_are_counted() {
    let rig = Rig::new(Script::default());
    let namespace = &rig.controller.namespaces()[0];
    let mut channel = namespace.open(luge_block::CoreId(0)).unwrap();
    rig.ssd.misbehave(vec![Some(Mischief::Status(StatusCode::WRITE_FAULT)); 100]);
    let data = [rig.buffer(0, 512)];
    for lba in 40..140 {
        rig.run_blocks(&mut *channel, &Request { data: &data, ..request(WRITE, lba, 1) });
    }
    let (text, count) = reported(&**namespace).unwrap();
    assert!(text.starts_with("write of LBA 40 "), "{text}");
    assert_eq!(count, 100);
    assert_eq!(reported(&**namespace), None);
}

#[test]
fn requests_that_a_reset_aborted_and_those_to_an_ssd_that_is_gone_are_reported() {
    let rig = Rig::new(Script::default());
    let namespace = &rig.controller.namespaces()[0];
    let mut channel = namespace.open(luge_block::CoreId(0)).unwrap();
    let data = [rig.buffer(0, 512)];
    let write = Request { data: &data, ..request(WRITE, 3, 1) };
    rig.ssd.misbehave([Some(Mischief::Fatal)]);
    assert_eq!(rig.run_blocks(&mut *channel, &write), Status::Aborted);
    let aborted = format!("write of LBA 3 failed: {}", Status::Aborted);
    assert_eq!(reported(&**namespace), Some((aborted, 1)));
    rig.controller.shutdown().unwrap();
    assert_eq!(channel.submit(&write), Err(Refusal::Failed(Status::Gone)));
    let gone = format!("write of LBA 3 failed: {}", Status::Gone);
    assert_eq!(reported(&**namespace), Some((gone, 1)));
}
