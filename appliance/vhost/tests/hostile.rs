//! Front ends that break off, and that say what cannot be, at every message of a good session.
//! Each is cut off; the next is served; and another endpoint on the same cores does not notice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_seeded::Random;
use luge_vhost::BlkConfig;
use rig::Ask;
use rig::client::{Client, DEADLINE, Guest, Message, code, signal, until};
use rig::house::{House, use_disk};
use rustix::fs::ftruncate;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A house with a victim, and another endpoint whose guest is at work.
struct Scene {
    house: House,
    bystander: Guest,
    _connection: Client,
}

impl Scene {
    fn new() -> Self {
        let house = House::on(&[House::disk(), House::disk()]);
        let bystander = Guest::new(2);
        let connection = bystander.connect(&house.path(1));
        Self { house, bystander, _connection: connection }
    }

    /// Plays the first messages of a good session.
    fn play(&self, guest: &Guest, count: usize) -> Client {
        let client = Client::connect(&self.house.path(0));
        for message in guest.script().iter().take(count) {
            client.tell(message).unwrap();
        }
        client
    }

    /// Does something at every message of a good session: with the client, and the message
    /// that would be next.
    fn at_every_message(&mut self, act: impl Fn(Client, &Message)) {
        let guest = Guest::new(2);
        let script = guest.script();
        for (index, message) in script.iter().enumerate() {
            let client = self.play(&guest, index);
            act(client, message);
            self.check(index % 8 == 0);
        }
        self.check(true);
    }

    /// The bystander's disk works, and, where asked, the victim's for a new front end.
    fn check(&mut self, also_victim: bool) {
        use_disk(&mut self.bystander);
        if also_victim {
            let mut next = Guest::new(1);
            let _client = next.connect(&self.house.path(0));
            use_disk(&mut next);
        }
        assert_eq!(self.house.endpoint(1).status().counts.connections, 1);
        assert_eq!(self.house.endpoint(1).status().counts.protocol_errors, 0);
    }
}

#[test]
fn a_front_end_may_leave_at_any_message() {
    let mut scene = Scene::new();
    scene.at_every_message(|client, _| drop(client));
    until(|| scene.house.endpoint(0).status().front_end.is_none());
    assert_eq!(scene.house.endpoint(0).status().counts.protocol_errors, 0);
}

#[test]
fn a_front_end_may_leave_in_the_middle_of_any_message() {
    let mut scene = Scene::new();
    for cut in [1, 11, 12, 13] {
        scene.at_every_message(|client, message| {
            let bytes = message.bytes();
            let part = &bytes[..cut.min(bytes.len() - 1)];
            client.send_bytes(part, &message.files).unwrap();
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert!(client.is_cut_off());
        });
    }
}

#[test]
fn a_header_that_cannot_be_is_the_end() {
    let mut scene = Scene::new();
    let wrong: [fn(&mut Vec<u8>); 7] = [
        |bytes| bytes[0] = 0,
        |bytes| bytes[0] = 99,
        |bytes| bytes[3] = 0x80,
        |bytes| bytes[4] = 0,
        |bytes| bytes[4] = 5,
        |bytes| bytes[5] = 1,
        |bytes| bytes[8..12].copy_from_slice(&u32::MAX.to_ne_bytes()),
    ];
    for spoil in wrong {
        scene.at_every_message(|client, message| {
            let mut bytes = message.bytes();
            spoil(&mut bytes);
            // The back end may hang up before it has read all of it.
            let _ = client.send_bytes(&bytes, &message.files);
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert!(client.is_cut_off(), "{message:?}");
        });
    }
}

#[test]
fn files_that_are_missing_too_many_or_of_another_kind_are_the_end() {
    let mut scene = Scene::new();
    let null: Arc<OwnedFd> = Arc::new(std::fs::File::open("/dev/null").unwrap().into());
    for count in [0, 1, 3, 33, 60] {
        scene.at_every_message(|client, message| {
            let files = vec![null.clone(); count];
            if count == message.files.len() && count == 0 {
                return;
            }
            let _ = client.send_bytes(&message.bytes(), &files);
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert!(client.is_cut_off(), "{count} files: {message:?}");
        });
    }
}

