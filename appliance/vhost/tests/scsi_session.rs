//! Answers of a request queue to the commands of its guest.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Operation, Status};
use luge_core::Session;
use luge_memory::GuestAddress;
use luge_spec::virtio::scsi::{LunField, RESPONSE_BYTES, Response};
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::scripted::memory_disk;
use rig::scsi::{Answered, Cmd, HEADER, RESPONSE, ScsiBench, SentCmd, address, cdb_10, cdb_16, usual_pieces};
use rig::{UNANSWERED, cut};
use std::sync::Arc;

const CHECK_CONDITION: u8 = 2;

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

fn scripted(geometry: Geometry, room: usize) -> (ScsiBench, Scripted) {
    let device = Scripted::new(geometry, room);
    (ScsiBench::new(Arc::new(device.clone())), device)
}

/// Requests that the device has not ended: operation, first block, number of blocks.
fn asked(device: &Scripted) -> Vec<(Operation, u64, u32)> {
    device.taken().iter().map(|r| (r.operation, r.lba.0, r.blocks)).collect()
}

fn single([at, len]: [u64; 2], writable: bool) -> Vec<Piece> {
    (at..at + len).map(|at| Piece { at: GuestAddress(at), len: 1, writable }).collect()
}

fn whole([at, len]: [u64; 2], writable: bool) -> Piece {
    Piece { at: GuestAddress(at), len: u32::try_from(len).unwrap(), writable }
}

#[test]
fn what_is_written_is_read_back() {
    for block_bytes in [512, 4096] {
        let mut bench = ScsiBench::new(memory_disk(block_bytes, 256));
        let bytes = pattern(8192, 3);
        assert_eq!(bench.ask(&Cmd::write(8, &bytes, block_bytes)), Answered::good(&[]));
        assert_eq!(bench.ask(&Cmd::synchronize_cache()), Answered::good(&[]));
        let blocks = u16::try_from(8192 / block_bytes).unwrap();
        assert_eq!(bench.ask(&Cmd::read(8, blocks, block_bytes)), Answered::good(&bytes));
        let long = Cmd { in_bytes: 8192, ..Cmd::new(&cdb_16(0x88, 8, blocks.into())) };
        assert_eq!(bench.ask(&long), Answered::good(&bytes));
    }
}

#[test]
fn any_split_into_descriptors_means_the_same() {
    let mut bench = ScsiBench::with(vec![(address(0, 0), memory_disk(512, 256))], 2048, None);
    let bytes = pattern(512, 9);
    let table = GuestAddress(RigMemory::FAR_DATA.0);
    for form in [Form::Direct, Form::Indirect(table)] {
        let sent = bench.send_as(&Cmd::write(1, &bytes, 512), |readable, writable| {
            ([single(readable, false), single(writable, true)].concat(), form)
        });
        assert_eq!(bench.turns_until_answered(&sent), Answered::good(&[]));
        let sent = bench.send_as(&Cmd::read(1, 1, 512), |readable, writable| {
            ([single(readable, false), single(writable, true)].concat(), form)
        });
        assert_eq!(bench.turns_until_answered(&sent), Answered::good(&bytes));
    }
    let sent = bench.send_as(&Cmd::write(2, &bytes, 512), |readable, writable| {
        (vec![whole(readable, false), whole(writable, true)], Form::Direct)
    });
    assert_eq!(bench.turns_until_answered(&sent), Answered::good(&[]));
    let sent = bench.send_as(&Cmd::read(2, 1, 512), |readable, writable| {
        (vec![whole(readable, false), whole(writable, true)], Form::Direct)
    });
    assert_eq!(bench.turns_until_answered(&sent), Answered::good(&bytes));
}

