//! Commands of a request queue that go to the adapter's thread, and come back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Geometry, Status};
use luge_core::{Armed, Session};
use luge_memory::GuestAddress;
use luge_scsi::Gate;
use luge_spec::scsi::ScsiStatus;
use luge_spec::virtio::scsi::{LunField, Response};
use luge_vhost::{CommandReply, Ended, LunPlace, Relay};
use luge_virtqueue::rig::{Form, Piece};
use rig::UNANSWERED;
use rig::scripted::memory_disk;
use rig::scsi::{Answered, Cmd, ScsiBench, SentCmd, address};
use std::sync::Arc;

fn done(data_in: &[u8]) -> CommandReply {
    CommandReply::Done(Ended { data_in: data_in.to_vec(), ..Ended::default() })
}

fn attention() -> CommandReply {
    let mut sense = vec![0; 18];
    (sense[0], sense[2], sense[12]) = (0x70, 6, 0x29);
    CommandReply::Done(Ended { status: ScsiStatus::CHECK_CONDITION, sense, ..Ended::default() })
}

fn bench() -> ScsiBench {
    ScsiBench::new(memory_disk(512, 256))
}

fn scripted() -> (ScsiBench, Scripted) {
    let device = Scripted::new(Geometry::for_tests(), 8);
    (ScsiBench::new(Arc::new(device.clone())), device)
}

/// Sends a command, which is relayed, and answers it.
fn ask(bench: &mut ScsiBench, cmd: &Cmd, reply: &CommandReply) -> Answered {
    let sent = bench.send(cmd);
    answer(bench, &sent, reply)
}

fn answer(bench: &mut ScsiBench, sent: &SentCmd, reply: &CommandReply) -> Answered {
    bench.turn();
    assert_eq!(bench.take_answer(sent), None);
    assert_eq!(bench.in_flight(), 1);
    let (relayed, _) = bench.relayed().expect("the command is relayed");
    assert!(bench.reply(&relayed, reply));
    bench.take_answer(sent).expect("an answer")
}

