//! A vhost-user front end, message by message: one that keeps to the protocol, and the means
//! not to.

use super::{Answer, Ask, Queue, Sent};
use luge_memory::{GuestAddress, RegionLayout};
use luge_spec::virtio::Features;
use luge_virtqueue::rig::{Driver, RigMemory};
use luge_virtqueue::{Notifications, RingLayout};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing takes as long as this, however busy the machine is.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Message types.
pub mod code {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const SET_BACKEND_REQ_FD: u32 = 21;
    pub const GET_CONFIG: u32 = 24;
    pub const SET_CONFIG: u32 = 25;
    pub const GET_INFLIGHT_FD: u32 = 31;
    pub const SET_INFLIGHT_FD: u32 = 32;
    pub const RESET_DEVICE: u32 = 34;
    pub const GET_MAX_MEM_SLOTS: u32 = 36;
    pub const ADD_MEM_REG: u32 = 37;
    pub const REM_MEM_REG: u32 = 38;
}

/// Protocol features: MQ, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, RESET_DEVICE,
/// CONFIGURE_MEM_SLOTS.
pub const PROTOCOL: u64 = 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    pub code: u32,
    pub flags: u32,
    pub payload: Vec<u8>,
    pub files: Vec<Arc<OwnedFd>>,
    /// Whether the back end answers it, besides acknowledging it.
    pub answered: bool,
}

impl Message {
    /// A message that is acknowledged if the feature was negotiated.
    pub fn set(code: u32, payload: Vec<u8>) -> Self {
        Self { code, flags: 1, payload, files: vec![], answered: false }
    }

    pub fn set_u64(code: u32, value: u64) -> Self {
        Self::set(code, value.to_ne_bytes().to_vec())
    }

    /// A message about a ring.
    pub fn ring(code: u32, index: u32, value: u32) -> Self {
        Self::set(code, [index.to_ne_bytes(), value.to_ne_bytes()].concat())
    }

    /// A ring's eventfd, or none.
    pub fn eventfd(code: u32, index: u64, file: Option<&Arc<OwnedFd>>) -> Self {
        let flag = if file.is_some() { 0 } else { 0x100 };
        Self { files: file.cloned().into_iter().collect(), ..Self::set_u64(code, index | flag) }
    }

    /// A message that is answered.
    pub fn get(code: u32, payload: Vec<u8>) -> Self {
        Self { answered: true, ..Self::set(code, payload) }
    }

    /// Asks to be told whether it was carried out.
    pub fn acknowledged(self) -> Self {
        Self { flags: self.flags | 8, ..self }
    }

    pub fn config(offset: u32, size: u32) -> Self {
        let header = [offset, size, 0].map(u32::to_ne_bytes).concat();
        Self::get(code::GET_CONFIG, [header, vec![0; size as usize]].concat())
    }

    pub fn ring_addresses(index: u32, layout: &RingLayout) -> Self {
        let driver = |at| RigMemory::driver_address(at).0;
        let RingLayout { descriptors, used, available, .. } = *layout;
        let addresses = [driver(descriptors), driver(used), driver(available), 0];
        let ring = [index.to_ne_bytes(), 0_u32.to_ne_bytes()].concat();
        Self::set(code::SET_VRING_ADDR, [ring, addresses.map(u64::to_ne_bytes).concat()].concat())
    }

    pub fn memory_table(regions: &[(RegionLayout, Arc<OwnedFd>)]) -> Self {
        let count = u64::try_from(regions.len()).unwrap();
        let mut payload = count.to_ne_bytes().to_vec();
        regions.iter().for_each(|(layout, _)| payload.extend(region(layout)));
        let files = regions.iter().map(|(_, file)| file.clone()).collect();
        Self { files, ..Self::set(code::SET_MEM_TABLE, payload) }
    }

    /// One region, to be added or removed.
    pub fn memory_region(code: u32, layout: &RegionLayout, file: Option<&Arc<OwnedFd>>) -> Self {
        let payload = [vec![0; 8], region(layout)].concat();
        Self { files: file.cloned().into_iter().collect(), ..Self::set(code, payload) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.payload.len()).unwrap();
        [[self.code, self.flags, len].map(u32::to_ne_bytes).concat(), self.payload.clone()].concat()
    }
}

