//! Answers of a disk to the requests of its guest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Durability, Geometry, Operation, Status, Tag};
use luge_core::{Armed, Session};
use luge_memory::GuestAddress;
use luge_spec::virtio::Features;
use luge_spec::virtio::blk::{Config, RequestType};
use luge_vhost::{Access, BlkDisk, QueueSession};
use luge_virtqueue::BATCH;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::scripted::{IOERR, OK, UNSUPP, asked, ended, failing, memory_disk, scripted, scripted_with};
use rig::{Answer, Ask, Bench, Setup, UNANSWERED, blocks_of_4096};
use zerocopy::FromBytes;

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

#[test]
fn what_is_written_is_read_back() {
    for block_bytes in [512, 4096] {
        let mut bench = Bench::new(memory_disk(block_bytes, 256));
        let bytes = pattern(8192, 3);
        assert_eq!(bench.ask(&Ask::write(8, &bytes)), ended(OK));
        assert_eq!(bench.ask(&Ask::flush()), ended(OK));
        let answer = bench.ask(&Ask::read(8, 8192));
        assert_eq!(answer, Answer { status: OK, data: bytes, written: 8193 });
    }
}

#[test]
fn requests_of_every_kind_in_one_batch_are_answered_each_for_itself() {
    let mut bench = Bench::new(memory_disk(512, 256));
    let block = |n: u64| pattern(512, u8::try_from(n).unwrap());
    for reads in [false, true] {
        // The tenth is past the end; the sixth is no transfer.
        let asks: Vec<Ask> = (0..16)
            .map(|n| match n {
                5 => Ask::flush(),
                9 if reads => Ask::read(256, 512),
                9 => Ask::write(256, &block(n)),
                _ if reads => Ask::read(n, 512),
                _ => Ask::write(n, &block(n)),
            })
            .collect();
        let sent: Vec<_> = asks.iter().map(|ask| bench.send(ask)).collect();
        while bench.turn() > 0 {}
        let used: Vec<_> = std::iter::from_fn(|| bench.driver.take_used()).collect();
        assert_eq!(used.len(), sent.len(), "each is answered once");
        for (sent, n) in sent.iter().zip(0..) {
            let (_, written) = used.iter().find(|(head, _)| *head == sent.head).unwrap();
            let answer = bench.answer(sent, *written);
            match n {
                9 => assert_eq!(answer.status, IOERR, "request {n}"),
                5 => assert_eq!(answer, ended(OK)),
                _ if reads => assert_eq!(answer, Answer { status: OK, data: block(n), written: 513 }),
                _ => assert_eq!(answer, ended(OK), "request {n}"),
            }
        }
    }
}

#[test]
fn any_split_into_descriptors_means_the_same() {
    let mut bench = Bench::with(memory_disk(512, 256), Setup { size: 2048, ..Setup::default() });
    let bytes = pattern(512, 9);
    let single = |[at, len]: [u64; 2], writable| -> Vec<Piece> {
        (at..at + len).map(|at| Piece { at: GuestAddress(at), len: 1, writable }).collect()
    };
    let sent = bench.send_as(&Ask::write(1, &bytes), |readable, writable| {
        ([single(readable, false), single(writable, true)].concat(), Form::Direct)
    });
    assert_eq!(bench.turns_until_answered(&sent), ended(OK));
    let table = GuestAddress(RigMemory::FAR_DATA.0);
    let sent = bench.send_as(&Ask::read(1, 512), |readable, writable| {
        ([single(readable, false), single(writable, true)].concat(), Form::Indirect(table))
    });
    assert_eq!(bench.turns_until_answered(&sent), Answer { status: OK, data: bytes.clone(), written: 513 });
    // Everything in one descriptor each way, the status behind the data.
    let sent = bench.send_as(&Ask::read(1, 512), |readable, writable| {
        let whole = |[at, len]: [u64; 2], writable| Piece {
            at: GuestAddress(at),
            len: u32::try_from(len).unwrap(),
            writable,
        };
        (vec![whole(readable, false), whole(writable, true)], Form::Direct)
    });
    assert_eq!(bench.turns_until_answered(&sent), Answer { status: OK, data: bytes, written: 513 });
}

