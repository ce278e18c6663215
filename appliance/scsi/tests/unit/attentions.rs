//! Unit attentions.

use super::rig::{Host, READ_10, TEST_UNIT_READY, World, vpd};
use luge_scsi::{Ending, Reply};
use luge_spec::scsi::{AdditionalSense, SenseKey};

const REQUEST_SENSE: [u8; 6] = [0x03, 0, 0, 0, 18, 0];
const REPORT_LUNS: [u8; 12] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0];

/// Code that REQUEST SENSE tells.
fn sensed(host: &Host) -> AdditionalSense {
    let data = host.data(&REQUEST_SENSE);
    AdditionalSense(u16::from_be_bytes([data[12], data[13]]))
}

#[test]
fn the_first_command_is_told_of_the_power_on_and_the_second_is_not() {
    let world = World::new();
    let host = world.new_host("a", world.groups.free());
    assert!(!host.nexus.gate().is_open());
    let sense = host.refused(&TEST_UNIT_READY, &[]);
    assert_eq!(sense.key, SenseKey::UNIT_ATTENTION);
    assert_eq!(sense.code, AdditionalSense::POWER_ON_OR_RESET);
    assert!(host.nexus.gate().is_open());
    host.good(&TEST_UNIT_READY, &[]);
}

#[test]
fn commands_for_cores_are_told_too() {
    let world = World::new();
    let host = world.new_host("a", world.groups.free());
    assert_eq!(host.code(&READ_10), AdditionalSense::POWER_ON_OR_RESET);
    assert!(matches!(host.reply(&READ_10, &[]), Reply::GoOn));
}

#[test]
fn inquiry_and_report_luns_are_done_and_report_nothing() {
    let world = World::new();
    let host = world.new_host("a", world.groups.free());
    host.good(&[0x12, 0, 0, 0, 36, 0], &[]);
    host.good(&vpd(0x83, 255), &[]);
    host.good(&REPORT_LUNS, &[]);
    assert_eq!(host.code(&TEST_UNIT_READY), AdditionalSense::POWER_ON_OR_RESET);
}

#[test]
fn invalid_commands_are_told_first() {
    let world = World::new();
    let host = world.new_host("a", world.groups.free());
    assert_eq!(host.code(&[0xff; 16]), AdditionalSense::POWER_ON_OR_RESET);
    assert_eq!(host.code(&[0xff; 16]), AdditionalSense::INVALID_OPERATION_CODE);
}

#[test]
fn request_sense_reports_by_its_data_and_once() {
    let world = World::new();
    let host = world.new_host("a", world.groups.free());
    world.unit.resized();
    assert_eq!(sensed(&host), AdditionalSense::POWER_ON_OR_RESET);
    assert_eq!(sensed(&host), AdditionalSense::CAPACITY_CHANGED);
    assert_eq!(sensed(&host), AdditionalSense::NONE);
    host.good(&TEST_UNIT_READY, &[]);
}

#[test]
fn every_initiator_is_told_of_a_new_size_once() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    world.unit.resized();
    world.unit.resized();
    assert!(host.nexus.has_unseen_capacity());
    assert_eq!(host.attentions(), [AdditionalSense::CAPACITY_CHANGED]);
    assert!(!host.nexus.has_unseen_capacity());
    assert!(other.nexus.has_unseen_capacity());
    assert_eq!(other.attentions(), [AdditionalSense::CAPACITY_CHANGED]);
}

#[test]
fn report_luns_tells_that_luns_have_changed() {
    let host = World::new().host("a");
    host.nexus.luns_changed();
    host.good(&REPORT_LUNS, &[]);
    assert_eq!(host.attentions(), []);
    host.nexus.luns_changed();
    assert_eq!(host.attentions(), [AdditionalSense::REPORTED_LUNS_CHANGED]);
}

#[test]
fn a_reset_is_told_to_all_initiators_and_the_loss_of_a_nexus_to_one() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    drop(host.nexus.reset());
    assert_eq!(host.attentions(), [AdditionalSense::BUS_DEVICE_RESET_FUNCTION]);
    assert_eq!(other.attentions(), [AdditionalSense::BUS_DEVICE_RESET_FUNCTION]);
    host.nexus.lost();
    assert_eq!(host.attentions(), [AdditionalSense::I_T_NEXUS_LOSS]);
    assert_eq!(other.attentions(), []);
    host.nexus.powered_on();
    assert_eq!(host.attentions(), [AdditionalSense::POWER_ON_OR_RESET]);
}

#[test]
fn the_attentions_of_a_nexus_that_is_gone_are_nobody_elses() {
    let world = World::new();
    let host = world.host("a");
    world.unit.resized();
    drop(host);
    let again = world.new_host("a", world.groups.free());
    assert_eq!(again.attentions(), [AdditionalSense::POWER_ON_OR_RESET]);
}

#[test]
fn a_thousand_events_are_as_many_attentions_as_there_are_kinds() {
    let host = World::new().host("a");
    for _ in 0..1000 {
        host.nexus.luns_changed();
        host.nexus.unit().resized();
        host.nexus.lost();
    }
    assert_eq!(host.attentions().len(), 3);
    assert_eq!(host.send(&TEST_UNIT_READY, &[]).ending, Ending::GOOD);
}