fn region(layout: &RegionLayout) -> Vec<u8> {
    [layout.guest.0, layout.len, layout.driver.0, layout.file_offset].map(u64::to_ne_bytes).concat()
}

/// A connection to an endpoint.
pub struct Client {
    pub stream: UnixStream,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream }
    }

    /// Sends bytes, and files along with the first of them.
    pub fn send_bytes(&self, bytes: &[u8], files: &[Arc<OwnedFd>]) -> rustix::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        }
        sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    }

    pub fn send(&self, message: &Message) -> rustix::io::Result<usize> {
        self.send_bytes(&message.bytes(), &message.files)
    }

    /// The payload of the next answer; none if the back end has hung up.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut header = [0; 12];
        (&self.stream).read_exact(&mut header).ok()?;
        let len = u32::from_ne_bytes(header[8..].try_into().unwrap());
        let mut payload = vec![0; len as usize];
        (&self.stream).read_exact(&mut payload).ok()?;
        Some(payload)
    }

    /// Sends a message, and waits for the answer or the acknowledgement that it asks for.
    pub fn tell(&self, message: &Message) -> Option<Vec<u8>> {
        self.send(message).ok()?;
        if message.answered || message.flags & 8 != 0 { self.receive() } else { Some(vec![]) }
    }

    /// The number in an answer.
    pub fn number(&self, message: &Message) -> Option<u64> {
        let payload = self.tell(message)?;
        Some(u64::from_ne_bytes(payload.get(..8)?.try_into().ok()?))
    }

    /// Whether the back end hangs up.
    pub fn is_cut_off(&self) -> bool {
        let mut byte = [0];
        loop {
            match (&self.stream).read(&mut byte) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

pub fn new_eventfd() -> Arc<OwnedFd> {
    Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap())
}

pub fn signal(file: &OwnedFd) {
    rustix::io::write(file, &1_u64.to_ne_bytes()).unwrap();
}

/// Whether an eventfd is signalled within the deadline; it is emptied.
pub fn wait_for(file: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    let deadline = Timespec { tv_sec: i64::try_from(DEADLINE.as_secs()).unwrap(), tv_nsec: 0 };
    poll(&mut polled, Some(&deadline)).unwrap();
    rustix::io::read(file, &mut [0_u8; 8]).is_ok()
}

/// Waits until something is so.
pub fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be");
        std::thread::yield_now();
    }
}

/// Lets time pass in which nothing happens: longer than a core polls before it sleeps.
pub fn idle() {
    let start = Instant::now();
    until(|| start.elapsed() > Duration::from_millis(5));
}

/// A ring of a guest, and its eventfds.
pub struct GuestRing {
    pub queue: Queue,
    pub layout: RingLayout,
    pub kick: Arc<OwnedFd>,
    pub call: Arc<OwnedFd>,
    pub error: Arc<OwnedFd>,
}

impl GuestRing {
    /// Puts a request into the ring, and kicks if the device wants it.
    pub fn send(&mut self, ask: &Ask) -> Sent {
        let sent = self.queue.send(ask);
        if self.queue.driver.must_kick() {
            signal(&self.kick);
        }
        sent
    }

    /// The answer to the next request that is used, which is this one.
    pub fn answer(&mut self, sent: &Sent) -> Answer {
        let mut answer = None;
        until(|| {
            answer = self.queue.take_answer(sent);
            answer.is_some()
        });
        answer.unwrap()
    }

    pub fn ask(&mut self, ask: &Ask) -> Answer {
        let sent = self.send(ask);
        self.answer(&sent)
    }
}

/// A guest, and the front end that shares its memory.
pub struct Guest {
    pub memory: Arc<RigMemory>,
    pub files: Vec<(RegionLayout, Arc<OwnedFd>)>,
    pub rings: Vec<GuestRing>,
    pub features: Features,
}

