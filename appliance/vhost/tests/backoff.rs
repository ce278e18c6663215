//! Front ends that come back after others were cut off for cause wait, and no others do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_vhost::{BackoffLimits, BlkDevice, Endpoint, EndpointConfig, EndpointStatus};
use rig::client::{Client, Guest, Message, code, signal, until};
use rig::house::{House, use_disk};
use rustix::fs::ftruncate;
use std::sync::Arc;
use std::time::Duration;

/// A pause that does not end during a test.
const LONG: Duration = Duration::from_secs(3600);

/// A house whose endpoint pauses for `first` after a front end was cut off.
fn pausing(first: Duration) -> House {
    let mut house = House::on(&[]);
    let disk = Arc::new(BlkDevice::open(house.disk_config(House::disk())).unwrap());
    let backoff = BackoffLimits { first, longest: LONG, quiet: LONG };
    let config = EndpointConfig { backoff, ..house.config(0, disk) };
    house.endpoints.push(Endpoint::start(config).unwrap());
    house
}

fn status(house: &House) -> EndpointStatus {
    house.endpoint(0).status()
}

/// A front end is cut off because it breaks the protocol.
fn break_the_protocol(house: &House) {
    let client = Client::connect(&house.path(0));
    client.send(&Message::set(99, vec![])).unwrap();
    assert!(client.is_cut_off());
    until(|| status(house).front_end.is_none());
}

fn hello() -> Message {
    Message::get(code::GET_FEATURES, vec![])
}

/// Sends a message and does not wait for the answer.
fn speaking(house: &House) -> Client {
    let client = Client::connect(&house.path(0));
    client.send(&hello()).unwrap();
    client
}

/// A front end comes: it waits, and this is shown.
fn next_waits(house: &House) {
    let connections = status(house).counts.connections;
    let _next = speaking(house);
    until(|| status(house).counts.waiting == 1);
    assert_eq!(status(house).counts.waited, 1);
    assert_eq!(status(house).counts.connections, connections);
    assert_eq!(status(house).backoff.cut_off, 1);
    assert!(status(house).backoff.pause_left > Duration::ZERO);
    assert!(status(house).front_end.is_none());
}

#[test]
fn whoever_comes_after_one_that_broke_the_protocol_waits() {
    let house = pausing(LONG);
    break_the_protocol(&house);
    next_waits(&house);
    until(|| status(&house).counts.waiting == 0);
}

#[test]
fn whoever_comes_after_one_that_took_its_memory_away_waits() {
    let house = pausing(LONG);
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    guest.files.iter().for_each(|(_, file)| ftruncate(file, 0).unwrap());
    signal(&guest.rings[0].kick);
    assert!(client.is_cut_off());
    until(|| status(&house).front_end.is_none());
    next_waits(&house);
}

#[test]
fn one_that_leaves_by_itself_is_served_again_at_once() {
    let house = pausing(LONG);
    for round in 1..=3 {
        let mut guest = Guest::new(1);
        let _client = guest.connect(&house.path(0));
        use_disk(&mut guest);
        assert_eq!(status(&house).counts.connections, round);
    }
    assert_eq!(status(&house).backoff.cut_off, 0);
}

#[test]
fn one_that_loses_its_place_for_its_silence_delays_nobody() {
    let house = pausing(LONG);
    let halting = Client::connect(&house.path(0));
    halting.send_bytes(&hello().bytes()[..1], &[]).unwrap();
    until(|| status(&house).front_end.is_some());
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    assert_eq!(status(&house).counts.silent, 1);
    assert_eq!(status(&house).counts.protocol_errors, 0);
    assert_eq!(status(&house).backoff.cut_off, 0);
}

#[test]
fn one_that_waits_is_served_when_the_pause_is_over() {
    let house = pausing(Duration::from_millis(2));
    for faults in 1..=3 {
        break_the_protocol(&house);
        assert_eq!(status(&house).backoff.cut_off, faults);
    }
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    use_disk(&mut guest);
}

#[test]
fn an_endpoint_that_pauses_stops_at_once_and_cuts_off_those_that_wait() {
    let mut house = pausing(LONG);
    break_the_protocol(&house);
    let waiting = speaking(&house);
    until(|| status(&house).counts.waiting == 1);
    house.endpoints.remove(0).stop();
    assert!(waiting.is_cut_off());
}
