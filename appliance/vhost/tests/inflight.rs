//! Crash recovery, as front ends see it: those that keep to the protocol, and those that do not.

#![expect(unsafe_code, reason = "spans of regions that the tests keep")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_memory::{PeerMemory, Span};
use luge_seeded::{Random, fuzz};
use luge_spec::vhost_user::{DescriptorState, INFLIGHT_VERSION, InflightHeader, inflight_bytes};
use luge_virtqueue::Head;
use luge_virtqueue::rig::inflight_file;
use rig::client::{Client, Guest, Message, code, until};
use rig::house::{House, use_disk};
use rig::{Answer, Ask, Sent};
use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Entries of the rings of the rig's guests.
const ENTRIES: u16 = 64;

/// The payload of both messages.
#[derive(Clone, Copy, Debug)]
struct Layout {
    size: u64,
    offset: u64,
    queues: u16,
    entries: u16,
}

impl Layout {
    const fn of(queues: u16) -> Self {
        Self { size: inflight_bytes(ENTRIES) * queues as u64, offset: 0, queues, entries: ENTRIES }
    }

    fn bytes(self) -> Vec<u8> {
        let numbers = [self.queues, self.entries, 0, 0].map(u16::to_ne_bytes).concat();
        [[self.size, self.offset].map(u64::to_ne_bytes).concat(), numbers].concat()
    }
}

/// A region that a front end keeps.
struct Region {
    file: Arc<OwnedFd>,
    memory: PeerMemory,
    layout: Layout,
}

impl Region {
    fn new(file: OwnedFd, layout: Layout) -> Self {
        let memory = PeerMemory::map(&file, 0, layout.size).unwrap();
        Self { file: Arc::new(file), memory, layout }
    }

    /// A new region that the front end has made.
    fn fresh(queues: u16) -> Self {
        Self::new(inflight_file(queues, ENTRIES), Layout::of(queues))
    }

    fn message(&self) -> Message {
        let set = Message::set(code::SET_INFLIGHT_FD, self.layout.bytes());
        Message { files: vec![self.file.clone()], ..set }.acknowledged()
    }

    fn span(&self, queue: u16, offset: u64, len: u32) -> Span {
        // SAFETY: every test keeps its region.
        unsafe { self.memory.span(inflight_bytes(ENTRIES) * u64::from(queue) + offset, len) }.unwrap()
    }

    /// Chains in flight on all queues.
    fn marked(&self) -> usize {
        let is_marked = |&(queue, head): &(u16, u16)| {
            self.span(queue, 16 + 16 * u64::from(head), 1).first::<1>() != Some([0])
        };
        let queues = 0..self.layout.queues;
        queues.flat_map(|queue| (0..ENTRIES).map(move |head| (queue, head))).filter(is_marked).count()
    }

    /// The region of a process that was killed with these chains of queue 0 in flight, taken in this order.
    fn mark(&self, heads: &[Head]) {
        let header = InflightHeader {
            version: INFLIGHT_VERSION.into(),
            desc_num: ENTRIES.into(),
            ..InflightHeader::default()
        };
        self.span(0, 0, 16).write(header.as_bytes());
        for (head, counter) in heads.iter().zip(1_u64..) {
            let state =
                DescriptorState { inflight: 1, counter: counter.into(), ..DescriptorState::default() };
            self.span(0, 16 + 16 * u64::from(head.0), 16).write(state.as_bytes());
        }
    }
}

/// Asks for a region; none if the back end hangs up.
fn get(client: &Client, layout: Layout) -> Option<Region> {
    client.send(&Message::get(code::GET_INFLIGHT_FD, layout.bytes())).unwrap();
    let (mut bytes, mut files) = ([0; 36], Vec::new());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(&client.stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::WAITALL).ok()?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    let [word, offset] = [12, 20].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()));
    let layout = Layout { size: word, offset, ..layout };
    (got.bytes == 36).then(|| Region::new(files.pop().unwrap(), layout))
}

/// Plays what a front end says before it says anything of rings.
fn greet(house: &House, endpoint: usize, guest: &Guest) -> Client {
    let client = Client::connect(&house.path(endpoint));
    guest.greeting().iter().for_each(|message| drop(client.tell(message).unwrap()));
    client
}

/// Makes all rings run, at their used index, as QEMU does after a crash of the back end.
fn start_rings(client: &Client, guest: &Guest, base: u32) {
    let rings = u32::try_from(guest.rings.len()).unwrap();
    (0..rings)
        .flat_map(|index| guest.ring_setup(index, base))
        .for_each(|message| drop(client.tell(&message).unwrap()));
}

/// Whether the back end has carried out all it was told.
fn is_served(client: &Client) -> bool {
    client.tell(&Message::get(code::GET_FEATURES, vec![])).is_some()
}

