//! A disk that is resized while a guest uses it, and what its front end is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, Device};
use luge_spec::vhost_user::{BackendMessage, ConfigAnswer};
use luge_vhost::{BlkDevice, ConfigKnowledge, EndpointStatus, Notice};
use rig::Ask;
use rig::client::{Client, DEADLINE, Guest, Message, PROTOCOL, code, until};
use rig::house::House;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Protocol features.
const REPLY_ACK: u64 = 1 << 3;
const CONFIG: u64 = 1 << 9;

/// Blocks of the disk before and after.
const BEFORE: u64 = 2048;
const AFTER: u64 = 4096;

/// A disk with a front end that has given a channel.
struct Scene {
    disk: Arc<BlkDevice>,
    device: Arc<dyn Device>,
    guest: Guest,
    client: Client,
    channel: UnixStream,
    /// Last: it stops the cores that serve the disk.
    house: House,
}

impl Scene {
    /// A scene whose front end has these features of vhost-user, and whose rings run.
    fn new(features: u64) -> Self {
        let device = House::disk();
        let mut house = House::on(&[]);
        let disk = house.serve(0, house.disk_config(device.clone()));
        let (guest, client) = (Guest::new(2), Client::connect(&house.path(0)));
        let (channel, theirs) = UnixStream::pair().unwrap();
        channel.set_read_timeout(Some(DEADLINE)).unwrap();
        let scene = Self { disk, device, guest, client, channel, house };
        scene.connect(features, theirs);
        scene
    }

    fn connect(&self, features: u64, channel: UnixStream) {
        let channel = Message {
            files: vec![Arc::new(OwnedFd::from(channel))],
            ..Message::set(code::SET_BACKEND_REQ_FD, vec![])
        };
        for message in self.guest.script() {
            let message = match message.code {
                code::SET_PROTOCOL_FEATURES => Message::set_u64(message.code, features),
                code::GET_CONFIG if features & CONFIG == 0 => continue,
                _ => message,
            };
            self.client.tell(&message).unwrap();
            if message.code == code::SET_PROTOCOL_FEATURES {
                self.client.tell(&channel).unwrap();
            }
        }
        self.fence();
    }

    /// Waits until all messages before have been carried out.
    fn fence(&self) {
        self.client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
    }

    fn resize(&self, blocks: u64) {
        self.device.resize(Blocks(blocks)).unwrap();
        self.house.cores.iter().for_each(|core| core.resize(&self.device));
        assert!(self.disk.resize());
        self.house.endpoint(0).notices().changed();
    }

    /// Size that the front end reads, in sectors.
    fn capacity(&self) -> u64 {
        let answer = self.client.tell(&Message::config(0, 60)).unwrap();
        u64::from_ne_bytes(answer[12..20].try_into().unwrap())
    }

    /// The next message on the channel.
    fn notice(&mut self) -> BackendMessage {
        let mut bytes = [0; size_of::<BackendMessage>()];
        self.channel.read_exact(&mut bytes).unwrap();
        BackendMessage::read_from_bytes(&bytes).unwrap()
    }

    /// Whether the back end closes the channel.
    fn channel_is_closed(&mut self) -> bool {
        match self.channel.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            // It has not read all that was sent.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    fn acknowledge(&mut self, value: u64) {
        let header = BackendMessage { request: 2.into(), flags: 5.into(), size: 8.into() };
        self.channel.write_all(ConfigAnswer { header, value: value.into() }.as_bytes()).unwrap();
    }

    fn knowledge(&self) -> ConfigKnowledge {
        let EndpointStatus { config, .. } = self.house.endpoint(0).status();
        config.unwrap()
    }

    fn eventually_has(&self, notice: Notice) {
        until(|| self.knowledge().notice == notice);
    }
}

#[test]
fn blocks_beyond_the_old_end_are_served_on_every_ring_and_hold_what_was_written_before() {
    let mut scene = Scene::new(PROTOCOL);
    let (early, late) = (vec![1; 512], vec![2; 512]);
    assert_eq!(scene.guest.rings[0].ask(&Ask::write(BEFORE - 1, &early)).status, 0);
    assert_eq!(scene.guest.rings[0].ask(&Ask::write(BEFORE, &late)).status, 1);
    scene.resize(AFTER);
    assert_eq!(scene.capacity(), AFTER);
    for ring in &mut scene.guest.rings {
        assert_eq!(ring.ask(&Ask::read(BEFORE - 1, 512)).data, early);
        assert_eq!(ring.ask(&Ask::write(AFTER - 1, &late)).status, 0);
        assert_eq!(ring.ask(&Ask::read(AFTER - 1, 512)).data, late);
        assert_eq!(ring.ask(&Ask::read(AFTER, 512)).status, 1);
    }
}

#[test]
fn a_front_end_that_acknowledges_is_told_and_seen_to_have_read_the_new_size() {
    let mut scene = Scene::new(PROTOCOL);
    assert_eq!(scene.knowledge(), ConfigKnowledge { is_current: true, notice: Notice::None });
    scene.resize(AFTER);
    assert_eq!(scene.notice(), BackendMessage { request: 2.into(), flags: 9.into(), size: 0.into() });
    assert_eq!(scene.knowledge(), ConfigKnowledge { is_current: false, notice: Notice::Awaited });
    assert_eq!(scene.capacity(), AFTER);
    scene.acknowledge(0);
    scene.eventually_has(Notice::Acknowledged);
    assert!(scene.knowledge().is_current);
}

