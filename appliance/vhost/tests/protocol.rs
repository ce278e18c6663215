//! An endpoint with front ends that keep to the protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_spec::virtio::Features;
use luge_virtqueue::rig::RigMemory;
use rig::Ask;
use rig::client::{Client, Guest, Message, PROTOCOL, code, idle, new_eventfd, signal, until, wait_for};
use rig::house::{House, use_disk};
use std::path::Path;

#[test]
fn a_front_end_connects_and_its_guest_uses_two_queues_on_two_cores() {
    let house = House::new();
    let mut guest = Guest::new(2);
    let client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    let status = house.endpoint(0).status();
    let front_end = status.front_end.unwrap();
    assert_eq!(front_end.number, 1);
    assert_eq!(front_end.queues.len(), 2);
    assert_eq!(status.counts.connections, 1);
    let [first, second] = [0, 1].map(|at| front_end.queues[at]);
    assert_ne!(first.core, second.core);
    assert_eq!(first.size, 64);
    assert_eq!(first.faults, 0);
    assert!(!first.broken);
    drop(client);
    until(|| house.endpoint(0).status().front_end.is_none());
}

#[test]
fn the_features_and_numbers_are_those_that_were_agreed() {
    let house = House::new();
    let client = Client::connect(&house.path(0));
    let features = Features(client.number(&Message::get(code::GET_FEATURES, vec![])).unwrap());
    for feature in [Features::VERSION_1, Features::BLK_MQ, Features::BLK_FLUSH, Features::RING_EVENT_IDX] {
        assert!(features.contains(feature));
    }
    assert!(!features.contains(Features::BLK_RO));
    assert_eq!(client.number(&Message::get(code::GET_PROTOCOL_FEATURES, vec![])), Some(PROTOCOL));
    assert_eq!(client.number(&Message::get(code::GET_QUEUE_NUM, vec![])), Some(4), "also without MQ");
    client.tell(&Message::set_u64(code::SET_PROTOCOL_FEATURES, PROTOCOL)).unwrap();
    assert_eq!(client.number(&Message::get(code::GET_QUEUE_NUM, vec![])), Some(4));
    assert_eq!(client.number(&Message::get(code::GET_MAX_MEM_SLOTS, vec![])), Some(256));
}

#[test]
fn the_configuration_comes_in_exactly_the_size_that_was_asked_for() {
    let house = House::new();
    let client = Client::connect(&house.path(0));
    client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    client.tell(&Message::set_u64(code::SET_PROTOCOL_FEATURES, PROTOCOL)).unwrap();
    for (offset, size) in [(0, 256), (0, 60), (0, 8), (20, 4), (0, 4000), (250, 6)] {
        let payload = client.tell(&Message::config(offset, size)).unwrap();
        assert_eq!(payload.len(), 12 + size as usize);
        if offset == 0 {
            assert_eq!(payload[12..20], 2048_u64.to_le_bytes());
        }
    }
    // A guest that writes to it changes nothing, and keeps its disk.
    let mut write = Message::config(32, 1);
    (write.code, write.answered) = (code::SET_CONFIG, false);
    assert_eq!(client.number(&write.acknowledged()), Some(0));
}

#[test]
fn an_interrupt_comes_for_an_answer_also_on_a_call_that_was_changed_meanwhile() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    guest.rings[0].ask(&Ask::flush());
    assert!(wait_for(&guest.rings[0].call));
    let other = new_eventfd();
    let change = Message::eventfd(code::SET_VRING_CALL, 0, Some(&other)).acknowledged();
    assert_eq!(client.number(&change), Some(0));
    guest.rings[0].queue.driver.want_interrupt_after(0);
    guest.rings[0].ask(&Ask::flush());
    assert!(wait_for(&other));
    let none = Message::eventfd(code::SET_VRING_CALL, 0, None).acknowledged();
    assert_eq!(client.number(&none), Some(0));
    guest.rings[0].ask(&Ask::flush());
}

#[test]
fn a_ring_without_a_kick_is_polled() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    let polled = Message::eventfd(code::SET_VRING_KICK, 0, None).acknowledged();
    assert_eq!(client.number(&polled), Some(0));
    for _ in 0..3 {
        // The core falls asleep, if it does not know better.
        idle();
        let sent = guest.rings[0].queue.send(&Ask::flush());
        assert_eq!(guest.rings[0].answer(&sent).status, 0);
    }
}

#[test]
fn a_sleeping_core_is_woken_by_a_kick() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    // A sleep is counted when it ends.
    let sleeps = || house.cores.iter().map(|core| core.stats().sleeps()).sum::<u64>();
    let before = sleeps();
    until(|| {
        idle();
        assert_eq!(guest.rings[0].ask(&Ask::flush()).status, 0);
        sleeps() > before + 3
    });
}

#[test]
fn a_ring_is_enabled_by_its_kick_where_protocol_features_were_not_negotiated() {
    let house = House::new();
    let mut guest = Guest::new(1);
    guest.features.0 &= !Features::VHOST_PROTOCOL_FEATURES.0;
    let client = Client::connect(&house.path(0));
    client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    client.tell(&Message::set_u64(code::SET_FEATURES, guest.features.0)).unwrap();
    client.tell(&Message::memory_table(&guest.files)).unwrap();
    for message in guest.ring_setup(0, 0).iter().filter(|m| m.code != code::SET_VRING_ENABLE) {
        client.tell(message).unwrap();
    }
    use_disk(&mut guest);
}