/// The answers to requests that all are used once, in any order.
fn answers(guest: &mut Guest, sent: &[Sent]) -> Vec<Answer> {
    let queue = &mut guest.rings[0].queue;
    let mut answers = vec![None; sent.len()];
    until(|| {
        while let Some((head, written)) = queue.driver.take_used() {
            let at = sent.iter().position(|sent| sent.head == head).expect("a request of ours");
            let answer = queue.answer(&sent[at], written);
            assert_eq!(answers[at].replace(answer), None, "request {at} is answered twice");
        }
        answers.iter().all(Option::is_some)
    });
    answers.into_iter().flatten().collect()
}

#[test]
fn the_region_that_is_made_has_room_for_every_queue_and_keeps_its_size() {
    let house = House::new();
    let guest = Guest::new(2);
    let client = greet(&house, 0, &guest);
    let region = get(&client, Layout { size: 0, ..Layout::of(2) }).unwrap();
    assert_eq!(region.layout.size, 2 * inflight_bytes(ENTRIES));
    assert_eq!(region.layout.offset, 0);
    assert_eq!(region.marked(), 0);
    assert_eq!(ftruncate(&region.file, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&region.file, 1 << 20), Err(Errno::PERM));
}

#[test]
fn chains_are_marked_while_they_are_in_flight_and_none_is_when_the_rings_have_stopped() {
    let (house, delay) = House::slow(&[]);
    let mut guest = Guest::new(2);
    let client = greet(&house, 0, &guest);
    let region = get(&client, Layout::of(2)).unwrap();
    assert_eq!(client.number(&region.message()), Some(0));
    start_rings(&client, &guest, 0);
    delay.release();
    use_disk(&mut guest);
    delay.hold();
    let sent = [0, 1].map(|ring| guest.rings[ring].send(&Ask::read(0, 512)));
    until(|| region.marked() == 2);
    delay.release();
    let stop = |index: u32| Message::get(code::GET_VRING_BASE, [index, 0].map(u32::to_ne_bytes).concat());
    for (index, sent) in (0..).zip(&sent) {
        let stopped = client.tell(&stop(index)).unwrap();
        assert_eq!(stopped[4..8], 4_u32.to_ne_bytes(), "the next chain of ring {index}");
        assert_eq!(guest.rings[index as usize].answer(sent).status, 0);
    }
    assert_eq!(region.marked(), 0);
}

#[test]
fn requests_in_flight_at_a_crash_are_answered_once_and_so_are_those_behind_them() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let region = Region::fresh(1);
    let writes: Vec<_> =
        (0..6_u8).map(|n| guest.rings[0].queue.send(&Ask::write(u64::from(n), &[n; 512]))).collect();
    // The process that was killed had taken four, and answered the second in a batch of its own.
    guest.rings[0].queue.driver.use_as_device(writes[1].head, 1);
    let [first, _, third, fourth] = [0, 1, 2, 3].map(|at| writes[at].head);
    region.mark(&[first, third, fourth]);
    let header = InflightHeader { used_idx: 1.into(), ..header_of(&region) };
    region.span(0, 0, 16).write(header.as_bytes());
    let client = greet(&house, 0, &guest);
    assert_eq!(client.number(&region.message()), Some(0));
    start_rings(&client, &guest, 1);
    assert!(answers(&mut guest, &writes).iter().enumerate().all(|(n, answer)| n == 1 || answer.status == 0));
    assert_eq!(region.marked(), 0);
    assert_eq!(guest.rings[0].ask(&Ask::read(5, 512)).data, [5; 512]);
}

fn header_of(region: &Region) -> InflightHeader {
    InflightHeader::read_from_bytes(&region.span(0, 0, 16).first::<16>().unwrap()).unwrap()
}

#[test]
fn rings_that_run_are_tracked_from_the_moment_a_region_is_named() {
    let house = House::new();
    let mut guest = Guest::new(2);
    let client = guest.connect(&house.path(0));
    use_disk(&mut guest);
    let region = Region::fresh(2);
    assert_eq!(client.number(&region.message()), Some(0));
    use_disk(&mut guest);
    assert_eq!(header_of(&region).used_idx, 6, "three requests of each round");
}

#[test]
fn queues_that_a_region_has_no_part_for_are_served_without_one() {
    let house = House::new();
    let mut guest = Guest::new(2);
    let client = greet(&house, 0, &guest);
    let region = Region::fresh(1);
    assert_eq!(client.number(&region.message()), Some(0));
    start_rings(&client, &guest, 0);
    use_disk(&mut guest);
    assert!(is_served(&client));
}