#[test]
fn a_read_or_write_that_is_not_whole_blocks_or_not_on_the_disk_is_refused_and_touches_nothing() {
    for (geometry, asks) in [
        (Geometry::for_tests(), vec![Ask::read(1024, 512), Ask::write(1023, &[0; 1024]), Ask::read(0, 100)]),
        (Geometry::for_tests(), vec![Ask::read(u64::MAX, 512), Ask::read(u64::MAX / 512, 512)]),
        (blocks_of_4096(), vec![Ask::read(1, 4096), Ask::read(0, 512), Ask::write(4, &[0; 4096])]),
    ] {
        let (mut bench, device) = scripted(geometry);
        for ask in asks {
            let answer = bench.ask(&ask);
            let untouched = vec![UNANSWERED; answer.data.len()];
            assert_eq!(answer, Answer { status: IOERR, data: untouched, written: 1 }, "{ask:?}");
        }
        assert!(device.taken().is_empty());
    }
}

#[test]
fn nothing_read_or_written_is_fine_where_the_disk_is() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    assert_eq!(bench.ask(&Ask::read(1024, 0)), ended(OK));
    assert_eq!(bench.ask(&Ask::write(0, &[])), ended(OK));
    assert_eq!(bench.ask(&Ask::read(1025, 0)), ended(IOERR));
    assert!(device.taken().is_empty());
}

#[test]
fn the_serial_number_comes_in_20_bytes_or_as_many_as_there_are() {
    let mut bench = Bench::new(memory_disk(512, 256));
    let padded = [&b"serial"[..], &[0; 14]].concat();
    assert_eq!(bench.ask(&Ask::get_id(20)), Answer { status: OK, data: padded, written: 21 });
    assert_eq!(bench.ask(&Ask::get_id(3)), Answer { status: OK, data: b"ser".to_vec(), written: 4 });
    let longer = bench.ask(&Ask::get_id(24));
    assert_eq!(longer.written, 21);
    assert_eq!(longer.data[20..], [UNANSWERED; 4]);
}

#[test]
fn a_write_is_on_the_media_before_it_is_answered_if_the_guest_will_not_flush() {
    for (declined, durability) in
        [(Features::default(), Durability::Cache), (Features::BLK_FLUSH, Durability::Media)]
    {
        let setup = Setup { declined, ..Setup::default() };
        let (mut bench, device) = scripted_with(Geometry::for_tests(), 8, setup);
        bench.send(&Ask::write(0, &[0; 512]));
        bench.turn();
        assert_eq!(asked(&device), [(Operation::Write(durability), 0, 1)]);
    }
}

#[test]
fn zeroes_are_left_to_a_guest_that_will_not_flush() {
    let setup = Setup { declined: Features::BLK_FLUSH, ..Setup::default() };
    let (mut bench, device) = scripted_with(Geometry::for_tests(), 8, setup);
    assert_eq!(bench.ask(&Ask::ranges(RequestType::WRITE_ZEROES, &[(0, 8, 0)])), ended(UNSUPP));
    assert!(device.taken().is_empty());
}

#[test]
fn a_read_only_disk_refuses_every_command_that_changes_data() {
    let setup = Setup { access: Access::ReadOnly, ..Setup::default() };
    let (mut bench, device) = scripted_with(Geometry::for_tests(), 8, setup);
    for ask in [
        Ask::write(0, &[0; 512]),
        Ask::write(0, &[]),
        Ask::ranges(RequestType::DISCARD, &[(0, 8, 0)]),
        Ask::ranges(RequestType::WRITE_ZEROES, &[(0, 8, 0)]),
        Ask::ranges(RequestType::WRITE_ZEROES, &[(0, 8, 1)]),
    ] {
        assert_eq!(bench.ask(&ask), ended(IOERR), "{ask:?}");
    }
    (0..3).for_each(|_| _ = bench.send(&Ask::write(0, &[0; 512])));
    assert_eq!(bench.turn(), 3, "what is refused is taken, too");
    assert!(device.taken().is_empty());
    let disk = BlkDisk::new(Geometry::for_tests(), Access::ReadOnly, "", 1);
    assert!(disk.features().contains(Features::BLK_RO));
    assert!(!disk.features().contains(Features::BLK_DISCARD));
    assert!(!disk.features().contains(Features::BLK_WRITE_ZEROES));
}