#[test]
fn a_payload_of_another_length_or_content_hurts_nobody_else() {
    let mut scene = Scene::new();
    let mut random = Random::new(7);
    for round in 0..8 {
        let seed = random.number();
        scene.at_every_message(|client, message| {
            let mut random = Random::new(seed ^ u64::from(message.code));
            let mut spoiled = message.clone();
            match round {
                0 => spoiled.payload.push(0),
                1 => drop(spoiled.payload.pop()),
                2 => spoiled.payload.fill(0xff),
                3 => spoiled.payload.fill(0),
                4 => spoiled.payload = vec![0xff; 4096],
                _ => spoiled.payload.iter_mut().for_each(|byte| {
                    if random.once_in(3) {
                        *byte = random.number().to_le_bytes()[0];
                    }
                }),
            }
            let _ = client.send(&spoiled);
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert!(client.is_cut_off());
        });
    }
}

#[test]
fn features_and_rings_that_were_not_offered_are_refused() {
    let mut scene = Scene::new();
    let far = |index: u32| [index.to_ne_bytes(), 0_u32.to_ne_bytes()].concat();
    let refused = [
        Message::set_u64(code::SET_FEATURES, u64::MAX),
        Message::set_u64(code::SET_PROTOCOL_FEATURES, u64::MAX),
        Message::set_u64(code::SET_PROTOCOL_FEATURES, 1 << 1),
        Message::ring(code::SET_VRING_NUM, 4, 64),
        Message::ring(code::SET_VRING_NUM, 0, 0),
        Message::ring(code::SET_VRING_NUM, 0, 65),
        Message::ring(code::SET_VRING_NUM, 0, 65536),
        Message::ring(code::SET_VRING_BASE, 0, 65536),
        Message::ring(code::SET_VRING_BASE, u32::MAX, 0),
        Message::ring(code::SET_VRING_ENABLE, 0, 2),
        Message::ring(code::SET_VRING_ENABLE, 4, 1),
        Message::set(code::SET_VRING_ADDR, [far(4), vec![0; 32]].concat()),
        Message::set(code::SET_VRING_ADDR, [far(0), vec![1; 32]].concat()),
        Message::eventfd(code::SET_VRING_KICK, 4, None),
        Message::eventfd(code::SET_VRING_CALL, 255, None),
    ];
    for message in refused {
        let guest = Guest::new(1);
        let client = guest.connect(&scene.house.path(0));
        client.send(&message).unwrap();
        assert!(client.is_cut_off(), "{message:?}");
    }
    scene.check(true);
    assert_eq!(scene.house.endpoint(0).status().counts.protocol_errors, 15);
}

#[test]
fn rings_that_cost_too_much_together_are_refused() {
    let mut house = House::on(&[]);
    let disk = BlkConfig { queues: 256, ..house.disk_config(House::disk()) };
    house.serve(0, disk);
    let client = Client::connect(&house.path(0));
    let set_size = |index, size| client.send(&Message::ring(code::SET_VRING_NUM, index, size)).unwrap();
    (0..8).for_each(|index| _ = set_size(index, 32768));
    (0..8).for_each(|index| _ = set_size(index, 1024));
    (8..256).for_each(|index| _ = set_size(index, 1024));
    let asked = client.tell(&Message::get(code::GET_FEATURES, vec![]));
    assert!(asked.is_some(), "256 rings of 1024 are fine");
    set_size(0, 2048);
    assert!(client.is_cut_off());
}

