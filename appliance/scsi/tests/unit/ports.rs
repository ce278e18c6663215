//! Target port groups, and paths in transition.

use super::rig::{Host, READ_10, TEST_UNIT_READY, World, be16, be32, vpd};
use luge_scsi::{GroupError, Reply, Sense};
use luge_spec::scsi::{AdditionalSense, SenseKey};

/// REPORT TARGET PORT GROUPS in a format.
const fn report(format: u8, allocation_length: u8) -> [u8; 12] {
    [0xa3, 0x0a | format << 5, 0, 0, 0, 0, 0, 0, 0, allocation_length, 0, 0]
}

const TRANSITION: Sense = Sense::new(SenseKey::NOT_READY, AdditionalSense::ACCESS_STATE_TRANSITION);

#[test]
fn ports_without_a_declared_group_are_active() {
    let world = World::new();
    let (host, _other) = (world.host("a"), world.host("b"));
    let expected = [0, 0, 0, 16, 0x00, 0x01, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    assert_eq!(host.data(&report(0, 255)), expected);
    let extended = host.data(&report(1, 255));
    assert_eq!(extended[..8], [0, 0, 0, 20, 0x10, 0, 0, 0]);
    assert_eq!(extended[8..], expected[4..]);
    for format in 2..8 {
        assert_eq!(
            host.refused(&report(format, 255), &[]),
            Sense::invalid_bit_in_cdb(1, 7),
            "format {format}"
        );
    }
}

#[test]
fn the_report_says_its_true_length_whatever_the_allocation_length() {
    let host = World::new().host("a");
    for format in [0, 1] {
        let whole = host.data(&report(format, 255));
        assert_eq!(be32(&whole, 0) as usize, whole.len() - 4);
        for allocation_length in 0..=24 {
            let part = host.data(&report(format, allocation_length));
            assert_eq!(part, whole[..whole.len().min(allocation_length.into())]);
        }
    }
}

/// Two initiators in group 7, none of which is live.
fn in_group(world: &World) -> (Host, Host) {
    let group = world.groups.declare(7, 30).unwrap();
    (world.new_host("a", &group), world.new_host("b", &group))
}

#[test]
fn a_path_is_in_transition_until_all_initiators_of_its_group_are_live() {
    let world = World::new();
    let (host, other) = in_group(&world);
    assert_eq!(host.code(&TEST_UNIT_READY), AdditionalSense::POWER_ON_OR_RESET);
    host.initiator.set_live();
    assert!(!host.nexus.gate().is_open());
    for cdb in [&TEST_UNIT_READY[..], &READ_10, &[0x25; 10], &[0x1a, 0, 0x3f, 0, 255, 0], &[0xff; 16]] {
        assert_eq!(host.refused(cdb, &[]), TRANSITION, "{cdb:02x?}");
    }
    other.initiator.set_live();
    assert_eq!(host.attentions(), [AdditionalSense::ACCESS_STATE_CHANGED]);
    assert!(host.nexus.gate().is_open());
    assert!(matches!(host.reply(&READ_10, &[]), Reply::GoOn));
}

#[test]
fn commands_that_look_for_paths_are_served_in_transition() {
    let world = World::new();
    let (host, _other) = in_group(&world);
    host.code(&TEST_UNIT_READY);
    host.good(&[0x12, 0, 0, 0, 36, 0], &[]);
    let page = host.data(&vpd(0x83, 255));
    assert_eq!(page[page.len() - 4..], [0, 0, 0, 7], "group");
    host.good(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0], &[]);
    let sense = host.data(&[0x03, 0, 0, 0, 18, 0]);
    assert_eq!([sense[2], sense[12], sense[13]], [2, 0x04, 0x0a]);
    let groups = host.data(&report(1, 255));
    assert_eq!(groups[5], 30, "implicit transition time");
    assert_eq!([groups[8], groups[9]], [0x0f, 0x81], "transitioning; both states are there");
    assert_eq!(be16(&groups, 10), 7);
    assert_eq!(groups[15], 2, "ports");
}

#[test]
fn groups_are_reported_in_the_order_of_their_numbers() {
    let world = World::new();
    let _first = world.new_host("a", &world.groups.declare(9, 5).unwrap());
    let _second = world.new_host("b", &world.groups.declare(3, 60).unwrap());
    let host = world.host("c");
    let report = host.data(&report(1, 255));
    assert_eq!(report[5], 60, "the longest time");
    let numbers: Vec<u16> = report[8..].chunks(12).map(|group| be16(group, 2)).collect();
    assert_eq!(numbers, [0, 3, 9]);
}

#[test]
fn a_group_has_a_number_and_one_time() {
    let groups = World::new().groups;
    assert_eq!(groups.declare(0, 5).err(), Some(GroupError::Zero));
    for seconds in [0, 256] {
        assert_eq!(groups.declare(1, seconds).err(), Some(GroupError::Time(seconds)));
    }
    let group = groups.declare(1, 5).unwrap();
    assert_eq!(groups.declare(1, 5).unwrap().number(), 1);
    assert_eq!(groups.declare(1, 6).err(), Some(GroupError::OtherTime { number: 1, seconds: 5 }));
    drop(group);
    assert!(groups.declare(1, 6).is_ok(), "nobody has it");
}

#[test]
fn a_port_that_goes_is_no_longer_reported_and_its_number_is_free() {
    let world = World::new();
    let (host, other) = (world.host("a"), world.host("b"));
    assert_eq!(other.nexus.port(), 2);
    drop(other);
    assert_eq!(host.data(&report(0, 255)).len(), 16);
    assert_eq!(world.host("c").nexus.port(), 2);
}