#[test]
fn discards_and_zeroes_of_many_ranges_reach_the_device_each() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    let ranges = Ask::ranges(RequestType::WRITE_ZEROES, &[(8, 8, 0), (100, 0, 0), (1016, 8, 1)]);
    let zeroes = bench.send(&ranges);
    bench.turn();
    let expected = [(Operation::WriteZeroes, 8, 8), (Operation::WriteZeroesUnmap, 1016, 8)];
    assert_eq!(asked(&device), expected);
    let tag = device.taken()[0].tag;
    assert!(device.complete(tag, Status::Success));
    bench.turn();
    assert_eq!(bench.take_answer(&zeroes), None, "one range is not done");
    assert!(device.complete(tag, Status::Success));
    bench.turn();
    assert_eq!(bench.take_answer(&zeroes), Some(ended(OK)));
    let empty = vec![(0, 0, 0); 33];
    assert_eq!(bench.ask_status(&Ask::ranges(RequestType::WRITE_ZEROES, &empty[..32])), OK);
    assert_eq!(bench.ask_status(&Ask::ranges(RequestType::WRITE_ZEROES, &empty)), IOERR, "one too many");
    let many: Vec<_> = (0..32).map(|n| (n * 8, 8, 0)).collect();
    bench.send(&Ask::ranges(RequestType::DISCARD, &many));
    bench.turn();
    assert_eq!(asked(&device).len(), 32);
}

#[test]
fn blocks_of_4096_bytes_are_counted_in_sectors_by_the_guest() {
    let (mut bench, device) = scripted(blocks_of_4096());
    bench.send(&Ask::read(16, 8192));
    bench.send(&Ask::ranges(RequestType::DISCARD, &[(8, 16, 0)]));
    bench.turn();
    assert_eq!(asked(&device), [(Operation::Read, 2, 2), (Operation::Discard, 1, 2)]);
    assert_eq!(bench.ask_status(&Ask::ranges(RequestType::DISCARD, &[(8, 4, 0)])), IOERR);
}

#[test]
fn one_wrong_range_refuses_all_of_them() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    let cases = [
        (RequestType::DISCARD, (0, 8, 1), UNSUPP),
        (RequestType::DISCARD, (0, 8, 2), UNSUPP),
        (RequestType::WRITE_ZEROES, (0, 8, 2), UNSUPP),
        (RequestType::WRITE_ZEROES, (0, 8, u32::MAX), UNSUPP),
        (RequestType::DISCARD, (1017, 8, 0), IOERR),
        (RequestType::DISCARD, (u64::MAX, 8, 0), IOERR),
        (RequestType::DISCARD, (0, 1025, 0), IOERR),
        (RequestType::WRITE_ZEROES, (0, u32::MAX, 0), IOERR),
    ];
    for (kind, wrong, status) in cases {
        assert_eq!(bench.ask(&Ask::ranges(kind, &[(0, 8, 0), wrong])), ended(status), "{wrong:?}");
    }
    let too_many: Vec<_> = (0..33).map(|n| (n, 1, 0)).collect();
    assert_eq!(bench.ask(&Ask::ranges(RequestType::DISCARD, &too_many)), ended(IOERR));
    let cut = Ask { out: vec![0; 17], ..Ask::ranges(RequestType::DISCARD, &[]) };
    assert_eq!(bench.ask(&cut), ended(IOERR));
    assert!(device.taken().is_empty());
}

#[test]
fn what_the_device_cannot_is_not_offered_and_unsupported() {
    let geometry = Geometry { discard_blocks_max: 0, write_zeroes_blocks_max: 0, ..Geometry::for_tests() };
    let (mut bench, _device) = scripted(geometry);
    for kind in
        [RequestType::DISCARD, RequestType::WRITE_ZEROES, RequestType(2.into()), RequestType(99.into())]
    {
        assert_eq!(bench.ask(&Ask::ranges(kind, &[(0, 8, 0)])), ended(UNSUPP), "{kind:?}");
    }
    let features = BlkDisk::new(geometry, Access::ReadWrite, "", 1).features();
    assert!(!features.contains(Features::BLK_DISCARD) && !features.contains(Features::BLK_WRITE_ZEROES));
}

#[test]
fn a_chain_without_a_place_for_the_status_goes_back_empty() {
    let mut bench = Bench::new(memory_disk(512, 256));
    let at = bench.place(512);
    for (pieces, written) in [
        (vec![Piece::readable(at, 16)], 0),
        (vec![Piece::readable(at, 16), Piece::writable(at, 0)], 0),
        (vec![Piece::readable(at, 15), Piece::writable(at + 100, 1)], 1),
        (vec![Piece::writable(at + 100, 1)], 1),
        (vec![Piece::readable(1, 16), Piece::writable(at + 100, 1)], 1),
        (vec![Piece::readable(at, 16), Piece::writable(1, 1)], 0),
    ] {
        bench.memory.write(GuestAddress(at + 100), &[UNANSWERED]);
        let head = bench.driver.add(&pieces, Form::Direct).unwrap();
        bench.turn();
        assert_eq!(bench.driver.take_used(), Some((head, written)), "{pieces:?}");
        let status = bench.memory.bytes(GuestAddress(at + 100), 1)[0];
        assert_eq!(status, if written == 1 { IOERR } else { UNANSWERED });
    }
    assert_eq!(bench.counters.faults(), 2);
}

