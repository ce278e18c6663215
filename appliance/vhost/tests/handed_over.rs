//! A connection that changes its endpoint in the middle, by way of plain data and files, as between two
//! processes. Its front end sends nothing for that, and notices nothing.

#![expect(unsafe_code, reason = "an ioctl shows how much of a message was received")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::Device;
use luge_seeded::Random;
use luge_spec::vhost_user::inflight_bytes;
use luge_vhost::{BlkDevice, ConnectionState, Endpoint, HandedOver};
use luge_virtqueue::rig::inflight_file;
use rig::client::{Client, Guest, Message, code, idle, new_eventfd, until, wait_for};
use rig::house::{House, use_disk};
use rig::{Ask, Sent};
use rustix::ioctl::{Getter, ioctl};
use std::sync::Arc;

/// Sectors that are read and written, and those of one request.
const SECTORS: u64 = 1024;
const STEP: u64 = 2;

/// A guest, its front end, and the endpoint that serves both now.
struct Scene {
    house: House,
    device: Arc<dyn Device>,
    guest: Guest,
    client: Client,
    disk: Vec<u8>,
}

/// A request that was sent, and the data that it reads.
struct Waiting {
    ring: usize,
    sent: Sent,
    data: Vec<u8>,
}

impl Scene {
    fn new(guest: Guest) -> Self {
        let device = House::disk();
        let house = House::on(std::slice::from_ref(&device));
        let client = guest.connect(&house.path(0));
        Self { house, device, guest, client, disk: vec![0; usize::try_from(512 * SECTORS).unwrap()] }
    }

    fn hand_over(&mut self) -> HandedOver {
        carried(self.house.endpoints.pop().unwrap().hand_over().unwrap())
    }

    /// Starts an endpoint that serves the connection on.
    fn resume(&mut self, connection: HandedOver) {
        let disk = self.house.disk_config(self.device.clone());
        let disk = Arc::new(BlkDevice::open(disk).unwrap());
        self.house.endpoints.push(Endpoint::resume(self.house.config(0, disk), connection).unwrap());
    }

    fn change_endpoint(&mut self) {
        let connection = self.hand_over();
        self.resume(connection);
    }

    /// Sends a request to some ring. Two that overlap are never in flight: each ring has sectors of its own.
    fn send(&mut self, random: &mut Random) -> Waiting {
        let ring = random.below(self.guest.rings.len());
        let share = SECTORS / self.guest.rings.len() as u64;
        let sector = ring as u64 * share + STEP * random.below(share / STEP);
        let start = usize::try_from(512 * sector).unwrap();
        let stored = &mut self.disk[start..start + usize::try_from(512 * STEP).unwrap()];
        if random.once_in(2) {
            stored.fill(random.number().to_le_bytes()[0]);
            let sent = self.guest.rings[ring].send(&Ask::write(sector, stored));
            return Waiting { ring, sent, data: vec![] };
        }
        let data = stored.to_vec();
        Waiting { ring, sent: self.guest.rings[ring].send(&Ask::read(sector, 1024)), data }
    }

    /// Waits for the answer to a request: once, and with its data.
    fn check(&mut self, Waiting { ring, sent, data }: &Waiting) {
        let answer = self.guest.rings[*ring].answer(sent);
        assert_eq!(answer.status, 0);
        assert!(answer.data == *data, "not what was written");
    }

    fn acknowledge(&self, message: Message) {
        assert_eq!(self.client.number(&message.acknowledged()), Some(0));
    }
}

/// The connection as another process gets it: its state as text, its files as duplicates.
fn carried(HandedOver { socket, state, files }: HandedOver) -> HandedOver {
    let text = serde_json::to_string(&state).unwrap();
    let read: ConnectionState = serde_json::from_str(&text).unwrap();
    assert_eq!(read, state);
    let files = files.iter().map(|file| file.try_clone().unwrap()).collect();
    HandedOver { socket: socket.try_clone().unwrap(), state: read, files }
}

fn stop(index: u32) -> Message {
    Message::get(code::GET_VRING_BASE, [index, 0].map(u32::to_ne_bytes).concat())
}

#[test]
fn requests_before_during_and_after_a_change_of_the_endpoint_are_answered_once_with_their_data() {
    let (mut scene, mut random) = (Scene::new(Guest::new(2)), Random::new(1));
    for _ in 0..6 {
        for _ in 0..20 {
            let waiting = scene.send(&mut random);
            scene.check(&waiting);
        }
        let before = scene.send(&mut random);
        let connection = scene.hand_over();
        scene.check(&before);
        let between = scene.send(&mut random);
        scene.resume(connection);
        scene.check(&between);
    }
}