#[test]
fn a_region_that_cannot_be_costs_its_front_end_and_nobody_else() {
    let house = House::on(&[House::disk(), House::disk()]);
    let mut bystander = Guest::new(1);
    let _bystanders = bystander.connect(&house.path(1));
    let usual = Layout::of(1);
    let bytes = usual.size;
    let cases = [
        Layout { size: bytes - 1, ..usual },
        Layout { size: 0, ..usual },
        Layout { offset: 1 << 20, ..usual },
        Layout { offset: u64::MAX, ..usual },
        Layout { size: u64::MAX, offset: u64::MAX - 4095, ..usual },
        Layout { offset: 4, ..usual },
        Layout { queues: 5, size: bytes * 5, ..usual },
        Layout { queues: u16::MAX, size: u64::MAX, ..usual },
        Layout { entries: u16::MAX, size: u64::MAX, ..usual },
        Layout { entries: 32, ..usual },
        Layout { queues: 0, ..usual },
    ];
    for layout in cases {
        let guest = Guest::new(1);
        let client = greet(&house, 0, &guest);
        let region = Region { layout, ..Region::fresh(1) };
        // It is refused at once, or where a ring is to start with it.
        let _ = client.tell(&region.message());
        guest.ring_setup(0, 0).iter().for_each(|message| _ = client.send(message));
        assert!(client.is_cut_off(), "{layout:?}");
        use_disk(&mut bystander);
    }
    for layout in [Layout { queues: 5, ..usual }, Layout { entries: 32769, ..usual }] {
        let client = greet(&house, 0, &Guest::new(1));
        assert!(get(&client, layout).is_none(), "{layout:?}");
    }
}

#[test]
fn a_file_that_is_no_memory_is_refused() {
    let house = House::new();
    let client = greet(&house, 0, &Guest::new(1));
    let file = Arc::new(OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap()));
    let message = Message { files: vec![file], ..Region::fresh(1).message() };
    client.send(&message).unwrap();
    assert!(client.is_cut_off());
}

#[test]
fn a_region_that_its_front_end_takes_away_costs_that_front_end_and_nobody_else() {
    let house = House::on(&[House::disk(), House::disk()]);
    let mut bystander = Guest::new(1);
    let _bystanders = bystander.connect(&house.path(1));
    let mut guest = Guest::new(1);
    let client = greet(&house, 0, &guest);
    let region = Region::fresh(1);
    assert_eq!(client.number(&region.message()), Some(0));
    start_rings(&client, &guest, 0);
    use_disk(&mut guest);
    ftruncate(&region.file, 0).unwrap();
    guest.rings[0].send(&Ask::flush());
    assert!(client.is_cut_off());
    use_disk(&mut bystander);
    until(|| house.endpoint(0).status().front_end.is_none());
}

#[test]
fn a_region_whose_pages_are_punched_out_is_all_zeroes_and_the_ring_goes_on() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let client = greet(&house, 0, &guest);
    let region = get(&client, Layout::of(1)).unwrap();
    assert_eq!(client.number(&region.message()), Some(0));
    start_rings(&client, &guest, 0);
    use_disk(&mut guest);
    fallocate(&*region.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, region.layout.size)
        .unwrap();
    use_disk(&mut guest);
    assert!(is_served(&client));
}

#[test]
fn whatever_is_in_a_region_the_next_front_end_is_served() {
    let house = House::new();
    fuzz(|random| {
        let mut guest = Guest::new(1);
        let sent = random.below(5_u64);
        for n in 0..sent {
            guest.rings[0].queue.send(&Ask::read(n, 512));
        }
        let region = Region::fresh(1);
        hostile(&region, random);
        let client = greet(&house, 0, &guest);
        let _ = client.tell(&region.message());
        guest.ring_setup(0, 0).iter().for_each(|message| _ = client.send(message));
        let _ = is_served(&client);
        drop(client);
        let mut next = Guest::new(1);
        let _client = next.connect(&house.path(0));
        use_disk(&mut next);
    });
}

/// Fills a region with what looks like one, mostly.
fn hostile(region: &Region, random: &mut Random) {
    let mut small = |max: u32| u16::try_from(random.below(max)).unwrap();
    let header = InflightHeader {
        features: u64::from(small(8) == 0).into(),
        version: (small(8) / 7 + 1).into(),
        desc_num: if small(8) == 0 { small(65536) } else { ENTRIES }.into(),
        last_batch_head: small(66).into(),
        used_idx: if small(2) == 0 { 0 } else { small(65536) }.into(),
    };
    region.span(0, 0, 16).write(header.as_bytes());
    for head in 0..ENTRIES {
        let state = DescriptorState {
            inflight: u8::from(small(16) == 0),
            padding: [0; 5],
            next: small(66).into(),
            counter: u64::from(small(3)).into(),
        };
        region.span(0, 16 + 16 * u64::from(head), 16).write(state.as_bytes());
    }
}
