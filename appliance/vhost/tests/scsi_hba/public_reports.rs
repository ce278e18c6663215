//! Mistakes of other adapters and drivers that were reported in public, tried on this adapter. The names are those of the
//! projects and the numbers of their reports.

use crate::rig::client::{Message, signal};
use crate::rig::house::House;
use crate::scene::{BLOCK, Command, Scene, at, slow_unit, unit, unit_of};
use luge_block::{Blocks, Lba};
use luge_memory::GuestAddress;
use luge_spec::virtio::scsi::{
    EventKind, REQUEST_QUEUE, RESPONSE_BYTES, RequestHeader, Response, TaskManagementFunction,
};
use luge_virtqueue::rig::{Form, Piece};
use luge_volume::Volume;
use zerocopy::IntoBytes;

/// kvm-guest-drivers-windows #1442: the last target and the last LUN were not found.
#[test]
fn the_last_lun_of_the_last_target_is_reported_and_served() {
    let mut scene = Scene::new();
    let last = at(255, 255);
    scene.hba().add_lun(last, &unit()).unwrap();
    scene.settle(last);
    let luns = scene.past_attentions(&Command::report_luns(255)).data;
    assert_eq!(luns[..4], 8_u32.to_be_bytes());
    assert_eq!(luns[8..16], [0, 255, 0, 0, 0, 0, 0, 0]);
    assert_eq!(scene.command(&Command::read(last, 0, 1)).status, 0);
}

/// nanos #1628: the LUN of an event is 14 bits of it, beside those of the addressing method.
#[test]
fn the_lun_of_an_event_is_read_as_drivers_read_it() {
    let mut scene = Scene::new();
    scene.hba().add_lun(at(3, 200), &unit()).unwrap();
    let event = scene.next_event();
    assert_eq!(event.kind, EventKind::TRANSPORT_RESET);
    let [_, target, high, low, ..] = event.lun.0;
    assert_eq!(target, 3);
    assert_eq!(u16::from(high & 0x3f) << 8 | u16::from(low), 200);
}

/// kvm-guest-drivers-windows #1456: Windows sends more segments than `seg_max` allows.
#[test]
fn more_segments_than_the_adapter_asks_for_are_served() {
    let mut scene = Scene::new();
    let lun = at(0, 0);
    scene.hba().add_lun(lun, &unit()).unwrap();
    scene.settle(lun);
    let bytes: Vec<u8> = (0..BLOCK).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert_eq!(scene.command(&Command::write(lun, 5, &bytes)).status, 0);
    let Command { lun: field, cdb, .. } = Command::read(lun, 5, 1);
    let header = RequestHeader { lun: field, cdb, ..RequestHeader::default() };
    let queue = &mut scene.ring(REQUEST_QUEUE).queue;
    let (header_at, response_at) = (queue.place(51), queue.place(RESPONSE_BYTES));
    let (data_at, table) = (queue.place(BLOCK as usize), GuestAddress(queue.place(16 * 300)));
    scene.guest.memory.write(GuestAddress(header_at), header.as_bytes());
    let data = (0..u64::from(BLOCK) / 2).map(|n| Piece::writable(data_at + 2 * n, 2));
    let frame = [Piece::readable(header_at, 51), Piece::writable(response_at, 108)];
    let pieces: Vec<Piece> = frame.into_iter().chain(data).collect();
    let ring = scene.ring(REQUEST_QUEUE);
    let head = ring.queue.driver.add(&pieces, Form::Indirect(table)).unwrap();
    signal(&ring.kick);
    assert_eq!(scene.used(REQUEST_QUEUE).0, head);
    assert_eq!(scene.guest.memory.bytes(GuestAddress(data_at), BLOCK as usize), bytes);
}

/// vhost-device #301: a header that was too short for a CDB was fatal.
#[test]
fn a_header_without_a_cdb_is_a_failure_and_the_next_command_is_served() {
    let mut scene = Scene::new();
    let lun = at(0, 0);
    scene.hba().add_lun(lun, &unit()).unwrap();
    scene.settle(lun);
    let queue = &mut scene.ring(REQUEST_QUEUE).queue;
    let (header_at, response_at) = (queue.place(51), queue.place(RESPONSE_BYTES));
    scene.guest.memory.write(GuestAddress(header_at), &lun.to_field().0);
    for header_bytes in [1, 8, 19, 50] {
        let pieces = [Piece::readable(header_at, header_bytes), Piece::writable(response_at, 108)];
        scene.add(REQUEST_QUEUE, &pieces);
        scene.used(REQUEST_QUEUE);
        let response = scene.guest.memory.bytes(GuestAddress(response_at + 11), 1)[0];
        assert_eq!(Response(response), Response::FAILURE, "{header_bytes} bytes");
    }
    assert_eq!(scene.command(&Command::read(lun, 0, 1)).status, 0);
}

/// SPDK #171: a reset by one guest ended the requests of another one, on another part of the same SSD.
#[test]
fn a_reset_leaves_requests_to_another_part_of_the_same_disk_alone() {
    let (mut first, mut second) = Scene::pair();
    let (slow, delay) = slow_unit();
    let part = |n| unit_of(slow.volume().part(Lba(n), Blocks(512)).unwrap());
    let lun = at(0, 0);
    first.hba().add_lun(lun, &part(0)).unwrap();
    second.hba().add_lun(lun, &part(512)).unwrap();
    first.settle(lun);
    second.settle(lun);
    delay.hold();
    let sent = second.send(&Command::read(lun, 0, 1));
    assert_eq!(
        first.function(TaskManagementFunction::LOGICAL_UNIT_RESET, lun, 0),
        Response::FUNCTION_COMPLETE
    );
    delay.release();
    let end = second.await_command(&sent);
    assert_eq!(end.response, Response::OK);
    assert_eq!(end.status, 0);
    assert_eq!(second.command(&Command::test_unit_ready(lun)).status, 0, "it is told of no reset");
}

/// SPDK #405: large writes were reported as short.
#[test]
fn writes_of_any_length_have_no_residual() {
    let mut scene = Scene::new();
    let lun = at(0, 0);
    scene.hba().add_lun(lun, &unit()).unwrap();
    scene.settle(lun);
    for blocks in [1, 17, 34, 128] {
        let end = scene.command(&Command::write(lun, 0, &vec![3; blocks * BLOCK as usize]));
        assert_eq!(end.status, 0);
        assert_eq!(end.residual, 0, "{blocks} blocks");
    }
}

/// SPDK #460: a front end that asked for the configuration of a deleted disk was fatal.
#[test]
fn the_configuration_is_read_while_luns_come_and_go() {
    let scene = Scene::new();
    let disk = Volume::whole(House::disk());
    let config = || scene.client.as_ref().unwrap().tell(&Message::config(0, 36)).unwrap();
    let before = config();
    for n in 0..10 {
        scene.hba().add_lun(at(0, 0), &unit_of(disk.part(Lba(n), Blocks(1)).unwrap())).unwrap();
        assert_eq!(config(), before);
        scene.hba().remove_lun(at(0, 0)).unwrap();
        assert_eq!(config(), before);
    }
}
