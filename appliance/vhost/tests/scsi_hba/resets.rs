//! Guests that reset their adapter.

use crate::rig::client::{Message, code};
use crate::scene::{Command, Scene, at, unit};

#[test]
fn a_guest_that_begins_is_told_of_the_power_on_once() {
    let mut scene = Scene::new();
    scene.hba().add_lun(at(0, 0), &unit()).unwrap();
    assert_eq!(scene.command(&Command::test_unit_ready(at(0, 0))).sense_code(), Some(0x2900));
    assert_eq!(scene.command(&Command::test_unit_ready(at(0, 0))).status, 0);
    for _ in 0..2 {
        let client = scene.client.take().unwrap();
        for queue in 0..4 {
            client
                .tell(&Message { answered: true, ..Message::ring(code::GET_VRING_BASE, queue, 0) })
                .unwrap();
        }
        drop(client);
        scene.guest = Scene::new_guest();
        scene.connect();
        assert_eq!(
            scene.command(&Command::test_unit_ready(at(0, 0))).sense_code(),
            Some(0x2900),
            "begun anew"
        );
        assert_eq!(scene.command(&Command::test_unit_ready(at(0, 0))).status, 0);
    }
}
