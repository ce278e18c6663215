//! A guest is interrupted for what was used while it had no call.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_virtqueue::Notifications;
use rig::Ask;
use rig::client::{Client, Guest, Message, code, until, wait_for};
use rig::house::House;

/// A front end whose one ring runs without a call, and one flush of it that has ended.
fn without_a_call(house: &House, notifications: Notifications) -> (Guest, Client) {
    let mut guest = Guest::notified_by(notifications, 1);
    let client = Client::connect(&house.path(0));
    let mut script = guest.script();
    script.retain(|message| message.code != code::SET_VRING_CALL);
    script.insert(script.len() - 1, Message::eventfd(code::SET_VRING_CALL, 0, None));
    script.iter().for_each(|message| _ = client.tell(message).unwrap());
    assert_eq!(guest.rings[0].ask(&Ask::flush()).status, 0);
    (guest, client)
}

#[test]
fn a_ring_that_starts_again_with_a_call_interrupts_for_what_was_used_without() {
    for notifications in [Notifications::Flags, Notifications::EventIndex] {
        let house = House::new();
        let (guest, client) = without_a_call(&house, notifications);
        client.tell(&Message { answered: true, ..Message::ring(code::GET_VRING_BASE, 0, 0) }).unwrap();
        guest.ring_setup(0, 1).iter().for_each(|message| _ = client.tell(message).unwrap());
        assert!(wait_for(&guest.rings[0].call), "{notifications:?}");
    }
}

#[test]
fn a_call_that_is_set_while_the_ring_runs_interrupts_for_what_was_used_before() {
    for notifications in [Notifications::Flags, Notifications::EventIndex] {
        let house = House::new();
        let (guest, client) = without_a_call(&house, notifications);
        let call = &guest.rings[0].call;
        client.tell(&Message::eventfd(code::SET_VRING_CALL, 0, Some(call)).acknowledged()).unwrap();
        assert!(wait_for(call), "{notifications:?}");
    }
}

#[test]
fn a_ring_that_starts_serves_what_is_in_it_without_a_kick() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let sent = guest.rings[0].queue.send(&Ask::flush());
    let _client = guest.connect(&house.path(0));
    let mut answer = None;
    until(|| {
        answer = guest.rings[0].queue.take_answer(&sent);
        answer.is_some()
    });
    assert_eq!(answer.unwrap().status, 0);
}
