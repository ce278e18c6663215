//! One unit on two adapters.

use crate::rig::client::until;
use crate::rig::house::House;
use crate::scene::{BLOCK, Command, Scene, at, slow_unit, unit, unit_with};
use luge_spec::virtio::scsi::{Response, TaskManagementFunction as Function};
use luge_volume::Volume;
use std::sync::Arc;

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

#[test]
fn a_reset_by_one_guest_is_told_to_the_other_and_ends_nothing_of_it() {
    let (first, second) = Scene::pair();
    let (slow, delay) = slow_unit();
    let mut scenes = [first, second];
    for scene in &mut scenes {
        scene.hba().add_lun(at(0, 0), &slow).unwrap();
        scene.settle(at(0, 0));
    }
    let [mut first, mut second] = scenes;
    delay.hold();
    let sent = second.send(&Command::read(at(0, 0), 0, 1).tagged(3));
    until(|| second.function(Function::QUERY_TASK, at(0, 0), 3) == Response::FUNCTION_SUCCEEDED);
    assert_eq!(first.function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    delay.release();
    assert_eq!(second.await_command(&sent).status, 0);
    assert_eq!(second.command(&Command::read(at(0, 0), 0, 1)).sense_code(), Some(0x2903));
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