#[test]
fn a_ring_may_be_enabled_before_it_exists_and_runs_only_while_it_is() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let client = Client::connect(&house.path(0));
    for message in guest.greeting() {
        client.tell(&message).unwrap();
    }
    let enable = |on| client.number(&Message::ring(code::SET_VRING_ENABLE, 0, on).acknowledged());
    assert_eq!(enable(1), Some(0));
    for message in guest.ring_setup(0, 0).iter().filter(|m| m.code != code::SET_VRING_ENABLE) {
        client.tell(message).unwrap();
    }
    use_disk(&mut guest);
    assert_eq!(enable(0), Some(0));
    let sent = guest.rings[0].send(&Ask::flush());
    assert!(house.endpoint(0).status().front_end.unwrap().queues.is_empty());
    assert_eq!(enable(1), Some(0));
    assert_eq!(guest.rings[0].answer(&sent).status, 0);
}

#[test]
fn a_ring_stops_with_everything_answered_and_goes_on_where_it_stopped() {
    let house = House::new();
    let mut guest = Guest::new(2);
    let client = guest.connect(&house.path(0));
    let mut base = 0;
    for _ in 0..50 {
        let ring = &mut guest.rings[0];
        let sent: Vec<_> = (0..20).map(|n| ring.send(&Ask::read(n, 4096))).collect();
        let stop = Message { answered: true, ..Message::ring(code::GET_VRING_BASE, 0, 0) };
        let state = client.tell(&stop).unwrap();
        let stopped_at = u32::from_ne_bytes(state[4..8].try_into().unwrap());
        let answered = stopped_at.wrapping_sub(base) & 0xffff;
        let used = (0..answered).map(|_| ring.queue.driver.take_used().expect("all taken are answered"));
        assert!(used.zip(&sent).all(|((head, _), sent)| head == sent.head));
        assert_eq!(ring.queue.driver.take_used(), None, "a stopped ring stays as it is");
        base = stopped_at;
        for message in guest.ring_setup(0, base) {
            client.tell(&message).unwrap();
        }
        let ring = &mut guest.rings[0];
        signal(&ring.kick);
        sent.iter().skip(answered as usize).for_each(|sent| assert_eq!(ring.answer(sent).status, 0));
        base = (base + 20 - answered) & 0xffff;
    }
    use_disk(&mut guest);
}

#[test]
fn memory_is_replaced_while_requests_are_in_flight() {
    let house = House::new();
    let mut guest = Guest::new(2);
    let client = guest.connect(&house.path(0));
    for _ in 0..20 {
        let ring = &mut guest.rings[0];
        let sent: Vec<_> = (0..10).map(|n| ring.send(&Ask::read(n, 4096))).collect();
        let table = Message::memory_table(&guest.files).acknowledged();
        assert_eq!(client.number(&table), Some(0));
        for sent in &sent {
            assert_eq!(guest.rings[0].answer(sent).status, 0);
        }
    }
    use_disk(&mut guest);
}

#[test]
fn a_ring_whose_memory_goes_waits_until_it_is_back() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    let (rings, others): (Vec<_>, Vec<_>) =
        guest.files.iter().cloned().partition(|(layout, _)| layout.guest.0 == RigMemory::RINGS.0);
    assert!(!others.is_empty());
    let (layout, file) = &rings[0];
    let remove = Message::memory_region(code::REM_MEM_REG, layout, None).acknowledged();
    assert_eq!(client.number(&remove), Some(0));
    assert!(house.endpoint(0).status().front_end.unwrap().queues.is_empty());
    let sent = guest.rings[0].send(&Ask::flush());
    let add = Message::memory_region(code::ADD_MEM_REG, layout, Some(file)).acknowledged();
    assert_eq!(client.number(&add), Some(0));
    assert_eq!(guest.rings[0].answer(&sent).status, 0);
}

#[test]
fn features_change_and_the_device_is_reset_under_running_rings() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    let without_flush = guest.features.0 & !Features::BLK_FLUSH.0;
    assert_eq!(client.number(&Message::set_u64(code::SET_FEATURES, without_flush).acknowledged()), Some(0));
    use_disk(&mut guest);
    assert_eq!(client.number(&Message::set(code::RESET_DEVICE, vec![]).acknowledged()), Some(0));
    assert!(house.endpoint(0).status().front_end.unwrap().queues.is_empty());
    let base = 6;
    client.tell(&Message::set_u64(code::SET_FEATURES, guest.features.0)).unwrap();
    for message in guest.ring_setup(0, base) {
        client.tell(&message).unwrap();
    }
    use_disk(&mut guest);
}

#[test]
fn a_broken_ring_is_told_by_its_error_eventfd() {
    let house = House::new();
    let mut guest = Guest::new(2);
    let _client = guest.connect(&house.path(0));
    let ring = &mut guest.rings[0];
    ring.queue.driver.set_available_index(1000);
    signal(&ring.kick);
    assert!(wait_for(&ring.error));
    until(|| house.endpoint(0).status().front_end.unwrap().queues[0].broken);
    let bytes = guest.rings[1].ask(&Ask::read(0, 512)).data;
    assert_eq!(bytes.len(), 512);
}

#[test]
fn a_second_front_end_waits_until_the_first_has_left() {
    let house = House::new();
    let mut first = Guest::new(1);
    let client = first.connect(&house.path(0));
    let path = house.path(0);
    let second = std::thread::spawn(move || {
        let mut guest = Guest::new(1);
        let _client = guest.connect(Path::new(&path));
        use_disk(&mut guest);
    });
    use_disk(&mut first);
    assert_eq!(house.endpoint(0).status().counts.connections, 1);
    drop(client);
    second.join().unwrap();
    assert_eq!(house.endpoint(0).status().counts.connections, 2);
}
