//! Several front ends at one socket: who is served, who waits, and who cannot keep others out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_vhost::PeerCounts;
use rig::client::{Client, Guest, Message, code, until};
use rig::house::{House, use_disk};
use std::os::unix::net::UnixStream;

fn counts(house: &House) -> PeerCounts {
    house.endpoint(0).status().counts
}

fn hello() -> Message {
    Message::get(code::GET_FEATURES, vec![])
}

/// A front end that is served by a house and has said something.
fn speaker(house: &House) -> Client {
    let client = Client::connect(&house.path(0));
    client.tell(&hello()).unwrap();
    client
}

/// Lets the time pass in which a silent front end loses its place: one does at another endpoint.
fn let_silence_pass(house: &House) {
    let _silent = Client::connect(&house.path(1));
    until(|| house.endpoint(1).status().counts.silent > 0);
}

#[test]
fn a_front_end_that_says_nothing_gives_its_place_to_one_that_speaks() {
    let house = House::new();
    let silent = Client::connect(&house.path(0));
    until(|| house.endpoint(0).status().front_end.is_some());
    let mut guest = Guest::new(2);
    let _client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    assert!(silent.is_cut_off());
    assert_eq!(counts(&house).silent, 1);
    assert_eq!(counts(&house).protocol_errors, 0);
}

#[test]
fn a_part_of_a_message_is_silence_too() {
    let house = House::new();
    let hello = hello().bytes();
    for part in [1, hello.len() - 1] {
        let halting = Client::connect(&house.path(0));
        halting.send_bytes(&hello[..part], &[]).unwrap();
        until(|| house.endpoint(0).status().front_end.is_some());
        let mut guest = Guest::new(1);
        let _client = guest.connect(&house.path(0));
        use_disk(&mut guest);
        assert!(halting.is_cut_off());
    }
}

#[test]
fn a_front_end_that_has_spoken_keeps_its_place_however_long_it_is_silent() {
    let house = House::on(&[House::disk(), House::disk()]);
    let mut guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    let second = Client::connect(&house.path(0));
    second.send(&hello()).unwrap();
    until(|| counts(&house).waiting == 1);
    let_silence_pass(&house);
    use_disk(&mut guest);
    assert_eq!(counts(&house).connections, 1);
    assert_eq!(counts(&house).silent, 0);
    drop(client);
    until(|| counts(&house).connections == 2);
}

#[test]
fn a_silent_front_end_keeps_its_place_while_nobody_else_speaks() {
    let house = House::on(&[House::disk(), House::disk()]);
    let mut guest = Guest::new(1);
    let late = Client::connect(&house.path(0));
    let _other = Client::connect(&house.path(0));
    until(|| counts(&house).silent == 1 && counts(&house).waiting == 1);
    let_silence_pass(&house);
    assert_eq!(counts(&house).connections, 1);
    guest.script().iter().for_each(|message| _ = late.tell(message).unwrap());
    use_disk(&mut guest);
}

#[test]
fn front_ends_that_wait_are_counted_until_they_leave() {
    let house = House::new();
    let _first = speaker(&house);
    for round in 1..=3 {
        let second = Client::connect(&house.path(0));
        until(|| counts(&house).waiting == 1);
        assert_eq!(counts(&house).waited, round);
        drop(second);
        until(|| counts(&house).waiting == 0);
    }
    assert_eq!(counts(&house).connections, 1);
}

#[test]
fn the_next_is_the_first_of_the_waiting_that_has_spoken() {
    let house = House::new();
    let first = speaker(&house);
    let silent = Client::connect(&house.path(0));
    until(|| counts(&house).waiting == 1);
    let second = Client::connect(&house.path(0));
    second.send(&hello()).unwrap();
    until(|| counts(&house).waiting == 2);
    drop(first);
    until(|| counts(&house).connections == 2 && counts(&house).waiting == 1);
    second.tell(&hello()).unwrap();
    drop(second);
    until(|| counts(&house).connections == 3);
    silent.tell(&hello()).unwrap();
}

#[test]
fn a_crowd_of_silent_connections_keeps_nobody_out() {
    let house = House::new();
    let mut crowd: Vec<_> = (0..100).map(|_| Client::connect(&house.path(0))).collect();
    let mut guest = Guest::new(1);
    let _client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    assert!(counts(&house).waiting <= 16, "{:?}", counts(&house));
    crowd.clear();
    until(|| counts(&house).waiting == 0);
    use_disk(&mut guest);
}

#[test]
fn no_more_front_ends_wait_than_can_be_kept_and_the_others_are_told_at_once() {
    let house = House::new();
    let first = speaker(&house);
    let mut waiting: Vec<Client> = Vec::new();
    for number in 1..=16 {
        let client = Client::connect(&house.path(0));
        client.send(&hello()).unwrap();
        waiting.push(client);
        until(|| counts(&house).waiting == number);
    }
    let late = Client::connect(&house.path(0));
    assert!(late.is_cut_off());
    assert_eq!(counts(&house).waiting, 16);
    first.tell(&hello()).unwrap();
}

#[test]
fn an_endpoint_that_stops_cuts_off_those_that_wait() {
    let mut house = House::new();
    let first = speaker(&house);
    let waiting = [(); 3].map(|()| Client::connect(&house.path(0)));
    until(|| counts(&house).waiting == 3);
    house.endpoints.remove(0).stop();
    for client in waiting.iter().chain([&first]) {
        assert!(client.is_cut_off());
    }
}

#[test]
fn an_endpoint_that_stops_while_front_ends_come_and_go_stops() {
    for _ in 0..20 {
        let mut house = House::new();
        let (path, endpoint) = (house.path(0), house.endpoints.remove(0));
        std::thread::scope(|scope| {
            let come_and_go = || {
                while let Ok(stream) = UnixStream::connect(&path) {
                    let _ = Client { stream }.send(&hello());
                }
            };
            let _crowd = [scope.spawn(come_and_go), scope.spawn(come_and_go)];
            until(|| endpoint.status().counts.connections > 3);
            endpoint.stop();
        });
        assert!(!path.exists());
    }
}