#[test]
fn a_front_end_that_does_not_answer_delays_nobody_and_is_told_once() {
    let mut scene = Scene::new(PROTOCOL);
    scene.resize(AFTER);
    scene.resize(2 * AFTER);
    scene.resize(3 * AFTER);
    assert_eq!(scene.knowledge(), ConfigKnowledge { is_current: false, notice: Notice::Awaited });
    assert_eq!(scene.guest.rings[0].ask(&Ask::write(3 * AFTER - 1, &[3; 512])).status, 0);
    scene.notice();
    scene.acknowledge(0);
    // Of the changes meanwhile it is told now, by one message.
    scene.notice();
    scene.acknowledge(1);
    scene.eventually_has(Notice::Failed);
    assert!(!scene.knowledge().is_current);
    scene.house.endpoints.pop().unwrap().stop();
    assert!(scene.channel_is_closed());
}

#[test]
fn a_front_end_without_acknowledgements_is_told_each_time() {
    let mut scene = Scene::new(PROTOCOL & !REPLY_ACK);
    for blocks in [AFTER, 2 * AFTER] {
        scene.resize(blocks);
        assert_eq!(scene.notice(), BackendMessage { request: 2.into(), flags: 1.into(), size: 0.into() });
        assert_eq!(scene.knowledge().notice, Notice::Sent);
        assert_eq!(scene.capacity(), blocks);
        assert!(scene.knowledge().is_current);
    }
}

#[test]
fn a_channel_that_is_full_is_written_to_no_more_and_nobody_waits_for_it() {
    let scene = Scene::new(PROTOCOL & !REPLY_ACK);
    // More messages than any socket takes.
    let mut blocks = BEFORE;
    for _ in 0..1000 {
        blocks += 8;
        scene.resize(blocks);
    }
    assert!(!scene.knowledge().is_current);
    assert_eq!(scene.capacity(), blocks);
    assert!(scene.knowledge().is_current);
}

#[test]
fn a_front_end_without_the_feature_is_told_nothing_and_known_not_to_be_told() {
    let mut scene = Scene::new(PROTOCOL & !CONFIG);
    scene.resize(AFTER);
    assert_eq!(scene.knowledge(), ConfigKnowledge { is_current: false, notice: Notice::Impossible });
    assert_eq!(scene.guest.rings[0].ask(&Ask::read(AFTER - 1, 512)).status, 0);
    scene.house.endpoints.pop().unwrap().stop();
    let mut rest = Vec::new();
    scene.channel.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_front_end_that_connects_after_the_change_and_does_not_look_is_told_when_its_rings_start() {
    let device = House::disk();
    let mut house = House::on(&[]);
    let disk = house.serve(0, house.disk_config(device.clone()));
    device.resize(Blocks(AFTER)).unwrap();
    assert!(disk.resize());
    house.endpoint(0).notices().changed();
    let (guest, client) = (Guest::new(1), Client::connect(&house.path(0)));
    let (mut channel, theirs) = UnixStream::pair().unwrap();
    channel.set_read_timeout(Some(DEADLINE)).unwrap();
    let brings = Message {
        files: vec![Arc::new(OwnedFd::from(theirs))],
        ..Message::set(code::SET_BACKEND_REQ_FD, vec![])
    };
    for message in guest.script().iter().filter(|message| message.code != code::GET_CONFIG) {
        client.tell(message).unwrap();
        if message.code == code::SET_PROTOCOL_FEATURES {
            client.tell(&brings).unwrap();
        }
    }
    let mut bytes = [0; size_of::<BackendMessage>()];
    channel.read_exact(&mut bytes).unwrap();
    assert_eq!(BackendMessage::read_from_bytes(&bytes).unwrap(), BackendMessage::config_change(true));
}

#[test]
fn nonsense_on_the_channel_costs_the_channel_and_nothing_else() {
    let answer = |request: u32, flags: u32, size: u32| {
        let header = BackendMessage { request: request.into(), flags: flags.into(), size: size.into() };
        ConfigAnswer { header, value: 0.into() }.as_bytes().to_vec()
    };
    for nonsense in [answer(1, 5, 8), answer(2, 1, 8), answer(2, 6, 8), answer(2, 5, 16), vec![0xff; 4096]] {
        let mut scene = Scene::new(PROTOCOL);
        scene.resize(AFTER);
        scene.notice();
        scene.channel.write_all(&nonsense).unwrap();
        assert!(scene.channel_is_closed(), "{nonsense:?}");
        assert_eq!(scene.guest.rings[1].ask(&Ask::read(AFTER - 1, 512)).status, 0);
        assert_eq!(scene.capacity(), AFTER);
    }
}

#[test]
fn an_answer_that_nobody_awaits_costs_the_channel() {
    let mut scene = Scene::new(PROTOCOL);
    scene.acknowledge(0);
    assert!(scene.channel_is_closed());
    scene.resize(AFTER);
    assert_eq!(scene.knowledge(), ConfigKnowledge { is_current: false, notice: Notice::Impossible });
    assert_eq!(scene.capacity(), AFTER);
}

#[test]
fn an_answer_may_come_byte_by_byte() {
    let mut scene = Scene::new(PROTOCOL);
    scene.resize(AFTER);
    let header = scene.notice();
    assert_eq!(header.request.get(), BackendMessage::CONFIG_CHANGE);
    let header = BackendMessage { request: 2.into(), flags: 5.into(), size: 8.into() };
    for byte in (ConfigAnswer { header, value: 0.into() }).as_bytes() {
        assert_eq!(scene.knowledge().notice, Notice::Awaited);
        scene.channel.write_all(&[*byte]).unwrap();
        scene.fence();
    }
    scene.eventually_has(Notice::Acknowledged);
}