#[test]
fn a_front_end_goes_on_with_messages_of_every_kind() {
    let mut scene = Scene::new(Guest::new(2));
    use_disk(&mut scene.guest);
    scene.change_endpoint();
    scene.acknowledge(Message::memory_table(&scene.guest.files));
    use_disk(&mut scene.guest);
    let (layout, file) = Guest::more_memory(0x2_0000_0000, 0x1_0000);
    scene.acknowledge(Message::memory_region(code::ADD_MEM_REG, &layout, Some(&file)));
    scene.change_endpoint();
    scene.acknowledge(Message::memory_region(code::REM_MEM_REG, &layout, None));
    let call = new_eventfd();
    scene.acknowledge(Message::eventfd(code::SET_VRING_CALL, 0, Some(&call)));
    assert!(wait_for(&call), "a new call is signalled once");
    scene.acknowledge(Message::ring(code::SET_VRING_ENABLE, 1, 0));
    scene.acknowledge(Message::ring(code::SET_VRING_ENABLE, 1, 1));
    use_disk(&mut scene.guest);
    scene.change_endpoint();
    assert!(wait_for(&call), "and once by each process that has it");
    let stopped = scene.client.tell(&stop(0)).unwrap();
    assert_eq!(stopped[4..8], 9_u32.to_ne_bytes(), "three requests in each of three rounds");
    scene.change_endpoint();
    for message in scene.guest.ring_setup(0, 9) {
        scene.acknowledge(message);
    }
    use_disk(&mut scene.guest);
}

#[test]
fn a_message_that_nobody_has_read_is_answered_by_the_next_process() {
    let mut scene = Scene::new(Guest::new(1));
    let connection = scene.hand_over();
    scene.client.send(&Message::config(0, 60)).unwrap();
    scene.resume(connection);
    assert_eq!(scene.client.receive().map(|answer| answer.len()), Some(12 + 60));
    use_disk(&mut scene.guest);
}

#[test]
fn a_connection_in_the_middle_of_its_set_up_goes_on_with_it() {
    let messages = Guest::new(1).script().len();
    for at in 0..=messages {
        let (device, mut guest) = (House::disk(), Guest::new(1));
        let house = House::on(std::slice::from_ref(&device));
        let client = Client::connect(&house.path(0));
        until(|| house.endpoint(0).status().front_end.is_some());
        let script = guest.script();
        script[..at].iter().for_each(|message| drop(client.tell(message).unwrap()));
        let mut scene = Scene { house, device, guest: Guest::new(0), client, disk: vec![] };
        scene.change_endpoint();
        script[at..].iter().for_each(|message| drop(scene.client.tell(message).unwrap()));
        use_disk(&mut guest);
        scene.acknowledge(Message::ring(code::SET_VRING_ENABLE, 0, 1));
    }
}

#[test]
fn rings_that_are_tracked_are_tracked_on() {
    let mut scene = Scene::new(Guest::new(2));
    let file = Arc::new(inflight_file(2, 64));
    let layout = [inflight_bytes(64) * 2, 0].map(u64::to_ne_bytes).concat();
    let layout = [layout, [2_u16, 64, 0, 0].map(u16::to_ne_bytes).concat()].concat();
    let set = Message { files: vec![file.clone()], ..Message::set(code::SET_INFLIGHT_FD, layout) };
    scene.acknowledge(set);
    use_disk(&mut scene.guest);
    let connection = scene.hand_over();
    let tracked = connection.state.queues.iter().filter_map(|queue| queue.ring);
    assert_eq!(tracked.map(|running| running.ring.is_tracked).collect::<Vec<_>>(), [true, true]);
    scene.resume(connection);
    use_disk(&mut scene.guest);
    let mut used = [0; 2];
    rustix::io::pread(&*file, &mut used, 14).unwrap();
    assert_eq!(u16::from_le_bytes(used), 6, "three requests of each round are noted");
}

#[test]
fn requests_in_flight_are_answered_before_the_connection_is_handed_over() {
    let (house, delay) = House::slow(&[]);
    let guest = Guest::new(1);
    let client = guest.connect(&house.path(0));
    let mut scene = Scene { house, device: House::disk(), guest, client, disk: vec![] };
    delay.hold();
    let sent = scene.guest.rings[0].send(&Ask::write(0, &[7; 512]));
    until(|| {
        let front_end = scene.house.endpoint(0).status().front_end.unwrap();
        front_end.queues[0].in_flight == 1
    });
    let endpoint = scene.house.endpoints.pop().unwrap();
    let waits = std::thread::spawn(move || endpoint.hand_over());
    idle();
    assert!(!waits.is_finished(), "a request is in flight");
    delay.release();
    let connection = waits.join().unwrap().unwrap();
    assert_eq!(scene.guest.rings[0].answer(&sent).status, 0);
    scene.resume(carried(connection));
    use_disk(&mut scene.guest);
}