#[test]
fn a_transfer_longer_than_the_device_takes_goes_in_parts_that_fit() {
    let geometry = Geometry { transfer_blocks_max: 8, spans_max: 2, ..Geometry::for_tests() };
    let (mut bench, device) = scripted(geometry);
    let sent = bench.send(&Ask::read(10, 20 * 512));
    bench.turn();
    let parts = [(Operation::Read, 10, 8), (Operation::Read, 18, 8), (Operation::Read, 26, 4)];
    assert_eq!(asked(&device), parts);
    device.complete_all(Status::Success);
    bench.turn();
    assert_eq!(bench.take_answer(&sent).map(|answer| answer.written), Some(20 * 512 + 1));
}

#[test]
fn a_transfer_of_more_pieces_than_the_device_takes_goes_in_whole_blocks() {
    let geometry = Geometry { spans_max: 3, ..Geometry::for_tests() };
    let (mut bench, device) = scripted(geometry);
    bench.send_as(&Ask::write(0, &pattern(2048, 1)), |[at, _], [status, _]| {
        let data = (0..8).map(|n| Piece::readable(at + 16 + n * 256, 256));
        let header = std::iter::once(Piece::readable(at, 16));
        (header.chain(data).chain([Piece::writable(status, 1)]).collect(), Form::Direct)
    });
    bench.turn();
    let lengths: Vec<Vec<u32>> =
        device.taken().iter().map(|r| r.data.iter().map(|span| span.len()).collect()).collect();
    assert_eq!(lengths, [[256, 256], [256, 256], [256, 256], [256, 256]]);
}

#[test]
fn pieces_that_do_not_make_a_block_together_are_more_than_was_offered() {
    let geometry = Geometry { spans_max: 3, ..Geometry::for_tests() };
    let (mut bench, device) = scripted(geometry);
    let sent = bench.send_as(&Ask::write(0, &[0; 512]), |[at, _], [status, _]| {
        let data = (0..4).map(|n| Piece::readable(at + 16 + n * 128, 128));
        let header = std::iter::once(Piece::readable(at, 16));
        (header.chain(data).chain([Piece::writable(status, 1)]).collect(), Form::Direct)
    });
    assert_eq!(bench.turns_until_answered(&sent), ended(IOERR));
    assert!(device.taken().is_empty());
}

#[test]
fn a_request_waits_half_submitted_while_there_is_no_room() {
    let geometry = Geometry { transfer_blocks_max: 1, ..Geometry::for_tests() };
    let (mut bench, device) = scripted_with(geometry, 2, Setup::default());
    let sent = bench.send(&Ask::write(3, &pattern(5 * 512, 7)));
    bench.turn();
    assert_eq!(device.taken().len(), 2);
    assert_eq!(bench.session.in_flight(), 1);
    let mut seen = Vec::new();
    assert_eq!(bench.turns_to_the_end(&device, &mut seen, &sent), ended(OK));
    let write = Operation::Write(Durability::Cache);
    assert_eq!(seen, (3..8).map(|lba| (write, lba, 1)).collect::<Vec<_>>());
}

#[test]
fn a_long_request_and_a_short_one_share_scarce_room() {
    let geometry = Geometry { transfer_blocks_max: 1, ..Geometry::for_tests() };
    let (mut bench, device) = scripted_with(geometry, 1, Setup::default());
    let long = bench.send(&Ask::write(0, &pattern(100 * 512, 7)));
    bench.turn();
    let short = bench.send(&Ask::flush());
    let mut seen = Vec::new();
    assert_eq!(bench.turns_to_the_end(&device, &mut seen, &short), ended(OK));
    assert!(seen.len() < 8, "{seen:?} came first");
    assert_eq!(bench.turns_to_the_end(&device, &mut seen, &long), ended(OK));
}

