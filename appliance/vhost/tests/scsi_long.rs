//! SCSI commands of up to as many pieces as a chain may have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::Geometry;
use luge_block::doubles::{Narrow, Scripted};
use luge_core::Session;
use luge_memory::GuestAddress;
use luge_scsi::Gate;
use luge_spec::scsi::ScsiStatus;
use luge_spec::virtio::scsi::Response;
use luge_vhost::{
    Cancelled, CancelledAs, CommandReply, Drain, Ended, LunPlace, Relayed, RelayedCommand, Scope,
};
use luge_virtqueue::CHAIN_MAX;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::scripted::memory_disk;
use rig::scsi::{Answered, Cmd, HEADER, RESPONSE, ScsiBench, SentCmd, address, cdb_16};
use std::sync::Arc;

const TABLE: Form = Form::Indirect(GuestAddress(RigMemory::FAR_DATA.0));

/// Bytes of data of the longest command.
const BYTES: u32 = 256 << 10;

fn pattern(len: u32, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

fn bench() -> ScsiBench {
    let device = memory_disk(512, 4096);
    let limits = Geometry { transfer_blocks_max: 9, spans_max: 11, ..device.geometry() };
    ScsiBench::new(Arc::new(Narrow::new(device, limits, 7).refusing(333, 1)))
}

fn write(bytes: &[u8]) -> Cmd {
    let blocks = u32::try_from(bytes.len() / 512).unwrap();
    Cmd { out: bytes.to_vec(), ..Cmd::new(&cdb_16(0x8a, 3, blocks)) }
}

fn read(bytes: u32) -> Cmd {
    Cmd { in_bytes: bytes, ..Cmd::new(&cdb_16(0x88, 3, bytes / 512)) }
}

/// Cuts memory into pieces: `frame` bytes first, then `count` pieces that end at no block.
fn cut([at, len]: [u64; 2], frame: u64, count: u64, writable: bool) -> Vec<Piece> {
    let (data, bytes) = (at + frame, len - frame);
    let edge = |n: u64| data + (bytes * n).div_ceil(count).min(bytes);
    let edges = (0..count).map(|n| (edge(n), edge(n + 1)));
    let all = [(at, data)].into_iter().chain(edges);
    let pieces = all.map(|(start, end)| Piece {
        at: GuestAddress(start),
        len: u32::try_from(end - start).unwrap(),
        writable,
    });
    pieces.filter(|piece| piece.len > 0).collect()
}

/// Sends a command whose data is in `count` pieces.
fn send(bench: &mut ScsiBench, cmd: &Cmd, count: u64) -> SentCmd {
    bench.send_as(cmd, |readable, writable| {
        let pieces = [cut(readable, HEADER, count, false), cut(writable, RESPONSE, count, true)];
        (pieces.concat(), TABLE)
    })
}

#[test]
fn long_chains_are_read_and_written() {
    let mut bench = bench();
    for (round, count) in (1..).zip([126, 127, 200, 4000, u64::from(CHAIN_MAX) - 2]) {
        let bytes = pattern(BYTES, round);
        let sent = send(&mut bench, &write(&bytes), count);
        assert_eq!(bench.turns_until_answered(&sent), Answered::good(&[]), "{count} pieces");
        let sent = send(&mut bench, &read(BYTES), count);
        assert!(bench.turns_until_answered(&sent) == Answered::good(&bytes), "{count} pieces");
        assert_eq!(bench.in_flight(), 0);
    }
}

/// A command with data-out, whose CDB has flags in its second byte.
fn with_data(opcode: u8, flags: u8, blocks: u32, out: Vec<u8>) -> Cmd {
    let mut cdb = cdb_16(opcode, 3, blocks);
    cdb[1] = flags;
    Cmd { out, ..Cmd::new(&cdb) }
}

#[test]
fn commands_that_are_done_in_steps_have_long_chains() {
    let mut bench = bench();
    let (old, new) = (pattern(8 << 10, 1), pattern(8 << 10, 2));
    assert_eq!(bench.ask(&write(&old)), Answered::good(&[]));
    for count in [330, 500, 2000] {
        let mut served = |cmd: &Cmd| {
            let sent = send(&mut bench, cmd, count);
            let answer = bench.turns_until_answered(&sent);
            answer.sense_code().map_or_else(
                || assert_eq!(answer, Answered::good(&[])),
                |code| {
                    assert_eq!(code, [0xe, 0x1d, 0], "{count} pieces: MISCOMPARE DURING VERIFY OPERATION");
                },
            );
            answer.status
        };
        assert_eq!(served(&with_data(0x8f, 2, 16, old.clone())), 0, "VERIFY (16), BYTCHK = 1");
        assert_eq!(served(&with_data(0x8f, 2, 16, new.clone())), 2, "VERIFY (16), BYTCHK = 1");
        let mut pair = with_data(0x89, 0, 0, [&old[..4096], &new[..4096]].concat());
        pair.cdb[13] = 8;
        assert_eq!(served(&pair), 0, "COMPARE AND WRITE");
        assert_eq!(served(&pair), 2, "COMPARE AND WRITE");
        assert_eq!(served(&with_data(0x8f, 2, 8, new[..4096].to_vec())), 0, "what was written");
        assert_eq!(served(&with_data(0x93, 0, 16, new[..512].to_vec())), 0, "WRITE SAME (16)");
        assert_eq!(served(&with_data(0x8f, 6, 16, new[..512].to_vec())), 0, "VERIFY (16), BYTCHK = 3");
        assert_eq!(served(&with_data(0x8e, 2, 16, old.clone())), 0, "WRITE AND VERIFY (16)");
    }
    assert!(bench.ask(&read(8 << 10)) == Answered::good(&old));
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn commands_in_steps_with_too_many_pieces_that_do_not_touch_change_nothing() {
    let mut bench = bench();
    let old = pattern(1024, 1);
    assert_eq!(bench.ask(&write(&old)), Answered::good(&[]));
    let apart = |readable: [u64; 2], [into, _]: [u64; 2]| {
        let data = (0..1024).map(|n| Piece::readable(RigMemory::MORE_DATA.0 + 400_000 + 2 * n, 1));
        let frame = [cut(readable, HEADER, 1, false)[..1].to_vec(), data.collect()].concat();
        ([frame, vec![Piece::writable(into, 108)]].concat(), TABLE)
    };
    let sent = bench.send_as(&with_data(0x8e, 2, 2, vec![0; 1024]), apart);
    let answer = bench.turns_until_answered(&sent);
    assert_eq!(answer.status, 2);
    assert_eq!(answer.residual, 1024);
    assert!(bench.ask(&read(1024)) == Answered::good(&old));
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn data_beyond_the_command_is_left_alone_in_long_chains_too() {
    let mut bench = bench();
    let bytes = pattern(BYTES, 1);
    assert_eq!(bench.ask(&write(&bytes)), Answered::good(&[]));
    let cmd = Cmd { in_bytes: BYTES, ..read(BYTES - 1024) };
    let sent = send(&mut bench, &cmd, 1000);
    let answer = bench.turns_until_answered(&sent);
    assert_eq!(answer.residual, 1024);
    assert_eq!(answer.written, 108 + BYTES - 1024);
    assert!(answer.data[..BYTES as usize - 1024] == bytes[..BYTES as usize - 1024]);
    assert!(answer.data[BYTES as usize - 1024..].iter().all(|&byte| byte == rig::UNANSWERED));
}

#[test]
fn long_chains_that_are_no_transfers_are_answered_and_the_next_ones_served() {
    let mut bench = bench();
    let elsewhere = Cmd { out: vec![0; 4000], ..Cmd::new(&[0x2a; 10]) }.to(address(9, 0));
    let sent = send(&mut bench, &elsewhere, 1000);
    assert_eq!(
        bench.turns_until_answered(&sent).response,
        Response::BAD_TARGET,
        "no volume has a list for it"
    );
    let unmap = Cmd::unmap(&[(0, 8), (100, 8)]);
    let sent = send(&mut bench, &Cmd { out: [unmap.out.clone(), vec![0; 2000]].concat(), ..unmap }, 2000);
    assert_eq!(bench.turns_until_answered(&sent), Answered { residual: 2000, ..Answered::good(&[]) });
    let flush = Cmd { in_bytes: 1000, ..Cmd::synchronize_cache() };
    let sent = send(&mut bench, &flush, 1000);
    let answer = bench.turns_until_answered(&sent);
    assert_eq!(answer.residual, 1000);
    assert_eq!(answer.written, 12);
    let sent = send(&mut bench, &Cmd { in_bytes: BYTES, ..Cmd::new(&cdb_16(0x88, 4000, BYTES / 512)) }, 500);
    assert_eq!(bench.turns_until_answered(&sent).sense_code(), Some([5, 0x21, 0]));
    let sent = bench.send_as(&read(BYTES), |readable, writable| {
        let mut pieces = [cut(readable, HEADER, 1, false), cut(writable, RESPONSE, 2000, true)].concat();
        pieces[1500].at = GuestAddress(u64::MAX);
        (pieces, TABLE)
    });
    assert_eq!(bench.turns_until_answered(&sent).response, Response::FAILURE);
    assert_eq!(bench.counters.faults(), 1);
    assert_eq!(bench.ask(&read(512)).status, 0);
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn long_chains_are_relayed_to_luns_that_are_there_and_to_absent_ones() {
    let mut bench = bench();
    let data = pattern(3000, 5);
    for place in [address(0, 0), address(0, 9)] {
        let sent = send(&mut bench, &Cmd::inquiry(3000).to(place), 3000);
        let (relayed, command) = turns_until_relayed(&mut bench);
        assert_eq!(command.place, LunPlace::Lun(place));
        assert_eq!(command.data_in_bytes, 3000);
        let reply = CommandReply::Done(Ended { data_in: data.clone(), ..Ended::default() });
        assert!(bench.reply(&relayed, &reply));
        assert_eq!(bench.take_answer(&sent), Some(Answered::good(&data)), "{place}");
    }
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(free_lists(&mut bench), 2, "those that were lent are back");
}

#[test]
fn parameter_lists_of_long_chains_are_relayed_without_a_list() {
    let mut bench = bench();
    let out = pattern(3000, 7);
    let select = Cmd { out: out.clone(), ..Cmd::new(&[0x55, 0x10, 0, 0, 0, 0, 0, 11, 184, 0]) };
    let sent = send(&mut bench, &select, 2000);
    let (relayed, command) = turns_until_relayed(&mut bench);
    assert_eq!(command.data_out[..], out[..command.data_out.len()]);
    assert_eq!(command.data_out_bytes, 3000);
    assert_eq!(free_lists(&mut bench), 2, "the thread has a copy");
    let ended = Ended { data_out_bytes: 2900, ..Ended::default() };
    assert!(bench.reply(&relayed, &CommandReply::Done(ended)));
    assert_eq!(bench.take_answer(&sent).unwrap().residual, 100);
}

#[test]
fn data_of_pieces_that_do_not_touch_each_other_is_relayed_too() {
    let mut bench = bench();
    let place_of = |n: u64| RigMemory::MORE_DATA.0 + 400_000 + 2 * n;
    let apart = |readable: [u64; 2], [into, _]: [u64; 2]| {
        let data = (0..512).map(|n| Piece::writable(place_of(n), 1));
        let frame = [cut(readable, HEADER, 1, false), vec![Piece::writable(into, 108)]].concat();
        (frame.into_iter().chain(data).collect::<Vec<_>>(), TABLE)
    };
    let bytes = pattern(512, 3);
    let came = |bench: &ScsiBench| -> Vec<u8> {
        (0..512).flat_map(|n| bench.memory.bytes(GuestAddress(place_of(n)), 1)).collect()
    };
    let sent = bench.send_as(&Cmd::inquiry(512), apart);
    let (relayed, _) = turns_until_relayed(&mut bench);
    let reply = CommandReply::Done(Ended { data_in: bytes.clone(), ..Ended::default() });
    assert!(bench.reply(&relayed, &reply));
    assert_eq!(bench.take_answer(&sent).unwrap().written, 108 + 512);
    assert_eq!(came(&bench), bytes);
    // A read that the thread has to look at first.
    let bytes = pattern(512, 4);
    assert_eq!(bench.ask(&Cmd::write(0, &bytes, 512)), Answered::good(&[]));
    bench.set_gate(Gate::closed());
    let sent = bench.send_as(&Cmd::read(0, 1, 512), apart);
    let (relayed, _) = turns_until_relayed(&mut bench);
    assert!(bench.reply(&relayed, &CommandReply::GoOn));
    assert_eq!(bench.turns_until_answered(&sent).status, 0);
    assert_eq!(came(&bench), bytes);
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(free_lists(&mut bench), 2);
}

#[test]
fn long_chains_behind_a_gate_are_served_or_told_of_an_attention() {
    let mut bench = bench();
    bench.set_gate(Gate::closed());
    let bytes = pattern(BYTES, 9);
    let sent = send(&mut bench, &write(&bytes), 1000);
    let (relayed, command) = turns_until_relayed(&mut bench);
    assert!(command.data_out.is_empty());
    assert!(bench.reply(&relayed, &CommandReply::GoOn));
    assert_eq!(bench.turns_until_answered(&sent), Answered::good(&[]));
    let sent = send(&mut bench, &read(BYTES), 3000);
    let (relayed, _) = turns_until_relayed(&mut bench);
    let ended = Ended { status: ScsiStatus::CHECK_CONDITION, ..Ended::default() };
    assert!(bench.reply(&relayed, &CommandReply::Done(ended)));
    assert_eq!(bench.take_answer(&sent).unwrap().residual, BYTES);
    bench.set_gate(Gate::default());
    assert!(bench.ask(&read(BYTES)) == Answered::good(&bytes));
    assert_eq!(bench.in_flight(), 0);
    assert_eq!(free_lists(&mut bench), 2);
}

/// Makes turns until a command is on its way to the adapter's thread.
fn turns_until_relayed(bench: &mut ScsiBench) -> (Relayed, RelayedCommand) {
    let mut relayed = None;
    for _ in 0..100 {
        bench.turn();
        relayed = relayed.or_else(|| bench.relayed());
    }
    relayed.unwrap()
}

/// Number of lists that the volume of the first LUN gets, and gives back.
fn free_lists(bench: &mut ScsiBench) -> usize {
    let mut volume = bench.graph.volume(bench.luns[0].1.volume).unwrap();
    let lists: Vec<_> = std::iter::from_fn(|| volume.reserve_list()).collect();
    let count = lists.len();
    lists.into_iter().for_each(|list| volume.release_list(list));
    count
}

#[test]
fn a_lun_that_goes_waits_for_a_long_chain_that_is_being_walked() {
    let mut bench = bench();
    let sent = send(&mut bench, &read(BYTES), 20_000);
    bench.turn();
    bench.luns.clear();
    bench.set_table();
    let mut drain = Arc::new(Drain::default());
    let outcome = bench.session.cancel(Scope::Lun(address(0, 0)), CancelledAs::Nothing, drain.clone());
    assert!(matches!(outcome, Cancelled::Waiting));
    assert!(Arc::get_mut(&mut drain).is_none());
    assert_eq!(bench.turns_until_answered(&sent).response, Response::BAD_TARGET);
    assert!(Arc::get_mut(&mut drain).is_some());
}

#[test]
fn a_long_chain_that_is_cancelled_while_it_is_walked_does_not_begin() {
    let device = Scripted::new(Geometry { blocks: luge_block::Blocks(4096), ..Geometry::for_tests() }, 64);
    let mut bench = ScsiBench::new(Arc::new(device.clone()));
    let sent = send(&mut bench, &read(BYTES).tagged(4), 20_000);
    bench.turn();
    assert!(bench.session.is_in_flight(address(0, 0), 4));
    let mut drain = Arc::new(Drain::default());
    let task = Scope::Task { lun: address(0, 0), tag: 4 };
    drop(bench.session.cancel(task, CancelledAs::Aborted, drain.clone()));
    assert_eq!(bench.turns_until_answered(&sent).response, Response::ABORTED);
    assert!(Arc::get_mut(&mut drain).is_some());
    assert!(device.taken().is_empty());
    bench.session.quiesce();
    assert_eq!(bench.in_flight(), 0);
}