#[test]
fn a_response_whose_pieces_lie_apart_is_written_wherever_they_are() {
    let mut bench = ScsiBench::new(memory_disk(512, 256));
    let far = RigMemory::FAR_DATA.0;
    for (count, status) in [(2, 0), (27, 0)] {
        let len = RESPONSE / count;
        let sent = bench.send_as(&Cmd::read(0, 1, 512), |readable, [into, _]| {
            let parts =
                (0..count).map(|part| Piece::writable(far + 1000 * part, u32::try_from(len).unwrap()));
            let data = Piece::writable(into + RESPONSE, 512);
            let pieces = [whole(readable, false)].into_iter().chain(parts).chain([data]);
            (pieces.collect(), Form::Direct)
        });
        bench.turns_until_answered(&sent);
        let parts = (0..count)
            .map(|part| bench.memory.bytes(GuestAddress(far + 1000 * part), usize::try_from(len).unwrap()));
        let response = parts.collect::<Vec<_>>().concat();
        assert_eq!(response[..12], [status; 12], "{count} parts");
    }
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn data_beyond_the_command_is_left_alone_and_counted_as_residual() {
    let mut bench = ScsiBench::new(memory_disk(512, 256));
    let bytes = pattern(512, 7);
    let more = [bytes.clone(), vec![0xaa; 700]].concat();
    let write = Cmd { out: more, ..Cmd::new(&cdb_10(0x2a, 3, 1)) };
    assert_eq!(bench.ask(&write), Answered { residual: 700, ..Answered::good(&[]) });
    let read = Cmd { in_bytes: 1300, ..Cmd::read(3, 1, 512) };
    let answer = bench.ask(&read);
    let data = [bytes, vec![UNANSWERED; 788]].concat();
    let written = 108 + 512;
    assert_eq!(answer, Answered { residual: 788, data, written, ..Answered::good(&[]) });
    assert_eq!(bench.ask(&Cmd::read(4, 1, 512)).data, [0; 512], "the next block was not written");
}

#[test]
fn a_command_with_less_memory_than_it_has_data_is_an_overrun_and_nothing_happens() {
    let (mut bench, device) = scripted(Geometry::for_tests(), 8);
    let overruns = [
        Cmd { in_bytes: 511, ..Cmd::read(0, 1, 512) },
        Cmd { in_bytes: 0, ..Cmd::read(0, 1, 512) },
        Cmd { in_bytes: 512, ..Cmd::read(0, 2, 512) },
        Cmd { in_bytes: 0, out: vec![0; 512], ..Cmd::read(0, 1, 512) },
        Cmd { out: vec![0; 511], ..Cmd::new(&cdb_10(0x2a, 0, 1)) },
        Cmd { in_bytes: 512, ..Cmd::new(&cdb_10(0x2a, 0, 1)) },
        Cmd { in_bytes: 512, ..Cmd::new(&cdb_16(0x88, 0, 512)) },
        Cmd { out: vec![0; 12], ..Cmd::unmap(&[(0, 8)]) },
    ];
    for cmd in overruns {
        let answer = bench.ask(&cmd);
        assert_eq!(answer.response, Response::OVERRUN, "{cmd:?}");
        assert_eq!(answer.written, 12);
        assert!(answer.data.iter().all(|&byte| byte == UNANSWERED));
    }
    assert!(device.taken().is_empty());
}

#[test]
fn data_in_both_directions_is_refused() {
    let (mut bench, device) = scripted(Geometry::for_tests(), 8);
    for cdb in [cdb_10(0x28, 0, 1), cdb_10(0x2a, 0, 1), vec![0x12, 0, 0, 0, 36, 0]] {
        let answer = bench.ask(&Cmd { out: vec![0; 512], in_bytes: 512, ..Cmd::new(&cdb) });
        assert_eq!(answer.response, Response::FAILURE);
        assert_eq!(answer.data, [UNANSWERED; 512]);
    }
    assert!(device.taken().is_empty());
    assert!(bench.relayed().is_none());
}

#[test]
fn addresses_of_no_target_are_told_so() {
    let mut bench = ScsiBench::new(memory_disk(512, 256));
    for field in [
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 255, 0x40, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0, 0, 0],
        [1, 0, 0xc0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 9],
        [0xc1, 2, 0, 0, 0, 0, 0, 0],
        [0xff; 8],
    ] {
        let answer = bench.ask(&Cmd { lun: LunField(field), ..Cmd::read(0, 1, 512) });
        assert_eq!(answer.response, Response::BAD_TARGET, "{field:?}");
        assert_eq!(answer.data, [UNANSWERED; 512]);
    }
    let flat = Cmd { lun: LunField([1, 0, 0x40, 0, 0, 0, 0, 0]), ..Cmd::read(0, 1, 512) };
    assert_eq!(bench.ask(&flat), Answered::good(&[0; 512]));
}