#[test]
fn the_first_failure_of_a_part_is_the_request_s_status() {
    let geometry = Geometry { transfer_blocks_max: 1, ..Geometry::for_tests() };
    let (mut bench, device) = scripted(geometry);
    let sent = bench.send(&Ask::read(0, 3 * 512));
    bench.turn();
    let tag = device.taken()[0].tag;
    for (status, answered) in [(Status::Success, false), (Status::MediaError, false), (Status::Success, true)]
    {
        assert!(device.complete(tag, status));
        bench.turn();
        let answer = bench.take_answer(&sent);
        assert_eq!(answer.is_some(), answered);
        assert!(answer.is_none_or(|answer| (answer.status, answer.written) == (IOERR, 1)));
    }
}

#[test]
fn every_status_of_the_device_becomes_one_of_the_protocol() {
    let cases = [
        (Status::Success, OK),
        (Status::Unsupported, UNSUPP),
        (Status::OutOfRange, IOERR),
        (Status::Invalid, IOERR),
        (Status::WriteProtected, IOERR),
        (Status::NoSpace, IOERR),
        (Status::MediaError, IOERR),
        (Status::DeviceError, IOERR),
        (Status::Aborted, IOERR),
        (Status::Gone, IOERR),
        (Status::ReservationConflict, IOERR),
    ];
    for (status, expected) in cases {
        let (mut bench, failures) = failing(status);
        failures.demand(1);
        assert_eq!(bench.ask(&Ask::flush()), ended(expected), "{status:?}");
        assert_eq!(bench.ask(&Ask::flush()), ended(OK), "after {status:?}");
    }
}

#[test]
fn requests_end_in_any_order() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    let sent: Vec<_> = (0..4).map(|n| bench.send(&Ask::read(n, 512))).collect();
    bench.turn();
    for one in sent.iter().rev() {
        assert!(device.complete(Tag::new(0, one.head.0), Status::Success));
        bench.turn();
        assert!(bench.take_answer(one).is_some());
    }
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn nothing_is_taken_while_the_device_has_no_room() {
    let (mut bench, device) = scripted_with(Geometry::for_tests(), 1, Setup::default());
    (0..3).for_each(|n| _ = bench.send(&Ask::read(n, 512)));
    assert_eq!(bench.turn(), 1);
    assert_eq!(bench.turn(), 0, "the device is full");
    assert_eq!(asked(&device).len(), 1);
    assert_eq!(bench.session.queue().base(), 1);
}

#[test]
fn a_turn_takes_a_batch_at_most() {
    let (mut bench, device) =
        scripted_with(Geometry::for_tests(), 1000, Setup { size: 1024, ..Setup::default() });
    (0..100).for_each(|n| _ = bench.send(&Ask::read(n, 512)));
    bench.turn();
    assert_eq!(device.taken().len(), BATCH);
    bench.turn();
    assert_eq!(device.taken().len(), 100);
}

#[test]
fn a_chain_that_is_made_available_twice_breaks_the_ring_and_what_is_in_flight_ends() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    let sent = bench.send(&Ask::read(0, 512));
    bench.driver.push_head(sent.head.0);
    assert!(bench.session.needs_polling(), "nobody kicks");
    bench.turn();
    assert!(bench.counters.broken());
    assert_eq!(device.taken().len(), 1);
    assert_eq!(bench.session.in_flight(), 1);
    device.complete_all(Status::Success);
    bench.turn();
    assert!(bench.take_answer(&sent).is_some());
    bench.send(&Ask::read(0, 512));
    assert_eq!(bench.turn(), 0, "nothing more is taken");
    assert!(!bench.session.needs_polling());
}

#[test]
fn of_each_request_the_volume_is_told_that_it_has_ended() {
    let mut bench = Bench::new(memory_disk(512, 256));
    let ranges: Vec<_> = (0..32).map(|n| (n * 8, 8, 0)).collect();
    let fine = [
        Ask::read(0, 4096),
        Ask::read(3, 3 << 20 >> 3),
        Ask::write(8, &[7; 4096]),
        Ask::flush(),
        Ask::ranges(RequestType::DISCARD, &ranges),
        Ask::ranges(RequestType::WRITE_ZEROES, &ranges),
    ];
    let wrong = [Ask::write(1, &[7; 100]), Ask::read(u64::MAX, 512), Ask::read(0, 0)];
    for ask in fine.iter().chain(&wrong) {
        bench.ask(ask);
        assert_eq!(bench.stats.outstanding(), 0, "{ask:?}");
    }
    let counters = bench.stats.read();
    let ticks = [counters.read_ticks, counters.write_ticks, counters.unmap_ticks];
    assert!(ticks.iter().all(|&ticks| ticks > 0), "{counters:?}");

    let (mut bench, device) = scripted(Geometry::for_tests());
    for ask in [Ask::read(0, 512), Ask::write(0, &[7; 512]), Ask::read(0, 512)] {
        bench.send(&ask);
    }
    bench.turn();
    assert_eq!(bench.stats.outstanding(), 3);
    device.complete_all(Status::MediaError);
    bench.turn();
    assert_eq!(bench.stats.outstanding(), 0);
}

