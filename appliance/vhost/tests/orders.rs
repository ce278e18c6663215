//! Messages in orders, and as often, as front ends of the field send them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use rig::client::{Client, Guest, Message, PROTOCOL, code, new_eventfd, signal};
use rig::house::{House, use_disk};
use rig::{Ask, Sent};

/// An endpoint, a guest with one ring, and its connection.
struct Scene {
    house: House,
    guest: Guest,
    client: Client,
}

impl Scene {
    /// A ring that runs.
    fn new() -> Self {
        let (house, guest) = (House::new(), Guest::new(1));
        let client = guest.connect(&house.path(0));
        Self { house, guest, client }
    }

    /// A connection on which nothing was said yet.
    fn silent() -> Self {
        let (house, guest) = (House::new(), Guest::new(1));
        let client = Client::connect(&house.path(0));
        Self { house, guest, client }
    }

    fn tell(&self, message: Message) {
        assert_eq!(self.client.number(&message.acknowledged()), Some(0));
    }

    fn enable(&self, value: u32) {
        self.tell(Message::ring(code::SET_VRING_ENABLE, 0, value));
    }

    /// Stops the ring; returns its base.
    fn stop(&self) -> u32 {
        let answer = self
            .client
            .tell(&Message { answered: true, ..Message::ring(code::GET_VRING_BASE, 0, 0) })
            .unwrap();
        u32::from_ne_bytes(answer[4..8].try_into().unwrap())
    }

    fn is_running(&self) -> bool {
        !self.house.endpoint(0).status().front_end.unwrap().queues.is_empty()
    }

    fn send(&mut self) -> Sent {
        self.guest.rings[0].send(&Ask::read(0, 512))
    }

    fn expect_answer(&mut self, sent: &Sent) {
        assert_eq!(self.guest.rings[0].answer(sent).status, 0);
    }
}

#[test]
fn a_ring_that_is_stopped_twice_has_the_same_base() {
    let mut scene = Scene::new();
    use_disk(&mut scene.guest);
    assert_eq!(scene.stop(), 3);
    assert_eq!(scene.stop(), 3);
}

#[test]
fn a_ring_that_is_disabled_and_then_stopped_has_its_base() {
    let mut scene = Scene::new();
    use_disk(&mut scene.guest);
    scene.enable(0);
    assert_eq!(scene.stop(), 3);
}

#[test]
fn a_ring_that_was_stopped_does_not_run_because_it_is_enabled_but_with_its_next_kick() {
    let mut scene = Scene::new();
    scene.stop();
    let sent = scene.send();
    scene.enable(1);
    assert!(!scene.is_running());
    let kick = scene.guest.rings[0].kick.clone();
    scene.tell(Message::eventfd(code::SET_VRING_KICK, 0, Some(&kick)));
    assert!(scene.is_running());
    scene.expect_answer(&sent);
}

#[test]
fn features_that_are_set_again_leave_a_ring_enabled() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.tell(Message::set_u64(code::SET_FEATURES, scene.guest.features.0));
        assert!(scene.is_running());
        use_disk(&mut scene.guest);
    }
}

#[test]
fn a_request_whose_kick_came_before_the_ring_was_enabled_is_served() {
    let mut scene = Scene::new();
    scene.enable(0);
    let sent = scene.guest.rings[0].queue.send(&Ask::read(0, 512));
    signal(&scene.guest.rings[0].kick);
    scene.enable(1);
    scene.expect_answer(&sent);
}

#[test]
fn a_kick_that_is_replaced_under_a_running_ring_is_the_one_that_counts() {
    let mut scene = Scene::new();
    for _ in 0..20 {
        let kick = new_eventfd();
        scene.tell(Message::eventfd(code::SET_VRING_KICK, 0, Some(&kick)));
        scene.guest.rings[0].kick = kick;
        use_disk(&mut scene.guest);
    }
}

#[test]
fn a_front_end_that_knows_the_features_need_not_ask_for_them() {
    let mut scene = Scene::silent();
    let greeting = [
        Message::set_u64(code::SET_FEATURES, scene.guest.features.0),
        Message::set_u64(code::SET_PROTOCOL_FEATURES, PROTOCOL),
        Message::set(code::SET_OWNER, vec![]),
        Message::memory_table(&scene.guest.files),
    ];
    greeting.iter().chain(&scene.guest.ring_setup(0, 0)).for_each(|message| {
        scene.client.tell(message).unwrap();
    });
    use_disk(&mut scene.guest);
}

#[test]
fn a_ring_whose_base_is_not_said_starts_at_zero() {
    let mut scene = Scene::silent();
    let setup = scene.guest.ring_setup(0, 0);
    let setup = setup.iter().filter(|message| message.code != code::SET_VRING_BASE);
    scene.guest.greeting().iter().chain(setup).for_each(|message| _ = scene.client.tell(message).unwrap());
    use_disk(&mut scene.guest);
}

#[test]
fn a_ring_is_set_up_backwards() {
    let mut scene = Scene::silent();
    let setup = scene.guest.ring_setup(0, 0);
    let greeting = scene.guest.greeting();
    greeting.iter().chain(setup.iter().rev()).for_each(|message| _ = scene.client.tell(message).unwrap());
    use_disk(&mut scene.guest);
}

#[test]
fn a_reset_and_the_whole_set_up_again_go_on_with_the_same_connection() {
    let mut scene = Scene::new();
    for reset in [code::RESET_DEVICE, 4] {
        use_disk(&mut scene.guest);
        let base = scene.stop();
        scene.tell(Message::set(reset, vec![]));
        assert!(!scene.is_running());
        scene.tell(Message::set_u64(code::SET_FEATURES, scene.guest.features.0));
        for message in scene.guest.ring_setup(0, base) {
            scene.client.tell(&message).unwrap();
        }
    }
    use_disk(&mut scene.guest);
}