#[test]
fn commands_that_are_not_in_order_get_sense_data() {
    let mut bench = ScsiBench::new(memory_disk(512, 256));
    let many = vec![(0, 1); 257];
    for (cmd, sense) in [
        (Cmd::read(256, 1, 512), [5, 0x21, 0]),
        (Cmd::read(u32::MAX, 1, 512), [5, 0x21, 0]),
        (Cmd::write(255, &[0; 1024], 512), [5, 0x21, 0]),
        (Cmd { in_bytes: 512, ..Cmd::new(&cdb_16(0x88, u64::MAX, 1)) }, [5, 0x21, 0]),
        (Cmd::new(&[0x7f; 32]), [5, 0x20, 0]),
        (Cmd::new(&[0xff; 16]), [5, 0x20, 0]),
        (Cmd { in_bytes: 512, ..Cmd::new(&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0]) }, [5, 0x24, 0]),
        (Cmd::unmap(&[(0, 8), (250, 8)]), [5, 0x21, 0]),
        (Cmd::unmap(&many), [5, 0x26, 0]),
    ] {
        let answer = bench.ask(&cmd);
        assert_eq!(answer.response, Response::OK, "{cmd:?}");
        assert_eq!(answer.status, CHECK_CONDITION, "{cmd:?}");
        assert_eq!(answer.sense_code(), Some(sense), "{cmd:?}");
        assert_eq!(answer.written as usize, 12 + answer.sense.len());
        assert_eq!(answer.residual as usize, cmd.in_bytes as usize + cmd.out.len(), "{cmd:?}");
    }
}

#[test]
fn a_failure_of_the_device_is_told_with_the_block() {
    let (mut bench, device) = scripted(Geometry::for_tests(), 8);
    for (status, sense) in [(Status::MediaError, [3, 0x11, 0]), (Status::DeviceError, [11, 0x44, 0])] {
        let sent = bench.send(&Cmd::read(77, 1, 512));
        bench.turn();
        assert_eq!(device.complete_all(status), 1);
        let answer = bench.turns_until_answered(&sent);
        assert_eq!(answer.status, CHECK_CONDITION);
        assert_eq!(answer.sense_code(), Some(sense));
        assert_eq!(answer.residual, 512);
        assert_eq!(answer.written as usize, 12 + answer.sense.len());
        if status == Status::MediaError {
            assert_eq!(answer.sense[3..7], [0, 0, 0, 77]);
        }
    }
    let conflict = bench.send(&Cmd::write(0, &[0; 512], 512));
    bench.turn();
    device.complete_all(Status::ReservationConflict);
    assert_eq!(bench.turns_until_answered(&conflict).status, 0x18);
    assert_eq!(bench.luns[0].1.stats.read().failed, 3);
}

