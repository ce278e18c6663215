//! A device that is no disk, served by the same connection.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod device;
#[path = "../rig/mod.rs"]
mod rig;

use device::{CONFIG, EVENTS, Echo, FEATURE, MESSAGES};
use luge_memory::GuestAddress;
use luge_spec::virtio::Features;
use luge_vhost::{Endpoint, VirtioDevice};
use luge_virtqueue::Head;
use luge_virtqueue::rig::{Form, Piece};
use rig::client::{Client, Guest, GuestRing, Message, code, idle, signal, until};
use rig::house::House;
use std::sync::Arc;

/// Length of an event buffer in bytes.
const BUFFER: u32 = 32;

/// An echo device on a socket, and its guest.
struct Scene {
    house: House,
    echo: Arc<Echo>,
    guest: Guest,
}

impl Scene {
    fn new() -> Self {
        let mut house = House::on(&[]);
        // One core, so that an idle core tells that both queues are idle.
        let echo = Arc::new(Echo::new(vec![house.cores[0].clone()]));
        let config = house.config(0, echo.clone());
        house.endpoints.push(Endpoint::start(config).unwrap());
        let mut guest = Guest::new(2);
        guest.features = Features::VERSION_1
            | Features::RING_EVENT_IDX
            | Features::RING_INDIRECT
            | Features::VHOST_PROTOCOL_FEATURES
            | FEATURE;
        Self { house, echo, guest }
    }

    fn connect(&self) -> Client {
        self.guest.connect(&self.house.path(0))
    }

    fn ring(&mut self, queue: u16) -> &mut GuestRing {
        &mut self.guest.rings[usize::from(queue)]
    }

    /// Puts a chain into a ring, and kicks if the device wants that.
    fn add(&mut self, queue: u16, pieces: &[Piece]) -> Head {
        let ring = self.ring(queue);
        let head = ring.queue.driver.add(pieces, Form::Direct).unwrap();
        if ring.queue.driver.must_kick() {
            signal(&ring.kick);
        }
        head
    }

    /// Gives the device buffers for events; returns the addresses.
    fn add_buffers(&mut self, count: usize) -> Vec<u64> {
        let buffers: Vec<u64> = (0..count).map(|_| self.ring(EVENTS).queue.place(BUFFER as usize)).collect();
        buffers.iter().for_each(|&at| {
            self.add(EVENTS, &[Piece::writable(at, BUFFER)]);
        });
        buffers
    }

    /// Waits for the next used element of a ring; returns its length.
    fn used(&mut self, queue: u16) -> u32 {
        let mut used = None;
        until(|| {
            used = self.ring(queue).queue.driver.take_used();
            used.is_some()
        });
        used.unwrap().1
    }

    fn bytes(&self, at: u64, len: u32) -> Vec<u8> {
        self.guest.memory.bytes(GuestAddress(at), len as usize)
    }

    fn echo(&mut self, message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap();
        let [from, to] = [0; 2].map(|_| self.ring(MESSAGES).queue.place(message.len()));
        self.guest.memory.write(GuestAddress(from), message);
        self.add(MESSAGES, &[Piece::readable(from, len), Piece::writable(to, len)]);
        assert_eq!(self.used(MESSAGES), len);
        self.bytes(to, len)
    }

    fn core_sleeps(&self) {
        until(|| self.house.cores[0].stats().asleep());
    }
}

fn base(client: &Client, queue: u16) -> u32 {
    let answer = client
        .tell(&Message { answered: true, ..Message::ring(code::GET_VRING_BASE, queue.into(), 0) })
        .unwrap();
    u32::from_ne_bytes(answer[4..8].try_into().unwrap())
}

#[test]
fn messages_come_back() {
    let mut scene = Scene::new();
    let _client = scene.connect();
    for message in [&b"hello"[..], b"", b"once more"].into_iter().filter(|message| !message.is_empty()) {
        assert_eq!(scene.echo(message), message);
    }
}

