//! Events, and what becomes of those that a guest has no buffers for.

use crate::rig::client::{Client, Message, code};
use crate::rig::house::House;
use crate::scene::{Command, Scene, at, unit, unit_on};
use luge_block::Blocks;
use luge_spec::virtio::Features;
use luge_spec::virtio::scsi::{EVENT_QUEUE, EventKind, reset_reason};

#[test]
fn events_wait_for_buffers_and_the_guest_learns_that_some_are_missed() {
    let mut scene = Scene::new();
    let disk = unit();
    for _ in 0..40 {
        scene.hba().add_lun(at(0, 0), &disk).unwrap();
        scene.hba().remove_lun(at(0, 0)).unwrap();
    }
    // The 65th found no room, and so all before it were forgotten: a rescan makes up for them.
    let first = scene.next_event();
    assert_eq!(first.kind, EventKind::TRANSPORT_RESET.with_missed());
    assert_eq!(first.reason.get(), reset_reason::REMOVED);
    for n in 66..80 {
        let event = scene.next_event();
        let reason = if n % 2 == 0 { reset_reason::RESCAN } else { reset_reason::REMOVED };
        assert_eq!(event.kind, EventKind::TRANSPORT_RESET, "event {n}");
        assert_eq!(event.reason.get(), reason, "event {n}");
        assert_eq!(event.lun, at(0, 0).to_field(), "event {n}");
    }
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    let event = scene.next_event();
    assert_eq!(event.kind, EventKind::TRANSPORT_RESET, "nothing is missed any more");
    assert_eq!(event.reason.get(), reset_reason::RESCAN);
}

#[test]
fn a_buffer_is_taken_only_for_an_event() {
    let mut scene = Scene::new();
    let buffers = scene.add_buffers(3);
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    assert_eq!(scene.event_in(buffers[0]).lun, at(0, 0).to_field());
    scene.settle(at(0, 0));
    assert!(scene.ring(EVENT_QUEUE).queue.driver.take_used().is_none());
    scene.hba().add_lun(at(0, 1), &unit()).unwrap();
    assert_eq!(scene.event_in(buffers[1]).lun, at(0, 1).to_field());
}

fn base(client: &Client, queue: u16) -> u32 {
    let answer = client
        .tell(&Message { answered: true, ..Message::ring(code::GET_VRING_BASE, queue.into(), 0) })
        .unwrap();
    u32::from_ne_bytes(answer[4..8].try_into().unwrap())
}

/// Stops the event ring, and starts it again.
fn restart(scene: &Scene) {
    let client = scene.client.as_ref().unwrap();
    let at = base(client, EVENT_QUEUE);
    scene
        .guest
        .ring_setup(EVENT_QUEUE.into(), at)
        .iter()
        .for_each(|message| _ = client.tell(message).unwrap());
    client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
}

#[test]
fn events_outlive_a_restart_of_their_ring() {
    let mut scene = Scene::new();
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    assert_eq!(scene.next_event().lun, at(0, 0).to_field());
    scene.hba().add_lun(at(0, 1), &unit()).unwrap();
    scene.hba().add_lun(at(0, 2), &unit()).unwrap();
    restart(&scene);
    scene.hba().add_lun(at(0, 3), &unit()).unwrap();
    for lun in [at(0, 1), at(0, 2), at(0, 3)] {
        assert_eq!(scene.next_event().lun, lun.to_field());
    }
}

#[test]
fn a_guest_that_begins_gets_no_old_event_that_could_take_a_lun_away() {
    let mut scene = Scene::without_guest();
    let disk = unit();
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    scene.hba().remove_lun(at(0, 0)).unwrap();
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    scene.connect();
    scene.settle(at(0, 0));
    assert_eq!(scene.next_event().kind, EventKind::NONE.with_missed());
    scene.hba().add_lun(at(0, 1), &unit()).unwrap();
    assert_eq!(scene.next_event().lun, at(0, 1).to_field());
}

#[test]
fn a_guest_that_does_not_know_hot_plugging_is_not_told_of_it() {
    let mut scene = Scene::without_guest();
    scene.guest.features = Features(scene.guest.features.0 & !Features::SCSI_HOTPLUG.0);
    scene.connect();
    let device = House::disk();
    let disk = unit_on(device.clone());
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    scene.settle(at(0, 0));
    device.resize(Blocks(4096)).unwrap();
    disk.resized();
    scene.hba().resized(&disk);
    assert_eq!(scene.next_event().kind, EventKind::PARAMETER_CHANGE, "it does know changes");
}

#[test]
fn a_guest_sees_a_new_size_and_that_is_known() {
    let mut scene = Scene::new();
    let device = House::disk();
    let disk = unit_on(device.clone());
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    scene.next_event();
    scene.settle(at(0, 0));
    assert!(scene.hba().luns()[0].has_seen_size);
    assert_eq!(scene.command(&Command::read(at(0, 0), 2048, 1)).sense_code(), Some(0x2100), "past the end");
    device.resize(Blocks(4096)).unwrap();
    scene.house.cores.iter().for_each(|core| core.resize(&device));
    disk.resized();
    scene.hba().resized(&disk);
    let event = scene.next_event();
    assert_eq!(event.kind, EventKind::PARAMETER_CHANGE);
    assert_eq!(event.reason.get(), 0x092a, "CAPACITY DATA HAS CHANGED");
    assert!(!scene.hba().luns()[0].has_seen_size);
    assert_eq!(scene.command(&Command::test_unit_ready(at(0, 0))).sense_code(), Some(0x2a09));
    assert!(scene.hba().luns()[0].has_seen_size);
    assert_eq!(scene.command(&Command::read(at(0, 0), 4095, 1)).status, 0);
}
