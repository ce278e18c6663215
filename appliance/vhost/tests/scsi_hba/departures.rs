//! Guests that go, come back, or change their core, while LUNs do the same.

#![expect(unsafe_code, reason = "an address of guest memory")]

use crate::rig::client::{Client, until};
use crate::rig::house::House;
use crate::scene::{Command, Scene, at, slow_unit, unit, unit_on};
use luge_block::Blocks;
use luge_memory::GuestAddress;
use luge_memory::stall::{PageFault, note};
use luge_spec::virtio::scsi::{REQUEST_QUEUE, Response, TaskManagementFunction as Function};
use luge_vhost::{Endpoint, LunPhase, VirtioDevice};
use luge_virtqueue::rig::RigMemory;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn has_guest(scene: &Scene) -> bool {
    scene.house.endpoint(0).status().front_end.is_some()
}

#[test]
fn a_guest_that_dies_in_the_middle_of_a_removal_and_of_a_function_leaves_nothing() {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.settle(at(0, 0));
    delay.hold();
    scene.send(&Command::read(at(0, 0), 0, 1).tagged(5));
    until(|| scene.function(Function::QUERY_TASK, at(0, 0), 5) == Response::FUNCTION_SUCCEEDED);
    scene.send_function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0);
    let hba = scene.hba().clone();
    let removing = thread::spawn(move || hba.remove_lun(at(0, 0)));
    until(|| scene.phase(at(0, 0)) == Some(LunPhase::Removing));
    drop(scene.client.take());
    scene.hba().add_lun(at(1, 0), &unit()).unwrap();
    assert!(!removing.is_finished(), "its request is in flight");
    delay.release();
    removing.join().unwrap().unwrap();
    until(|| !has_guest(&scene));
    let before = scene.guest.rings.len();
    scene.guest = Scene::new_guest();
    assert_eq!(scene.guest.rings.len(), before);
    scene.connect();
    scene.settle(at(1, 0));
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).response, Response::BAD_TARGET);
}

#[test]
fn a_front_end_that_comes_back_finds_its_luns_and_its_requests_answered() {
    let mut scene = Scene::new();
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    scene.settle(at(0, 0));
    scene.next_event();
    for _ in 0..5 {
        drop(scene.client.take());
        until(|| !has_guest(&scene));
        scene.hba().add_lun(at(1, 0), &unit()).unwrap();
        scene.reconnect();
        scene.settle(at(0, 0));
        scene.settle(at(1, 0));
        assert_eq!(scene.next_event().lun, at(1, 0).to_field());
        scene.hba().remove_lun(at(1, 0)).unwrap();
        scene.next_event();
    }
}

#[test]
fn a_connection_that_changes_its_adapter_is_served_on() {
    let mut scene = Scene::new();
    let disk = unit();
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    scene.settle(at(0, 0));
    let connection = scene.house.endpoints.pop().unwrap().hand_over().unwrap();
    let next = Arc::new(Scene::open("first", &scene.house.cores));
    next.add_lun(at(0, 0), &disk).unwrap();
    let config = scene.house.config(0, next.clone());
    scene.house.endpoints.push(Endpoint::resume(config, connection).unwrap());
    scene.settle(at(0, 0));
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).status, 0);
    scene.replace_hba(next);
}

#[test]
fn a_guest_whose_memory_is_costly_keeps_its_luns_on_a_core_of_its_own() {
    let mut scene = Scene::new();
    let device = House::disk();
    let disk = unit_on(device.clone());
    scene.hba().add_lun(at(0, 0), &disk).unwrap();
    scene.settle(at(0, 0));
    // SAFETY: only the address is used.
    let span = unsafe { scene.guest.memory.table.span(GuestAddress(RigMemory::DATA.0), 1) }.unwrap();
    let fault = PageFault { address: span.host().addr().get(), took: Duration::from_millis(390) };
    assert!(note(&fault), "memory that a front end shares");
    let cores: Vec<_> = scene.house.cores.iter().map(luge_core::CoreHandle::id).collect();
    until(|| {
        let front_end = scene.house.endpoint(0).status().front_end.unwrap();
        front_end.queues.len() == 4 && front_end.queues.iter().all(|queue| !cores.contains(&queue.core))
    });
    assert_eq!(scene.command(&Command::read(at(0, 0), 0, 1)).status, 0);
    scene.hba().add_lun(at(0, 1), &unit()).unwrap();
    scene.settle(at(0, 1));
    assert_eq!(scene.past_attentions(&Command::read(at(0, 1), 0, 1)).status, 0, "one that came later");
    scene.hba().remove_lun(at(0, 1)).unwrap();
    device.resize(Blocks(4096)).unwrap();
    scene.house.cores.iter().for_each(|core| core.resize(&device));
    disk.resized();
    scene.hba().resized(&disk);
    until(|| scene.past_attentions(&Command::read(at(0, 0), 4095, 1)).status == 0);
    drop(scene.client.take());
    until(|| !has_guest(&scene));
    scene.hba().remove_lun(at(0, 0)).unwrap();
    assert_eq!(scene.hba().cores().len(), 2);
}

#[test]
fn an_adapter_with_a_stuck_lun_is_dropped_when_that_has_ended() {
    let mut scene = Scene::new();
    let (slow, delay) = slow_unit();
    scene.hba().add_lun(at(0, 0), &slow).unwrap();
    scene.hba().add_lun(at(200, 255), &unit()).unwrap();
    scene.settle(at(0, 0));
    delay.hold();
    scene.send(&Command::read(at(0, 0), 0, 1).tagged(9));
    until(|| scene.function(Function::QUERY_TASK, at(0, 0), 9) == Response::FUNCTION_SUCCEEDED);
    scene.hba().unit_gone(&slow);
    let ending = thread::spawn(move || drop(scene));
    delay.let_pass(1);
    ending.join().unwrap();
    assert_eq!(Arc::strong_count(&slow), 1, "nothing keeps the unit");
}

#[test]
fn a_queue_that_stops_alone_is_no_obstacle() {
    use crate::rig::client::{Message, code};
    let mut scene = Scene::new();
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    scene.settle(at(0, 0));
    let stop =
        Message { answered: true, ..Message::ring(code::GET_VRING_BASE, u32::from(REQUEST_QUEUE + 1), 0) };
    Client::tell(scene.client.as_ref().unwrap(), &stop).unwrap();
    assert_eq!(scene.function(Function::LOGICAL_UNIT_RESET, at(0, 0), 0), Response::FUNCTION_COMPLETE);
    scene.settle(at(0, 0));
    scene.hba().remove_lun(at(0, 0)).unwrap();
}