const RING_SIZE: u16 = 64;
const RING_BYTES: u64 = 0x4000;
const AREA_BYTES: u64 = 0x4_0000;

impl Guest {
    /// A guest with rings that an endpoint has not seen yet.
    pub fn new(rings: u64) -> Self {
        Self::notified_by(Notifications::EventIndex, rings)
    }

    /// A guest whose driver uses event indices or flags.
    pub fn notified_by(notifications: Notifications, rings: u64) -> Self {
        let memory = Arc::new(RigMemory::standard());
        let files = memory.files.iter();
        let files = files.map(|(layout, file)| (*layout, Arc::new(file.try_clone().unwrap()))).collect();
        let rings = (0..rings).map(|index| Self::ring(&memory, notifications, index)).collect();
        let features = Features::VERSION_1
            .with_if(notifications == Notifications::EventIndex, Features::RING_EVENT_IDX)
            | Features::RING_INDIRECT
            | Features::BLK_FLUSH
            | Features::VHOST_PROTOCOL_FEATURES;
        Self { memory, files, rings, features }
    }

    fn ring(memory: &Arc<RigMemory>, notifications: Notifications, index: u64) -> GuestRing {
        let layout = RigMemory::ring(RigMemory::RINGS.0 + index * RING_BYTES, RING_SIZE);
        let driver = Driver::new(layout, notifications, 0, &memory.table);
        let start = RigMemory::DATA.0 + index * AREA_BYTES;
        let queue = Queue::new(memory.clone(), driver, start..start + AREA_BYTES);
        let [kick, call, error] = std::array::from_fn(|_| new_eventfd());
        GuestRing { queue, layout, kick, call, error }
    }

    /// Messages of a front end before those about rings.
    pub fn greeting(&self) -> Vec<Message> {
        let mut messages = vec![
            Message::get(code::GET_FEATURES, vec![]),
            Message::get(code::GET_PROTOCOL_FEATURES, vec![]),
            Message::set_u64(code::SET_PROTOCOL_FEATURES, PROTOCOL),
            Message::set(code::SET_OWNER, vec![]),
            Message::get(code::GET_QUEUE_NUM, vec![]),
            Message::get(code::GET_MAX_MEM_SLOTS, vec![]),
            Message::config(0, 60),
            Message::set_u64(code::SET_FEATURES, self.features.0),
        ];
        let memory = Message::memory_table(&self.files);
        messages.push(memory);
        messages
    }

    /// Messages that start a ring at `base`.
    pub fn ring_setup(&self, index: u32, base: u32) -> Vec<Message> {
        let ring = &self.rings[index as usize];
        vec![
            Message::ring(code::SET_VRING_NUM, index, ring.layout.size.get().into()),
            Message::ring(code::SET_VRING_BASE, index, base),
            Message::ring_addresses(index, &ring.layout),
            Message::eventfd(code::SET_VRING_KICK, index.into(), Some(&ring.kick)),
            Message::eventfd(code::SET_VRING_CALL, index.into(), Some(&ring.call)),
            Message::eventfd(code::SET_VRING_ERR, index.into(), Some(&ring.error)),
            Message::ring(code::SET_VRING_ENABLE, index, 1),
        ]
    }

    /// A whole good session up to the first request.
    pub fn script(&self) -> Vec<Message> {
        let rings = (0..).take(self.rings.len()).flat_map(|index| self.ring_setup(index, 0));
        self.greeting().into_iter().chain(rings).collect()
    }

    /// Connects, and makes all rings run.
    pub fn connect(&self, path: &Path) -> Client {
        let client = Client::connect(path);
        for message in self.script() {
            client.tell(&message).unwrap();
        }
        // Answered only after everything before has been carried out.
        client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
        client
    }

    /// A region of memory that the front end has not shared yet.
    pub fn more_memory(at: u64, len: u64) -> (RegionLayout, Arc<OwnedFd>) {
        let (layout, file) = RigMemory::file(at, len);
        assert_eq!(layout.guest, GuestAddress(at));
        (layout, Arc::new(file))
    }
}