#[test]
fn a_ring_that_its_guest_has_broken_stays_so_and_the_others_go_on() {
    let mut scene = Scene::new(Guest::new(2));
    scene.guest.rings[0].queue.driver.set_available_index(1000);
    rig::client::signal(&scene.guest.rings[0].kick);
    assert!(wait_for(&scene.guest.rings[0].error));
    scene.change_endpoint();
    let status = || scene.house.endpoint(0).status().front_end.unwrap().queues;
    until(|| status().len() == 2);
    assert!(status()[0].broken);
    assert!(!status()[1].broken);
    assert_eq!(scene.guest.rings[1].ask(&Ask::read(0, 512)).status, 0);
}

#[test]
fn an_endpoint_without_a_front_end_hands_nothing_over() {
    let mut house = House::new();
    assert!(house.endpoints.pop().unwrap().hand_over().is_none());
}

#[test]
fn front_ends_that_wait_are_not_handed_over_and_connect_again() {
    let mut scene = Scene::new(Guest::new(1));
    let waits = Client::connect(&scene.house.path(0));
    until(|| scene.house.endpoint(0).status().counts.waiting == 1);
    scene.change_endpoint();
    assert!(waits.is_cut_off());
    use_disk(&mut scene.guest);
}

/// A connection of two queues with one thing wrong.
type Spoil = fn(&mut HandedOver);

#[test]
fn a_connection_whose_state_cannot_be_is_closed_and_the_next_one_is_served() {
    let cases: [(&str, Spoil); 10] = [
        ("too few files", |connection| drop(connection.files.pop())),
        ("too many files", |connection| {
            let more = connection.files[0].try_clone().unwrap();
            connection.files.push(more);
        }),
        ("no files", |connection| connection.files.clear()),
        ("files in another order", |connection| connection.files.reverse()),
        ("features", |connection| connection.state.features = 1 << 60),
        ("acknowledged features", |connection| connection.state.negotiated.features = 1 << 60),
        ("queues", |connection| connection.state.queues.resize(500, Default::default())),
        ("size", |connection| connection.state.queues[0].size = Some(3)),
        ("another ring", |connection| connection.state.queues[1].size = Some(32)),
        ("no region", |connection| {
            connection.state.regions.remove(0);
            connection.files.remove(0);
        }),
    ];
    for (name, spoil) in cases {
        let mut scene = Scene::new(Guest::new(2));
        let mut connection = scene.hand_over();
        spoil(&mut connection);
        scene.resume(connection);
        assert!(scene.client.is_cut_off(), "{name}");
        until(|| scene.house.endpoint(0).status().front_end.is_none());
        assert_eq!(scene.house.endpoint(0).status().counts.protocol_errors, 1, "{name}");
        let mut next = Guest::new(1);
        let _client = next.connect(&scene.house.path(0));
        use_disk(&mut next);
    }
}

#[test]
fn memory_that_is_gone_before_it_is_mapped_again_ends_the_connection() {
    let mut scene = Scene::new(Guest::new(1));
    let (layout, file) = Guest::more_memory(0x2_0000_0000, 0x1_0000);
    scene.acknowledge(Message::memory_region(code::ADD_MEM_REG, &layout, Some(&file)));
    let connection = scene.hand_over();
    rustix::fs::ftruncate(&*file, 0).unwrap();
    scene.resume(connection);
    assert!(scene.client.is_cut_off(), "the region can no longer be mapped");
}

/// Memory of what a front end has sent and the back end has not received, in bytes.
fn unread_bytes(client: &Client) -> i32 {
    // SAFETY: `TIOCOUTQ` stores an integer.
    let getter = unsafe { Getter::<0x5411, i32>::new() };
    // SAFETY: as above, into the getter.
    unsafe { ioctl(&client.stream, getter) }.unwrap()
}

#[test]
fn a_front_end_that_does_not_end_its_message_is_cut_off_and_delays_nobody_for_long() {
    let mut scene = Scene::new(Guest::new(1));
    let message = Message::config(0, 60).bytes();
    scene.client.send_bytes(&message[..6], &[]).unwrap();
    until(|| unread_bytes(&scene.client) == 0);
    let sent = scene.guest.rings[0].send(&Ask::write(0, &[7; 512]));
    assert!(scene.house.endpoints.pop().unwrap().hand_over().is_none());
    assert!(scene.client.is_cut_off());
    assert_eq!(scene.guest.rings[0].answer(&sent).status, 0, "all that was taken is answered");
}
