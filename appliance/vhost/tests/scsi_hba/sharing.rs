//! One unit on two adapters.

use crate::rig::client::until;
use crate::rig::house::House;
use crate::scene::{BLOCK, Command, Scene, SentFunction, at, slow_unit, unit, unit_with};
use luge_spec::virtio::scsi::{REQUEST_QUEUE, Response, TaskManagementFunction as Function};
use luge_vhost::LunPhase;
use luge_volume::Volume;
use luge_volume::doubles::Delay;
use std::sync::Arc;

/// Resets that a guest sends at once.
const RESETS: usize = 12;

/// A command with parameters.
fn with_parameters(cdb: &[u8], parameters: &[u8]) -> Command {
    Command { out: parameters.to_vec(), ..Command::new(at(0, 0), cdb) }
}

/// Two adapters with the same unit.
fn both() -> (Scene, Scene) {
    let (first, second) = Scene::pair();
    let shared = unit();
    let mut scenes = [first, second];
    for scene in &mut scenes {
        scene.hba().add_lun(at(0, 0), &shared).unwrap();
        scene.settle(at(0, 0));
    }
    scenes.into()
}

#[test]
fn a_changed_mode_page_is_obeyed_by_both_when_the_command_ends_and_the_other_is_told() {
    let (mut first, mut second) = both();
    let sense = Command { in_bytes: 255, ..Command::new(at(0, 0), &[0x1a, 8, 0x0a, 0, 255, 0]) };
    let mut list = first.command(&sense).data;
    let length = list[0] + 1;
    list.truncate(length.into());
    list[0] = 0;
    list[2] = 0;
    // D_SENSE of the control page.
    list[6] |= 1 << 2;
    let select = with_parameters(&[0x15, 0x10, 0, 0, length, 0], &list);
    assert_eq!(first.command(&select).status, 0);
    let past_end = Command::read(at(0, 0), 1 << 20, 1);
    assert_eq!(first.command(&past_end).sense[0] & 0x7f, 0x72, "sense data in descriptors");
    let told = second.command(&Command::read(at(0, 0), 0, 1));
    assert_eq!(told.sense[2..4], [0x2a, 1], "MODE PARAMETERS CHANGED, in descriptors");
    assert_eq!(second.command(&past_end).sense[0] & 0x7f, 0x72);
}

#[test]
fn the_residual_is_what_a_parameter_list_leaves_over() {
    let (mut scene, _second) = both();
    let control = |d_sense: u8| [0, 0, 0, 0, 0x0a, 0x0a, 0x20 | d_sense, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut residual = |cdb: &[u8], list: &[u8]| {
        let more = [list, &[0; 8]].concat();
        let end = scene.command(&with_parameters(cdb, &more));
        (end.status == 0).then_some(end.residual)
    };
    let select = [0x15, 0x10, 0, 0, 16, 0];
    assert_eq!(residual(&select, &control(4)), Some(8), "a change, which all cores obey first");
    assert_eq!(residual(&select, &control(4)), Some(8), "no change");
    let key = [[0; 8], 7_u64.to_be_bytes(), [0; 8]].concat();
    assert_eq!(residual(&[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0], &key), Some(8), "PERSISTENT RESERVE OUT");
    let refused = scene.command(&with_parameters(&select, &[0xff; 24]));
    assert_eq!(refused.status, 2);
    assert_eq!(refused.residual, 24, "nothing was used");
}

#[test]
fn a_reservation_by_one_guest_keeps_the_other_out() {
    let (mut first, mut second) = both();
    let key = 7_u64.to_be_bytes();
    let register = with_parameters(&[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0], &[[0; 8], key, [0; 8]].concat());
    let reserve = with_parameters(&[0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0], &[key, [0; 8], [0; 8]].concat());
    assert_eq!(first.command(&register).status, 0);
    assert_eq!(first.command(&reserve).status, 0, "Write Exclusive");
    let write = Command::write(at(0, 0), 0, &[1; BLOCK as usize]);
    assert_eq!(first.command(&write).status, 0);
    assert_eq!(second.command(&write).status, 0x18, "RESERVATION CONFLICT");
    assert_eq!(second.command(&Command::read(at(0, 0), 0, 1)).status, 0);
    first.hba().remove_lun(at(0, 0)).unwrap();
    assert_eq!(second.command(&write).status, 0x18, "it outlives the nexus");
}

/// Two adapters with the same unit, which can be held.
fn both_held() -> (Scene, Scene, Delay) {
    let (first, second) = Scene::pair();
    let (slow, delay) = slow_unit();
    let mut scenes = [first, second];
    for scene in &mut scenes {
        scene.hba().add_lun(at(0, 0), &slow).unwrap();
        scene.settle(at(0, 0));
    }
    let [first, second] = scenes;
    delay.hold();
    (first, second, delay)
}

#[test]
fn a_reset_by_one_guest_ends_the_requests_of_the_other_and_is_told_to_it() {
    let (mut first, mut second, delay) = both_held();
    second.hba().add_lun(at(1, 0), &unit()).unwrap();
    second.settle_by(at(1, 0), REQUEST_QUEUE + 1);
    let sent = second.send(&Command::read(at(0, 0), 0, 1).tagged(3));
    until(|| second.function(Function::QUERY_TASK, at(0, 0), 3) == Response::FUNCTION_SUCCEEDED);
    let reset = first.send_function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0);
    for _ in 0..10 {
        let elsewhere = second.command(&Command::read(at(1, 0), 0, 1).by(REQUEST_QUEUE + 1));
        assert_eq!(elsewhere.status, 0, "that is another unit");
    }
    assert!(first.no_function_is_answered(), "the other's memory may still be written");
    delay.release();
    assert_eq!(first.await_function(&reset), Response::FUNCTION_COMPLETE);
    assert_eq!(second.await_command(&sent).response, Response::RESET);
    assert_eq!(second.command(&Command::read(at(0, 0), 0, 1)).sense_code(), Some(0x2903));
    assert_eq!(second.command(&Command::read(at(0, 0), 0, 1)).status, 0);
}

