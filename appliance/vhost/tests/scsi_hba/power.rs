//! START STOP UNIT, by the rings of two guests.

use crate::scene::{Command, Scene, at, unit};
use luge_block::CoreId;
use luge_scsi::LogicalUnit;

const START: [u8; 6] = [0x1b, 0, 0, 0, 1, 0];
const STOP: [u8; 6] = [0x1b, 0, 0, 0, 0, 0];

/// Additional sense code of a stopped unit.
const INITIALIZING_COMMAND_REQUIRED: Option<u16> = Some(0x0402);

/// Flushes that the volume of a unit has taken.
fn flushes(unit: &LogicalUnit) -> u64 {
    [0, 1].map(|core| unit.volume().stats(CoreId(core)).read().flushes).iter().sum()
}

#[test]
fn a_unit_that_one_guest_stops_is_flushed_and_serves_nobody_until_one_starts_it() {
    let (mut first, mut second) = Scene::pair();
    let (lun, unit) = (at(3, 0), unit());
    for scene in [&mut first, &mut second] {
        scene.hba().add_lun(lun, &unit).unwrap();
        scene.settle(lun);
    }
    assert_eq!(first.command(&Command::write(lun, 0, &[7; 512])).status, 0);
    assert_eq!(first.command(&Command::new(lun, &STOP)).status, 0);
    assert_eq!(flushes(&unit), 1);
    for scene in [&mut first, &mut second] {
        assert_eq!(scene.command(&Command::read(lun, 0, 1)).sense_code(), INITIALIZING_COMMAND_REQUIRED);
        assert_eq!(scene.command(&Command::test_unit_ready(lun)).sense_code(), INITIALIZING_COMMAND_REQUIRED);
    }
    assert_eq!(first.command(&Command::new(lun, &STOP)).status, 0, "it is stopped already");
    assert_eq!(second.command(&Command::new(lun, &START)).status, 0);
    for scene in [&mut first, &mut second] {
        assert_eq!(scene.command(&Command::read(lun, 0, 1)).data, [7; 512]);
    }
}

#[test]
fn a_guest_that_begins_anew_finds_a_started_unit() {
    let mut scene = Scene::new();
    let lun = at(0, 0);
    scene.hba().add_lun(lun, &unit()).unwrap();
    scene.settle(lun);
    assert_eq!(scene.command(&Command::new(lun, &STOP)).status, 0);
    drop(scene.client.take());
    scene.guest = Scene::new_guest();
    scene.connect();
    assert_eq!(scene.past_attentions(&Command::read(lun, 0, 1)).status, 0);
}
