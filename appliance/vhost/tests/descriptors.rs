//! Front ends with more queues than there are file descriptors for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_core::Descriptors;
use luge_vhost::{BlkDevice, Endpoint, EndpointError};
use rig::client::{Client, Guest, Message, code, new_eventfd, until};
use rig::house::{House, use_disk};
use std::io::Read;
use std::sync::Arc;

/// Descriptors that are never promised.
const KEPT: u64 = 224;
/// Descriptors of an endpoint.
const ENDPOINT: u64 = 16;
/// Descriptors of a queue.
const QUEUE: u64 = 5;

/// Two endpoints, with descriptors for so many queues of both together.
fn house(queues: u64) -> House {
    let mut house = House::on(&[]);
    house.descriptors = Descriptors::with_limit(KEPT + 2 * ENDPOINT + QUEUE * queues);
    for index in 0..2 {
        let disk = house.disk_config(House::disk());
        house.serve(index, disk);
    }
    house
}

#[test]
fn a_front_end_beyond_the_descriptors_is_cut_off_and_served_when_there_are_enough() {
    let house = house(3);
    let (mut first, mut second) = (Guest::new(2), Guest::new(2));
    let connection = first.connect(&house.path(0));
    let client = Client::connect(&house.path(1));
    // The last of them may find the connection closed.
    second.script().iter().for_each(|message| drop(client.tell(message)));
    assert!(client.is_cut_off());
    until(|| house.endpoint(1).status().counts.protocol_errors == 1);
    use_disk(&mut first);
    drop(connection);
    until(|| house.endpoint(0).status().front_end.is_none());
    let _connection = second.connect(&house.path(1));
    use_disk(&mut second);
}

#[test]
fn notifiers_that_change_and_a_reset_take_no_more_descriptors() {
    let house = house(2);
    let guest = Guest::new(2);
    for _ in 0..3 {
        let client = guest.connect(&house.path(0));
        for _ in 0..3 {
            for code in [code::SET_VRING_CALL, code::SET_VRING_ERR] {
                client.tell(&Message::eventfd(code, 0, Some(&new_eventfd()))).unwrap();
            }
        }
        client.tell(&Message::set(code::RESET_DEVICE, vec![])).unwrap();
        for message in guest.script() {
            client.tell(&message).unwrap();
        }
        drop(client);
        until(|| house.endpoint(0).status().front_end.is_none());
    }
}

#[test]
fn files_of_memory_regions_take_no_descriptors_that_others_were_promised() {
    // The first front end has 5 for its queue; of the other 5, regions beyond the eight of the endpoint take one each.
    let house = house(2);
    let (mut first, second) = (Guest::new(1), Guest::new(1));
    let client = first.connect(&house.path(0));
    let regions: Vec<_> =
        (0..10).map(|n| Guest::more_memory(0x2_0000_0000 + n * 0x10_0000, 0x1_0000)).collect();
    let add = |n: usize| {
        let (layout, file) = &regions[n];
        client.tell(&Message::memory_region(code::ADD_MEM_REG, layout, Some(file)).acknowledged())
    };
    // There are four already.
    assert!((0..9).all(|n| add(n).is_some()));
    use_disk(&mut first);
    let refused = Client::connect(&house.path(1));
    second.script().iter().for_each(|message| drop(refused.tell(message)));
    assert!(refused.is_cut_off(), "no descriptor is left for a queue");
    add(9);
    assert!(client.is_cut_off(), "and none for another region");
    let _second = second.connect(&house.path(1));
}

#[test]
fn an_endpoint_without_descriptors_is_refused_and_leaves_no_socket() {
    let mut house = House::on(&[]);
    house.descriptors = Descriptors::with_limit(KEPT + ENDPOINT - 1);
    let disk = Arc::new(BlkDevice::open(house.disk_config(House::disk())).unwrap());
    let error = Endpoint::start(house.config(0, disk)).err().unwrap();
    assert!(matches!(error, EndpointError::Descriptors(_)), "{error}");
    assert!(!house.path(0).exists());
}

fn has_hung_up(client: &Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    matches!((&client.stream).read(&mut [0]), Ok(0))
}

#[test]
fn connections_that_wait_take_descriptors_that_are_left_and_no_others() {
    let house = house(1);
    let guest = Guest::new(1);
    let _served = guest.connect(&house.path(0));
    // One has its place with the endpoint; for others nothing is left.
    let waiting: Vec<_> = (0..3).map(|_| Client::connect(&house.path(0))).collect();
    until(|| waiting.iter().filter(|client| has_hung_up(client)).count() == 2);
    assert_eq!(house.endpoint(0).status().counts.waiting, 1);
}