#[test]
fn resets_by_one_guest_keep_no_function_of_the_other_waiting() {
    let (mut first, mut second, delay) = both_held();
    second.hba().add_lun(at(1, 0), &unit()).unwrap();
    let sent = second.send(&Command::read(at(0, 0), 0, 1).tagged(3));
    until(|| second.function(Function::QUERY_TASK, at(0, 0), 3) == Response::FUNCTION_SUCCEEDED);
    let resets: Vec<SentFunction> =
        (0..RESETS).map(|_| first.send_function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0)).collect();
    assert_eq!(second.function(Function::ABORT_TASK_SET, at(1, 0), 0), Response::FUNCTION_COMPLETE);
    delay.release();
    for reset in &resets {
        assert_eq!(first.await_function(reset), Response::FUNCTION_COMPLETE);
    }
    assert_eq!(second.await_command(&sent).response, Response::RESET);
}

#[test]
fn a_reset_does_not_wait_for_an_adapter_that_goes() {
    let (mut first, mut second, delay) = both_held();
    let sent = second.send(&Command::read(at(0, 0), 0, 1).tagged(3));
    until(|| second.function(Function::QUERY_TASK, at(0, 0), 3) == Response::FUNCTION_SUCCEEDED);
    let reset = first.send_function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0);
    let hba = second.hba().clone();
    std::thread::scope(|scope| {
        let removal = scope.spawn(move || hba.remove_lun(at(0, 0)));
        until(|| second.phase(at(0, 0)) == Some(LunPhase::Removing));
        assert!(first.no_function_is_answered(), "its requests have not ended");
        delay.release();
        removal.join().unwrap().unwrap();
    });
    assert_eq!(first.await_function(&reset), Response::FUNCTION_COMPLETE);
    second.await_command(&sent);
}

#[test]
fn a_reset_by_one_guest_brings_the_other_the_default_mode_parameters() {
    let (mut first, mut second) = both();
    let list = [0, 0, 0, 0, 0x0a, 0x0a, 0x24, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(first.command(&with_parameters(&[0x15, 0x10, 0, 0, 16, 0], &list)).status, 0);
    let past_end = Command::read(at(0, 0), 1 << 20, 1);
    assert_eq!(second.command(&past_end).sense[0] & 0x7f, 0x72, "MODE PARAMETERS CHANGED, in descriptors");
    assert_eq!(second.command(&past_end).sense[0] & 0x7f, 0x72);
    assert_eq!(first.function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    for scene in [&mut first, &mut second] {
        assert_eq!(scene.command(&past_end).sense_code(), Some(0x2903));
        assert_eq!(scene.command(&past_end).sense_code(), Some(0x2100), "in fixed format");
    }
}

#[test]
fn a_removal_from_one_adapter_leaves_the_other_alone() {
    let (first, mut second) = both();
    for _ in 0..10 {
        let shared = first.hba().luns()[0].unit.clone();
        first.hba().remove_lun(at(0, 0)).unwrap();
        assert_eq!(second.command(&Command::read(at(0, 0), 0, 1)).status, 0);
        first.hba().add_lun(at(0, 0), &shared).unwrap();
    }
}

#[test]
fn reservations_that_only_some_users_of_a_volume_share_bind_no_others() {
    let (mut first, mut second) = Scene::pair();
    let volume = Arc::new(Volume::whole(House::disk()));
    let shared = unit_with(&volume, volume.reservations().clone());
    let of_one = unit_with(&volume, Arc::default());
    first.hba().add_lun(at(0, 0), &of_one).unwrap();
    second.hba().add_lun(at(0, 0), &shared).unwrap();
    [&mut first, &mut second].into_iter().for_each(|scene| scene.settle(at(0, 0)));
    let key = 7_u64.to_be_bytes();
    let register = with_parameters(&[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0], &[[0; 8], key, [0; 8]].concat());
    let reserve = with_parameters(&[0x5f, 1, 3, 0, 0, 0, 0, 0, 24, 0], &[key, [0; 8], [0; 8]].concat());
    assert_eq!(first.command(&register).status, 0);
    assert_eq!(first.command(&reserve).status, 0, "Exclusive Access");
    assert_eq!(second.command(&Command::read(at(0, 0), 0, 1)).status, 0);
}
