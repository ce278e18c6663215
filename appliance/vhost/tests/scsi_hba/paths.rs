//! Path groups, as guests see them by commands.

use crate::rig::client::until;
use crate::scene::{Command, Scene, at, unit};
use luge_scsi::PortGroups;

/// Two adapters of a group whose transition may take that many seconds, with one unit. No guest has connected.
fn pair(groups: &PortGroups, transition_s: u64) -> (Scene, Scene) {
    let (first, second) = Scene::pair_in(&groups.declare(7, transition_s).unwrap());
    let shared = unit();
    for scene in [&first, &second] {
        scene.hba().add_lun(at(0, 0), &shared).unwrap();
    }
    (first, second)
}

/// Asymmetric access state and number of ports of the only group.
fn reported(scene: &mut Scene) -> [u8; 2] {
    let cdb = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let end = scene.past_attentions(&Command { in_bytes: 64, ..Command::new(at(0, 0), &cdb) });
    assert_eq!(end.status, 0);
    assert_eq!(end.data[6..8], [0, 7], "the group");
    [end.data[4] & 0xf, end.data[11]]
}

const ACTIVE: u8 = 0;
const TRANSITIONING: u8 = 0xf;

#[test]
fn a_path_is_in_transition_until_the_guest_of_the_other_adapter_is_there() {
    let groups = PortGroups::default();
    let (mut first, mut second) = pair(&groups, 200);
    first.connect();
    let read = Command::read(at(0, 0), 0, 1);
    let refused = first.past_attentions(&read);
    assert_eq!(refused.sense_code(), Some(0x040a), "ASYMMETRIC ACCESS STATE TRANSITION");
    assert_eq!(reported(&mut first), [TRANSITIONING, 2]);
    second.connect();
    until(|| first.command(&read).sense_code() != Some(0x040a));
    assert_eq!(first.past_attentions(&read).status, 0);
    assert_eq!(reported(&mut first), [ACTIVE, 2]);
    assert_eq!(second.past_attentions(&read).status, 0);
    assert_eq!(reported(&mut second), [ACTIVE, 2]);
}

#[test]
fn both_paths_lead_to_one_unit_by_ports_of_their_own() {
    let groups = PortGroups::default();
    let (mut first, mut second) = pair(&groups, 200);
    first.connect();
    second.connect();
    let page = |scene: &mut Scene, page: u8| {
        let cdb = [0x12, 1, page, 0, 252, 0];
        scene.command(&Command { in_bytes: 252, ..Command::new(at(0, 0), &cdb) }).data
    };
    assert_eq!(page(&mut first, 0x80), page(&mut second, 0x80), "serial number");
    let (one, other) = (page(&mut first, 0x83), page(&mut second, 0x83));
    assert_eq!(one[4..16], other[4..16], "the designator of the unit");
    assert_ne!(one, other, "relative target ports");
}

#[test]
fn a_path_whose_other_guest_never_comes_is_used_when_the_time_is_over() {
    let groups = PortGroups::default();
    let (mut first, _second) = pair(&groups, 1);
    first.connect();
    let read = Command::read(at(0, 0), 0, 1);
    until(|| first.command(&read).status == 0);
    assert_eq!(reported(&mut first), [ACTIVE, 2]);
}