#[test]
fn memory_that_cannot_be_mapped_is_refused() {
    let mut scene = Scene::new();
    let (good, file) = Guest::more_memory(0x2_0000_0000, 0x1000);
    let at = luge_memory::GuestAddress;
    for layout in [
        luge_memory::RegionLayout { len: 0, ..good },
        luge_memory::RegionLayout { len: 0x2000, ..good },
        luge_memory::RegionLayout { file_offset: 0x1000, ..good },
        luge_memory::RegionLayout { file_offset: u64::MAX, ..good },
        luge_memory::RegionLayout { guest: at(u64::MAX), ..good },
        luge_memory::RegionLayout { guest: at(0x10_0000), ..good },
    ] {
        let guest = Guest::new(1);
        let client = guest.connect(&scene.house.path(0));
        client.send(&Message::memory_region(code::ADD_MEM_REG, &layout, Some(&file))).unwrap();
        assert!(client.is_cut_off(), "{layout:?}");
    }
    let guest = Guest::new(1);
    let client = guest.connect(&scene.house.path(0));
    client.send(&Message::memory_region(code::REM_MEM_REG, &good, None)).unwrap();
    assert!(client.is_cut_off());
    scene.check(true);
}

#[test]
fn more_memory_than_the_host_has_is_refused_and_takes_nothing_from_others() {
    let mut scene = Scene::new();
    let len = 507 << 30;
    let (layout, file) = Guest::more_memory(0x100_0000_0000, len);
    let (halves, _) = Guest::more_memory(0x100_0000_0000 + len, len);
    for message in [
        Message::memory_table(&[(layout, file.clone())]),
        Message::memory_table(&[(layout, file.clone()), (halves, file.clone())]),
        Message::memory_region(code::ADD_MEM_REG, &layout, Some(&file)),
    ] {
        let guest = Guest::new(1);
        let client = guest.connect(&scene.house.path(0));
        client.send(&message.acknowledged()).unwrap();
        assert!(client.is_cut_off());
    }
    scene.check(true);
    assert_eq!(scene.house.endpoint(0).status().counts.protocol_errors, 3);
}

#[test]
fn a_front_end_that_takes_memory_away_is_cut_off() {
    let mut scene = Scene::new();
    let mut guest = Guest::new(1);
    let client = guest.connect(&scene.house.path(0));
    use_disk(&mut guest);
    guest.files.iter().for_each(|(_, file)| ftruncate(file, 0).unwrap());
    signal(&guest.rings[0].kick);
    assert!(client.is_cut_off());
    scene.check(true);
    assert_eq!(scene.house.endpoint(0).status().counts.protocol_errors, 1);
}

#[test]
fn memory_that_was_taken_away_is_not_forgotten_with_its_table() {
    let (layout, rings) = Guest::new(0).files.remove(0);
    let remove = Message::memory_region(code::REM_MEM_REG, &layout, None);
    for next in [Message::memory_table(&[(layout, rings)]), remove] {
        let (house, delay) = House::slow(&[]);
        let mut guest = Guest::new(2);
        let client = guest.connect(&house.path(0));
        delay.hold();
        guest.rings[0].send(&Ask::read(0, 512));
        until(|| house.endpoint(0).status().front_end.unwrap().queues[0].in_flight == 1);
        // The first message waits for ring 0, and the second for the first, while ring 1 runs.
        client.send(&Message::set(code::RESET_DEVICE, vec![])).unwrap();
        client.send(&next).unwrap();
        ftruncate(&guest.files[0].1, 0).unwrap();
        signal(&guest.rings[1].kick);
        assert!(client.is_cut_off());
        delay.release();
        until(|| house.endpoint(0).status().front_end.is_none());
        assert_eq!(house.endpoint(0).status().counts.protocol_errors, 1, "{next:?}");
    }
}

#[test]
fn an_endpoint_stops_while_a_front_end_is_half_way_through_a_message_or_does_not_read() {
    let mut scene = Scene::new();
    let silent = Client::connect(&scene.house.path(0));
    silent.send_bytes(&Message::get(code::GET_FEATURES, vec![]).bytes()[..5], &[]).unwrap();
    scene.house.endpoints.remove(0).stop();
    assert!(silent.is_cut_off());
    let deaf_house = House::new();
    let deaf = Client::connect(&deaf_house.path(0));
    deaf.stream.set_nonblocking(true).unwrap();
    let question = Message::get(code::GET_FEATURES, vec![]);
    while deaf.send(&question).is_ok() {}
    let started = std::time::Instant::now();
    drop(deaf_house);
    assert!(started.elapsed() < DEADLINE);
    scene.house.endpoints.swap_remove(0).stop();
}