#[test]
fn a_command_of_the_device_server_is_answered_with_its_data() {
    let mut bench = bench();
    let cmd = Cmd::inquiry(96).tagged(0x1234_5678_9abc);
    let sent = bench.send(&cmd);
    bench.turn();
    let (relayed, command) = bench.relayed().unwrap();
    assert_eq!(command.place, LunPlace::Lun(address(0, 0)));
    assert_eq!(command.tag, cmd.tag);
    assert_eq!(command.cdb[..6], cmd.cdb);
    assert_eq!(command.cdb[6..], [0; 26]);
    assert_eq!(command.data_in_bytes, 96);
    assert_eq!(command.data_out_bytes, 0);
    assert!(bench.reply(&relayed, &done(b"thirty-six bytes")));
    let data = [b"thirty-six bytes".to_vec(), vec![UNANSWERED; 80]].concat();
    let expected = Answered { residual: 80, data, written: 108 + 16, ..Answered::good(&[]) };
    assert_eq!(bench.take_answer(&sent), Some(expected));
    assert!(!bench.reply(&relayed, &done(&[])), "answered twice");
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn data_goes_to_wherever_the_pieces_are_and_never_beyond_them() {
    let mut bench = ScsiBench::with(vec![(address(0, 0), memory_disk(512, 256))], 512, None);
    let bytes: Vec<u8> = (0..200).collect();
    let sent = bench.send_as(&Cmd::inquiry(100), |[out, len], [into, in_len]| {
        let readable = (out..out + len).map(|at| Piece::readable(at, 1));
        let writable = (into..into + in_len).map(|at| Piece::writable(at, 1));
        (readable.chain(writable).collect(), Form::Direct)
    });
    assert_eq!(answer(&mut bench, &sent, &done(&bytes)), Answered::good(&bytes[..100]));
    // Pieces that do not touch each other.
    let far = luge_virtqueue::rig::RigMemory::FAR_DATA.0;
    let sent = bench.send_as(&Cmd::inquiry(100), |[out, _], [into, _]| {
        let apart = (0..90).map(|at| Piece::writable(far + 3 * at, 1));
        let pieces = [Piece::readable(out, 51), Piece::writable(into, 108)].into_iter().chain(apart);
        (pieces.collect(), Form::Direct)
    });
    assert_eq!(answer(&mut bench, &sent, &done(&bytes)).written, 108 + 90);
    let data: Vec<u8> = (0..90).map(|at| bench.memory.bytes(GuestAddress(far + 3 * at), 1)[0]).collect();
    assert_eq!(data, bytes[..90]);
}

#[test]
fn sense_data_and_status_are_those_of_the_thread() {
    let mut bench = bench();
    let answer = ask(&mut bench, &Cmd::inquiry(36), &attention());
    assert_eq!(answer.status, ScsiStatus::CHECK_CONDITION.0);
    assert_eq!(answer.sense_code(), Some([6, 0x29, 0]));
    assert_eq!(answer.residual, 36);
    let long = CommandReply::Done(Ended { sense: vec![7; 300], ..Ended::default() });
    assert_eq!(ask(&mut bench, &Cmd::inquiry(36), &long).sense, [7; 96]);
    let none = ask(&mut bench, &Cmd::inquiry(36), &CommandReply::NoTarget);
    assert_eq!(none.response, Response::BAD_TARGET);
}

#[test]
fn data_out_comes_along_as_far_as_it_is_wanted() {
    let mut bench = bench();
    let mode_select = [0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0];
    for bytes in [0, 1, 24, 1024, 1025, 5000] {
        let out: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let sent = bench.send(&Cmd { out: out.clone(), ..Cmd::new(&mode_select) });
        bench.turn();
        let (relayed, command) = bench.relayed().unwrap();
        assert_eq!(command.data_out, out[..out.len().min(1024)]);
        assert_eq!(command.data_out_bytes as usize, out.len());
        let used = Ended { data_out_bytes: 24, ..Ended::default() };
        bench.reply(&relayed, &CommandReply::Done(used));
        let residual = u32::try_from(out.len().saturating_sub(24)).unwrap();
        assert_eq!(bench.take_answer(&sent), Some(Answered { residual, ..Answered::good(&[]) }));
    }
}

#[test]
fn what_is_for_no_lun_of_a_target_is_relayed() {
    let mut bench = bench();
    for (field, place) in [
        ([1, 0, 0, 3, 0, 0, 0, 0], LunPlace::Lun(address(0, 3))),
        ([1, 0, 0x42, 3, 0, 0, 0, 0], LunPlace::Beyond(0)),
        ([0xc1, 1, 0, 0, 0, 0, 0, 0], LunPlace::ReportLuns(None)),
        ([1, 0, 0xc1, 1, 0, 0, 0, 0], LunPlace::ReportLuns(Some(0))),
    ] {
        for cmd in [Cmd::inquiry(36), Cmd::read(0, 1, 512)] {
            let sent = bench.send(&Cmd { lun: LunField(field), ..cmd });
            bench.turn();
            let (relayed, command) = bench.relayed().unwrap();
            assert_eq!(command.place, place);
            bench.reply(&relayed, &attention());
            assert_eq!(bench.take_answer(&sent).unwrap().sense_code(), Some([6, 0x29, 0]));
        }
    }
}

#[test]
fn a_closed_gate_sends_every_command_to_the_thread_which_answers_it_or_lets_it_through() {
    let (mut bench, device) = scripted();
    bench.set_gate(Gate::closed());
    let cmds = [Cmd::read(0, 1, 512), Cmd::write(0, &[1; 512], 512), Cmd::synchronize_cache()];
    for cmd in &cmds {
        let answer = ask(&mut bench, cmd, &attention());
        assert_eq!(answer.sense_code(), Some([6, 0x29, 0]), "{cmd:?}");
    }
    assert!(device.taken().is_empty());
    for cmd in &cmds {
        let sent = bench.send(cmd);
        bench.turn();
        let (relayed, command) = bench.relayed().unwrap();
        assert!(command.data_out.is_empty(), "the data is the volume's");
        assert_eq!(command.data_out_bytes as usize, cmd.out.len());
        assert!(bench.reply(&relayed, &CommandReply::GoOn));
        assert!(!bench.reply(&relayed, &CommandReply::GoOn), "once");
        assert_eq!(bench.session.arm(), Armed::Waiting);
        bench.turn();
        assert_eq!(device.complete_all(Status::Success), 1);
        let answer = bench.turns_until_answered(&sent);
        assert_eq!(answer.status, 0);
        assert_eq!(answer.residual, 0);
        assert_eq!(answer.written, if cmd.in_bytes > 0 { 108 + cmd.in_bytes } else { 12 });
    }
    bench.set_gate(Gate::default());
    bench.send(&cmds[0]);
    bench.turn();
    assert_eq!(device.taken().len(), 1);
}

#[test]
fn a_command_that_is_let_through_waits_for_room() {
    let device = Scripted::new(Geometry::for_tests(), 0);
    let mut bench = ScsiBench::new(Arc::new(device.clone()));
    bench.set_gate(Gate::closed());
    let sent = bench.send(&Cmd::read(5, 1, 512));
    bench.turn();
    let (relayed, _) = bench.relayed().unwrap();
    bench.reply(&relayed, &CommandReply::GoOn);
    (0..3).for_each(|_| _ = bench.turn());
    assert!(device.taken().is_empty());
    assert_eq!(bench.in_flight(), 1);
    device.set_room(8);
    bench.turn();
    device.complete_all(Status::Success);
    assert_eq!(bench.turns_until_answered(&sent).status, 0);
}

#[test]
fn a_command_that_is_let_through_after_its_lun_has_gone_does_not_begin() {
    let (mut bench, device) = scripted();
    bench.set_gate(Gate::closed());
    let sent = bench.send(&Cmd::read(5, 1, 512));
    bench.turn();
    let (relayed, _) = bench.relayed().unwrap();
    let lun = bench.luns.pop().unwrap();
    bench.set_table();
    bench.reply(&relayed, &CommandReply::GoOn);
    assert_eq!(bench.turns_until_answered(&sent).response, Response::BAD_TARGET);
    bench.luns.push((address(0, 1), lun.1));
    bench.set_table();
    let sent = bench.send(&Cmd::read(5, 1, 512));
    bench.turn();
    let (relayed, _) = bench.relayed().unwrap();
    bench.reply(&relayed, &CommandReply::GoOn);
    assert_eq!(bench.turns_until_answered(&sent).sense_code(), Some([5, 0x25, 0]));
    assert!(device.taken().is_empty());
}

#[test]
fn more_commands_than_a_session_can_relay_wait_and_others_are_served() {
    let mut bench = ScsiBench::with(vec![(address(0, 0), memory_disk(512, 256))], 256, None);
    let sent: Vec<_> = (0..40).map(|_| bench.send(&Cmd::inquiry(36))).collect();
    let read = bench.send(&Cmd::read(0, 1, 512));
    (0..4).for_each(|_| _ = bench.turn());
    assert_eq!(bench.take_answer(&read), Some(Answered::good(&[0; 512])));
    let mut answered = 0;
    while answered < sent.len() {
        let relayed: Vec<_> = std::iter::from_fn(|| bench.relayed()).collect();
        assert!((1..=32).contains(&relayed.len()), "{}", relayed.len());
        relayed.iter().for_each(|(relayed, _)| assert!(bench.reply(relayed, &done(&[1; 36]))));
        answered += std::iter::from_fn(|| bench.driver.take_used()).count();
        (0..4).for_each(|_| _ = bench.turn());
    }
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_full_relay_makes_a_queue_wait_and_nothing_is_lost() {
    let relay = Arc::new(Relay::new().unwrap());
    let unit = memory_disk(512, 256);
    let mut benches: Vec<_> = (0..10)
        .map(|_| ScsiBench::sharing(relay.clone(), vec![(address(0, 0), unit.clone())], 128, None))
        .collect();
    for bench in &mut benches {
        bench.set_table();
        (0..30).for_each(|_| _ = bench.send(&Cmd::inquiry(36)));
        (0..4).for_each(|_| _ = bench.turn());
    }
    assert_eq!(benches[9].session.arm(), Armed::Waiting);
    let mut relayed = vec![];
    for _ in 0..10 {
        relayed.extend(std::iter::from_fn(|| relay.next()));
        benches.iter_mut().for_each(|bench| _ = bench.turn());
    }
    assert_eq!(relayed.len(), 300);
    for relayed in &relayed {
        let of = benches.iter_mut().find(|bench| bench.session.number() == relayed.session).unwrap();
        assert!(of.reply(relayed, &done(&[0; 36])));
    }
    for bench in &mut benches {
        assert_eq!(std::iter::from_fn(|| bench.driver.take_used()).count(), 30);
        assert_eq!(bench.in_flight(), 0);
    }
}

#[test]
fn a_session_that_leaves_waits_for_the_answers_that_it_is_owed() {
    let mut bench = bench();
    let sent = bench.send(&Cmd::inquiry(36));
    bench.turn();
    bench.session.quiesce();
    bench.send(&Cmd::inquiry(36));
    bench.turn();
    assert_eq!(bench.in_flight(), 1);
    let (relayed, _) = bench.relayed().unwrap();
    assert!(bench.relayed().is_none(), "nothing more was taken");
    bench.reply(&relayed, &done(&[3; 36]));
    assert_eq!(bench.take_answer(&sent), Some(Answered::good(&[3; 36])));
    assert_eq!(bench.in_flight(), 0);
}