#[test]
fn the_volume_counts_failures_of_its_device_and_requests_that_a_reset_aborted() {
    let (mut bench, device) = scripted(Geometry::for_tests());
    for status in [Status::MediaError, Status::NoSpace, Status::Aborted, Status::Success, Status::Gone] {
        bench.send(&Ask::read(0, 512));
        bench.turn();
        device.complete_all(status);
        bench.turn();
    }
    let counters = bench.stats.read();
    assert_eq!(counters.failed, 3);
    assert_eq!(counters.aborted, 1);
}

#[test]
fn a_wrong_request_is_no_failure_of_the_device() {
    let mut bench = Bench::new(memory_disk(512, 256));
    for ask in [Ask::write(1, &[7; 100]), Ask::read(u64::MAX, 512), Ask::read(255, 1024)] {
        assert_ne!(bench.ask(&ask).status, OK);
    }
    let counters = bench.stats.read();
    assert_eq!(counters.failed, 0);
    assert_eq!(counters.aborted, 0);
}

#[test]
fn a_session_that_is_to_leave_takes_no_more_but_ends_what_it_has() {
    let geometry = Geometry { transfer_blocks_max: 1, ..Geometry::for_tests() };
    let (mut bench, device) = scripted_with(geometry, 2, Setup::default());
    let first = bench.send(&Ask::read(0, 4 * 512));
    bench.turn();
    bench.session.quiesce();
    bench.send(&Ask::read(9, 512));
    let answer = bench.turns_to_the_end(&device, &mut Vec::new(), &first);
    assert_eq!(answer.status, OK);
    assert_eq!(answer.written, 4 * 512 + 1);
    assert_eq!(bench.session.in_flight(), 0);
    assert_eq!(bench.session.queue().base(), 1);
}

#[test]
fn a_session_sleeps_only_when_nothing_waits() {
    let (mut bench, device) = scripted_with(Geometry::for_tests(), 1, Setup::default());
    assert_eq!(bench.session.arm(), Armed::Quiet);
    bench.send(&Ask::read(0, 512));
    assert!(bench.driver.must_kick());
    assert_eq!(bench.session.arm(), Armed::Waiting);
    bench.session.disarm();
    bench.turn();
    assert_eq!(bench.session.arm(), Armed::Quiet);
    device.complete_all(Status::Success);
}

#[test]
fn the_configuration_says_what_the_device_is() {
    let geometry = Geometry { spans_max: 9, ..blocks_of_4096() };
    let disk = BlkDisk::new(geometry, Access::ReadWrite, "", 7);
    let bytes = disk.config(0, 256);
    assert_eq!(bytes.len(), 256);
    assert!(bytes[size_of::<Config>()..].iter().all(|&byte| byte == 0));
    let config = Config::read_from_bytes(&bytes[..size_of::<Config>()]).unwrap();
    assert_eq!(config.capacity.get(), 1024 * 8);
    assert_eq!(config.blk_size.get(), 4096);
    assert_eq!(config.seg_max.get(), 9);
    assert_eq!(config.num_queues.get(), 7);
    assert_eq!(config.max_discard_seg.get(), 32);
    assert_eq!(config.max_write_zeroes_seg.get(), 32);
    assert_eq!(disk.config(20, 4), 4096_u32.to_le_bytes());
    assert_eq!(disk.config(300, 4), [0; 4]);
}

impl Bench {
    fn ask_status(&mut self, ask: &Ask) -> u8 {
        let sent = self.send(ask);
        (0..10).for_each(|_| _ = self.turn());
        self.memory.bytes(GuestAddress(sent.in_at), 1)[0]
    }

    /// Completes whatever the device is asked until the request is answered.
    fn turns_to_the_end(
        &mut self,
        device: &Scripted,
        seen: &mut Vec<(Operation, u64, u32)>,
        last: &rig::Sent,
    ) -> Answer {
        for _ in 0..100 {
            self.turn();
            seen.extend(asked(device));
            device.complete_all(Status::Success);
            self.turn();
            while let Some((head, written)) = self.driver.take_used() {
                if head == last.head {
                    return self.answer(last, written);
                }
            }
        }
        panic!("no answer");
    }
}