#[test]
fn a_comparison_that_fails_tells_the_byte() {
    let mut bench = ScsiBench::new(memory_disk(512, 256));
    let mut bytes = pattern(1024, 1);
    assert_eq!(bench.ask(&Cmd::write(5, &bytes, 512)), Answered::good(&[]));
    let verify = |out: &[u8]| Cmd { out: out.to_vec(), ..Cmd::new(&[0x2f, 2, 0, 0, 0, 5, 0, 0, 2, 0]) };
    assert_eq!(bench.ask(&verify(&bytes)), Answered::good(&[]));
    bytes[700] ^= 1;
    let answer = bench.ask(&verify(&bytes));
    assert_eq!(answer.sense_code(), Some([14, 0x1d, 0]));
    assert_eq!(answer.sense[3..7], 700_u32.to_be_bytes());
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_unit_that_cannot_be_written_refuses_all_that_changes_data() {
    let (mut bench, device) = scripted(Geometry { read_only: true, ..Geometry::for_tests() }, 8);
    bench.luns[0].1.view.read_only = true;
    bench.set_table();
    for cmd in [Cmd::write(0, &[0; 512], 512), Cmd::unmap(&[(0, 8)])] {
        assert_eq!(bench.ask(&cmd).sense_code(), Some([7, 0x27, 0]), "{cmd:?}");
    }
    assert!(device.taken().is_empty());
}

#[test]
fn unmap_reaches_the_device_as_one_request() {
    let (mut bench, device) = scripted(Geometry::for_tests(), 8);
    let sent = bench.send(&Cmd::unmap(&[(8, 8), (100, 0), (200, 16)]));
    bench.turn();
    assert_eq!(asked(&device), [(Operation::Discard, 8, 8), (Operation::Discard, 200, 16)]);
    let tag = device.taken()[0].tag;
    device.complete(tag, Status::Success);
    bench.turn();
    assert_eq!(bench.take_answer(&sent), None, "one range is not done");
    device.complete(tag, Status::Success);
    bench.turn();
    assert_eq!(bench.take_answer(&sent), Some(Answered::good(&[])));
    assert_eq!(bench.ask(&Cmd::unmap(&[])), Answered::good(&[]));
    let longer = Cmd { out: [Cmd::unmap(&[]).out, vec![0; 100]].concat(), ..Cmd::unmap(&[]) };
    assert_eq!(bench.ask(&longer), Answered { residual: 100, ..Answered::good(&[]) });
}

#[test]
fn all_task_attributes_are_served() {
    let mut bench = ScsiBench::new(memory_disk(512, 256));
    for attribute in [0, 1, 2, 3, 4, 0xff] {
        let cmd = Cmd { attribute, ..Cmd::read(0, 1, 512) };
        assert_eq!(bench.ask(&cmd), Answered::good(&[0; 512]));
    }
}

#[test]
fn chains_that_are_no_requests_get_a_response_where_there_is_room_for_one() {
    let (mut bench, device) = scripted(Geometry::for_tests(), 8);
    let cmd = Cmd::read(0, 1, 512);
    for (room, written) in [(1, 0), (11, 0), (12, 12), (107, 12)] {
        let sent = bench.send_as(&cmd, |readable, [into, _]| {
            (vec![whole(readable, false), Piece::writable(into, room)], Form::Direct)
        });
        let answer = bench.turns_until_answered(&sent);
        assert_eq!(answer.written, written, "{room} bytes for the response");
        let expected = if written == 0 { Response(UNANSWERED) } else { Response::FAILURE };
        assert_eq!(answer.response, expected);
    }
    for header in [1, 50] {
        let sent = bench.send_as(&cmd, |[out, _], writable| {
            (vec![Piece::readable(out, header), whole(writable, true)], Form::Direct)
        });
        assert_eq!(bench.turns_until_answered(&sent).response, Response::FAILURE, "a header of {header}");
    }
    let sent = bench.send_as(&cmd, |_, writable| (vec![whole(writable, true)], Form::Direct));
    assert_eq!(bench.turns_until_answered(&sent).response, Response::FAILURE, "no header");
    let sent = bench.send_as(&cmd, |readable, _| (vec![whole(readable, false)], Form::Direct));
    assert_eq!(bench.turns_until_answered(&sent).written, 0, "no response");
    assert!(device.taken().is_empty());
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_chain_at_fault_gets_a_response_where_its_place_is_found() {
    let (mut bench, device) = scripted(Geometry::for_tests(), 8);
    let nowhere = 1 << 40;
    type Spoil = fn(&mut Vec<Piece>);
    let faults: [(&str, Spoil); 4] = [
        ("data that is nowhere", |pieces| pieces[2].at = GuestAddress(1 << 40)),
        ("a header that is nowhere", |pieces| pieces[0].at = GuestAddress(1 << 40)),
        ("data to be read after the response", |pieces| pieces[2].writable = false),
        ("more than 4 GiB", |pieces| pieces[2].len = u32::MAX),
    ];
    for (what, spoil) in faults {
        let sent = bench.send_as(&Cmd::read(0, 1, 512), |readable, writable| {
            let mut pieces = usual_pieces(readable, writable);
            spoil(&mut pieces);
            (pieces, Form::Direct)
        });
        let answer = bench.turns_until_answered(&sent);
        assert_eq!(answer.response, Response::FAILURE, "{what}");
        assert_eq!(answer.written, 12, "{what}");
    }
    let sent = bench.send_as(&Cmd::read(0, 1, 512), |readable, writable| {
        let mut pieces = usual_pieces(readable, writable);
        pieces[1].at = GuestAddress(nowhere);
        (pieces, Form::Direct)
    });
    let answer = bench.turns_until_answered(&sent);
    assert_eq!(answer.response, Response(UNANSWERED), "the response itself is nowhere");
    assert_eq!(answer.written, 0);
    assert_eq!(bench.counters.faults(), 5);
    assert!(device.taken().is_empty());
    assert_eq!(HEADER + RESPONSE, 51 + RESPONSE_BYTES as u64);
}

#[test]
fn luns_are_served_beside_each_other_and_one_without_room_does_not_delay_the_others() {
    let (full, free) = (Scripted::new(Geometry::for_tests(), 1), Scripted::new(Geometry::for_tests(), 64));
    let luns =
        vec![(address(0, 0), Arc::new(full.clone()) as _), (address(7, 200), Arc::new(free.clone()) as _)];
    let mut bench = ScsiBench::with(luns, 64, None);
    for n in 0..4 {
        bench.send(&Cmd::read(n, 1, 512));
        bench.send(&Cmd::read(n, 1, 512).to(address(7, 200)));
        bench.send(&Cmd::synchronize_cache().to(address(7, 200)));
    }
    bench.turn();
    bench.turn();
    assert_eq!(full.taken().len(), 1);
    assert_eq!(free.taken().len(), 8);
    assert_eq!(free.complete_all(Status::Success), 8);
    bench.turn();
    assert_eq!(std::iter::from_fn(|| bench.driver.take_used()).count(), 8);
    let mut blocks = vec![];
    while !full.taken().is_empty() {
        blocks.extend(asked(&full).iter().map(|&(_, lba, _)| lba));
        full.complete_all(Status::Success);
        bench.turn();
        bench.turn();
    }
    assert_eq!(blocks, [0, 1, 2, 3]);
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_session_takes_nothing_without_a_table() {
    let mut bench = ScsiBench::without_table();
    let sent = bench.send(&Cmd::read(0, 1, 512));
    assert!(!bench.turn());
    assert_eq!(bench.base(), 0);
    assert_eq!(bench.session.arm(), luge_core::Armed::Quiet);
    bench.set_table();
    assert_eq!(bench.turns_until_answered(&sent), Answered::good(&[0; 512]));
}

#[test]
fn a_chain_that_is_in_flight_already_breaks_the_ring() {
    let (mut bench, _device) = scripted(Geometry::for_tests(), 8);
    let sent = bench.send(&Cmd::read(0, 1, 512));
    bench.turn();
    bench.driver.push_head(sent.head.0);
    bench.turn();
    assert!(bench.counters.broken());
}

/// Answers to all of these commands, in their order, whatever the order of their ends.
fn answers(bench: &mut ScsiBench, sent: &[SentCmd]) -> Vec<Answered> {
    let mut answers = vec![None; sent.len()];
    while answers.iter().any(Option::is_none) {
        bench.turn();
        while let Some((head, written)) = bench.driver.take_used() {
            let index = sent.iter().position(|sent| sent.head == head).unwrap();
            let before = answers[index].replace(bench.answer(&sent[index], written));
            assert_eq!(before, None, "command {index} is answered once");
        }
    }
    answers.into_iter().flatten().collect()
}

/// Memory in up to three pieces, of which the first has `first` bytes.
fn in_pieces(memory: [u64; 2], writable: bool, first: u64) -> Vec<Piece> {
    let cuts = [first, first + 300].into_iter().filter(|&at| at < memory[1]);
    cut(memory, writable, cuts.collect())
}

#[test]
fn commands_of_every_kind_in_one_batch_are_answered_each_for_itself() {
    let luns = [0, 1].map(|lun| (address(0, lun), memory_disk(512, 256)));
    let mut bench = ScsiBench::with(luns.into(), 512, None);
    let block = |n: u32| pattern(512, u8::try_from(n).unwrap());
    let lun = |n: u32| address(0, u8::from(n % 7 == 3));
    let past_the_end = |n: u32| n == 9;
    let lba = |n: u32| if past_the_end(n) { 256 } else { n };
    for reads in [false, true] {
        let sent: Vec<SentCmd> = (0..24)
            .map(|n| {
                let cmd = if reads { Cmd::read(lba(n), 1, 512) } else { Cmd::write(lba(n), &block(n), 512) };
                // Some in several segments, one that is no transfer.
                let cmd = if n == 5 { Cmd::synchronize_cache() } else { cmd };
                bench.send_as(&cmd.to(lun(n)), |readable, writable| match n % 5 {
                    4 => (
                        [in_pieces(readable, false, HEADER), in_pieces(writable, true, RESPONSE)].concat(),
                        Form::Direct,
                    ),
                    _ => (usual_pieces(readable, writable), Form::Direct),
                })
            })
            .collect();
        for (answer, n) in answers(&mut bench, &sent).iter().zip(0..) {
            match n {
                _ if past_the_end(n) => assert_eq!(answer.status, CHECK_CONDITION, "command {n}"),
                5 => assert_eq!(*answer, Answered::good(&[])),
                _ if reads => assert_eq!(*answer, Answered::good(&block(n)), "command {n}"),
                _ => assert_eq!(*answer, Answered::good(&[]), "command {n}"),
            }
        }
        assert_eq!(bench.in_flight(), 0);
    }
}