#[test]
fn the_guest_is_told_what_the_device_offers() {
    let scene = Scene::new();
    let client = scene.connect();
    let offered = client.number(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    assert_eq!(offered & FEATURE.0, FEATURE.0);
    assert_eq!(offered & Features::BLK_FLUSH.0, 0, "that is a disk's");
    assert_eq!(client.number(&Message::get(code::GET_QUEUE_NUM, vec![])), Some(scene.echo.queues().into()));
    let config = client.tell(&Message::config(0, 8)).unwrap();
    assert_eq!(config[12..], [CONFIG, &[0; 4]].concat());
}

#[test]
fn a_feature_of_another_device_is_refused() {
    let scene = Scene::new();
    let client = Client::connect(&scene.house.path(0));
    client.tell(&Message::set_u64(code::SET_FEATURES, (Features::BLK_FLUSH | FEATURE).0)).unwrap();
    assert!(client.is_cut_off());
}

#[test]
fn event_buffers_stay_with_the_guest_until_there_is_an_event() {
    let mut scene = Scene::new();
    let client = scene.connect();
    let buffers = scene.add_buffers(8);
    idle();
    scene.core_sleeps();
    assert!(scene.ring(EVENTS).queue.driver.take_used().is_none(), "nothing was to be told");
    assert_eq!(scene.echo(b"beside it"), b"beside it");
    for (event, &buffer) in [&b"first"[..], b"second"].into_iter().zip(&buffers) {
        assert!(scene.echo.tell(event));
        let len = u32::try_from(event.len()).unwrap();
        assert_eq!(scene.used(EVENTS), len);
        assert_eq!(scene.bytes(buffer, len), event);
    }
    let status = scene.house.endpoint(0).status().front_end.unwrap();
    assert!(status.queues.iter().all(|queue| queue.in_flight == 0));
    assert_eq!(base(&client, EVENTS), 2, "six buffers are still the guest's");
    assert!(scene.ring(EVENTS).queue.driver.take_used().is_none());
    assert!(!scene.echo.tell(b"to nobody"));
}

#[test]
fn an_event_waits_for_a_buffer_and_its_core_sleeps_meanwhile() {
    let mut scene = Scene::new();
    let _client = scene.connect();
    (0..4).for_each(|n| assert!(scene.echo.tell(&[n])));
    assert!(!scene.echo.tell(b"one too many"));
    scene.core_sleeps();
    for n in 0..4 {
        let buffer = scene.add_buffers(1)[0];
        assert_eq!(scene.used(EVENTS), 1);
        assert_eq!(scene.bytes(buffer, 1), [n]);
    }
}

#[test]
fn buffers_outlive_a_front_end_that_comes_back() {
    let mut scene = Scene::new();
    let client = scene.connect();
    let buffers = scene.add_buffers(2);
    assert!(scene.echo.tell(b"a"));
    assert_eq!(scene.used(EVENTS), 1);
    assert_eq!(base(&client, EVENTS), 1);
    drop(client);
    let client = Client::connect(&scene.house.path(0));
    let setup = [scene.guest.greeting(), scene.guest.ring_setup(EVENTS.into(), 1)].concat();
    setup.iter().for_each(|message| drop(client.tell(message).unwrap()));
    client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    assert!(scene.echo.tell(b"b"));
    assert_eq!(scene.used(EVENTS), 1);
    assert_eq!(scene.bytes(buffers[1], 1), b"b");
}

#[test]
fn buffers_stay_with_the_guest_while_its_connection_changes_its_endpoint() {
    let mut scene = Scene::new();
    let _client = scene.connect();
    let buffers = scene.add_buffers(2);
    assert!(scene.echo.tell(b"a"));
    assert_eq!(scene.used(EVENTS), 1);
    let connection = scene.house.endpoints.pop().unwrap().hand_over().unwrap();
    assert!(!scene.echo.tell(b"to nobody"), "the session has left");
    scene.echo = Arc::new(Echo::new(vec![scene.house.cores[1].clone()]));
    let config = scene.house.config(0, scene.echo.clone());
    scene.house.endpoints.push(Endpoint::resume(config, connection).unwrap());
    until(|| scene.echo.tell(b"b"));
    assert_eq!(scene.used(EVENTS), 1);
    assert_eq!(scene.bytes(buffers[1], 1), b"b");
    assert_eq!(scene.echo(b"on another core"), b"on another core");
}
