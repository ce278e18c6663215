//! A scripted vfio-user server: registers and configuration space in memory, and lies on demand.

use luge_memory::Mapping;
use luge_spec::vfio_user::{
    CapabilityHeader, Command, DeviceInfo, DmaMap, DmaUnmap, Header, InterruptInfo, MessageFlags,
    RegionAccess, RegionIndex, RegionInfo, SPARSE_MMAP, SetInterrupts, SparseArea, SparseMmap, Version,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

pub const BAR_BYTES: usize = 0x2000;
pub const DOORBELLS: u32 = 0x1000;

/// Way in which the doorbells can be mapped.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Doorbells {
    #[default]
    Mapped,
    /// The reply has no area and no descriptor.
    Messages,
    /// The descriptor is of a file that is no memory.
    NotMemory,
    /// The area is beyond the end of the file.
    PastTheEnd,
}

/// Misbehaviour at one command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    Silence,
    HangUp,
    WrongId,
    WrongCommand,
    /// The length in the header.
    Size(u32),
    /// Bytes that are cut off the payload.
    Short(usize),
    /// The reply ends in the middle, and nothing more comes.
    HalfAReply,
    /// So many commands of the server come before the reply.
    Commands(usize),
    /// So many descriptors come with the reply.
    Descriptors(usize),
    /// The reply is an error.
    Refusal(u32),
    /// Bytes of the reply are changed at random by a seed.
    Noise(u64),
}

#[derive(Clone, Default)]
pub struct Script {
    pub doorbells: Doorbells,
    /// The lie, and the command at which it is told.
    pub lie: Option<(Command, Lie)>,
    /// Class of the function, where it is not that of an NVMe controller.
    pub class: Option<[u8; 3]>,
}

/// State of the server, which tests look into.
pub struct State {
    pub script: Script,
    pub config: [u8; 256],
    pub bar: Vec<u8>,
    pub doorbells: OwnedFd,
    pub maps: Vec<(DmaMap, OwnedFd)>,
    pub eventfds: Vec<OwnedFd>,
    /// Commands, and register writes with their offsets and values.
    pub log: Vec<(Command, u64, u64)>,
    pub refusals: usize,
    pub resets: usize,
}

/// State, and a signal for each change of it.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Payload and descriptors of a reply.
struct Content {
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// Server, and the directory with its socket.
pub struct Server {
    folder: TempDir,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("cntrl")).unwrap();
        let shared = Arc::new(Shared { state: Mutex::new(State::new(script)), changed: Condvar::new() });
        let served = shared.clone();
        let thread = Some(std::thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                drop(listener);
                serve(&stream, &served);
            }
        }));
        Self { folder, shared, thread }
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Waits until the server has seen something.
    pub fn until(&self, what: &str, mut condition: impl FnMut(&State) -> bool) {
        let timeout = Duration::from_secs(20);
        let waited =
            self.shared.changed.wait_timeout_while(self.state(), timeout, |state| !condition(state)).unwrap();
        assert!(!waited.1.timed_out(), "not in time: {what}");
    }

    /// Memory of the server at an address that was mapped.
    pub fn memory(&self, address: u64) -> Mapping {
        let state = self.state();
        let (map, file) = state.maps.iter().find(|(map, _)| map.address.get() == address).unwrap();
        Mapping::new(file, map.offset.get(), map.size.get()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that no client has connected to.
        let _ = UnixStream::connect(self.folder.path().join("cntrl"));
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

impl State {
    fn new(script: Script) -> Self {
        let mut config = [0; 256];
        config[..4].copy_from_slice(&[0x4e, 0x4e, 1, 0]);
        config[9..12].copy_from_slice(&script.class.unwrap_or([2, 8, 1]));
        let doorbells = match script.doorbells {
            Doorbells::NotMemory => std::fs::File::open("/proc/self/exe").unwrap().into(),
            _ => memfd_create("doorbells", MemfdFlags::CLOEXEC).unwrap(),
        };
        if script.doorbells == Doorbells::Mapped {
            ftruncate(&doorbells, BAR_BYTES as u64).unwrap();
        }
        Self {
            script,
            config,
            bar: vec![0; BAR_BYTES],
            doorbells,
            maps: Vec::new(),
            eventfds: Vec::new(),
            log: Vec::new(),
            refusals: 0,
            resets: 0,
        }
    }

    fn execute(&mut self, header: Header, payload: &[u8], fds: Vec<OwnedFd>) -> Content {
        self.log.push((header.command, 0, 0));
        let answer = match header.command {
            Command::VERSION => Version { major: 0.into(), minor: 1.into() }.as_bytes().to_vec(),
            Command::GET_INFO => info().as_bytes().to_vec(),
            Command::GET_REGION_INFO => return self.region(payload),
            Command::GET_IRQ_INFO => interrupts(payload).as_bytes().to_vec(),
            Command::REGION_READ | Command::REGION_WRITE => self.access(header.command, payload),
            Command::DMA_MAP => {
                let map = DmaMap::read_from_bytes(payload).unwrap();
                self.maps.extend(fds.into_iter().map(|fd| (map, fd)));
                Vec::new()
            }
            Command::DMA_UNMAP => {
                let unmap = DmaUnmap::read_from_bytes(payload).unwrap();
                self.maps.retain(|(map, _)| map.address != unmap.address);
                payload.to_vec()
            }
            Command::SET_IRQS => {
                let set = SetInterrupts::read_from_bytes(payload).unwrap();
                assert_eq!(fds.len(), set.count.get() as usize);
                if fds.is_empty() {
                    self.eventfds.clear();
                }
                self.eventfds.extend(fds);
                Vec::new()
            }
            Command::DEVICE_RESET => {
                self.resets += 1;
                self.config[4..6].fill(0);
                Vec::new()
            }
            other => panic!("{other}"),
        };
        Content { payload: answer, fds: Vec::new() }
    }

    fn region(&self, payload: &[u8]) -> Content {
        let mut info = RegionInfo::read_from_bytes(payload).unwrap();
        let is_bar = info.index == RegionIndex::BAR0;
        info.size = if is_bar { BAR_BYTES as u64 } else { 256 }.into();
        if !is_bar || self.script.doorbells == Doorbells::Messages {
            return Content { payload: info.as_bytes().to_vec(), fds: Vec::new() };
        }
        info.flags.0 = 0xf.into();
        info.cap_offset = 32.into();
        let header = CapabilityHeader { id: SPARSE_MMAP.into(), version: 1.into(), next: 0.into() };
        let area = SparseArea { offset: u64::from(DOORBELLS).into(), size: 0x1000.into() };
        let areas = SparseMmap { areas: 1.into(), reserved: 0.into() };
        let payload = [info.as_bytes(), header.as_bytes(), areas.as_bytes(), area.as_bytes()].concat();
        Content { payload, fds: vec![self.doorbells.try_clone().unwrap()] }
    }

    fn access(&mut self, command: Command, payload: &[u8]) -> Vec<u8> {
        let (access, data) = RegionAccess::read_from_prefix(payload).unwrap();
        let (at, len) = (access.offset.get() as usize, access.count.get() as usize);
        let bytes = match access.region {
            RegionIndex::CONFIG => &mut self.config[at..at + len],
            _ => &mut self.bar[at..at + len],
        };
        if command == Command::REGION_READ {
            return [access.as_bytes(), bytes].concat();
        }
        bytes.copy_from_slice(data);
        let mut value = [0; 8];
        value[..len].copy_from_slice(data);
        *self.log.last_mut().unwrap() = (command, at as u64, u64::from_le_bytes(value));
        access.as_bytes().to_vec()
    }
}

fn info() -> DeviceInfo {
    let mut info = DeviceInfo { regions: 9.into(), interrupts: 5.into(), ..DeviceInfo::default() };
    info.flags.0 = 3.into();
    info
}

fn interrupts(payload: &[u8]) -> InterruptInfo {
    InterruptInfo { count: 4.into(), ..InterruptInfo::read_from_bytes(payload).unwrap() }
}

/// Serves a client until it leaves, or a lie ends it.
fn serve(stream: &UnixStream, shared: &Shared) {
    while let Some((header, payload, fds)) = receive(stream) {
        let mut locked = shared.state.lock().unwrap();
        if header.flags.is_reply() {
            locked.refusals += usize::from(header.flags.is_error());
            continue;
        }
        let lie = locked.script.lie.filter(|(command, _)| *command == header.command).map(|(_, lie)| lie);
        let content = locked.execute(header, &payload, fds);
        drop(locked);
        shared.changed.notify_all();
        if !answer(stream, header, content, lie) {
            return;
        }
    }
}

/// Sends a reply; returns whether the connection goes on.
fn answer(stream: &UnixStream, header: Header, content: Content, lie: Option<Lie>) -> bool {
    let Content { mut payload, mut fds } = content;
    let mut header = Header { flags: MessageFlags::REPLY, error: 0.into(), ..header };
    header.size = (16 + payload.len() as u32).into();
    match lie {
        Some(Lie::Silence) => return true,
        Some(Lie::HangUp) => return false,
        Some(Lie::WrongId) => header.id = (header.id.get() ^ 1).into(),
        Some(Lie::WrongCommand) => header.command = Command::MIG_DATA_READ,
        Some(Lie::Size(size)) => header.size = size.into(),
        Some(Lie::Short(bytes)) => {
            payload.truncate(payload.len().saturating_sub(bytes));
            header.size = (16 + payload.len() as u32).into();
        }
        Some(Lie::HalfAReply) => return send(stream, &header.as_bytes()[..9], &[]),
        Some(Lie::Commands(count)) => {
            let command = Header { command: Command::DMA_READ, size: 16.into(), ..Header::default() };
            for _ in 0..count {
                // The client may have left meanwhile.
                send(stream, command.as_bytes(), &[]);
            }
        }
        Some(Lie::Descriptors(count)) => {
            fds = (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect();
        }
        Some(Lie::Refusal(error)) => {
            (header.flags, header.error, header.size) = (MessageFlags::ERROR_REPLY, error.into(), 16.into());
            payload.clear();
        }
        Some(Lie::Noise(seed)) => {
            let mut bytes = [header.as_bytes(), &payload].concat();
            let mut random = luge_seeded::Random::new(seed);
            for _ in 0..random.between(1_usize, 4) {
                let at = random.below(bytes.len());
                bytes[at] = random.pick(&[0, 1, 0xff, 0x10, 0x80]);
            }
            return send(stream, &bytes, &fds);
        }
        None => {}
    }
    send(stream, &[header.as_bytes(), &payload].concat(), &fds)
}

fn send(stream: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> bool {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    }
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).is_ok()
}

fn receive(stream: &UnixStream) -> Option<(Header, Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = [0; 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let read =
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    if read.bytes == 0 {
        return None;
    }
    assert_eq!(read.bytes, 16, "a client sends a message whole");
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let fds = fds.collect();
    let header = Header::read_from_bytes(&bytes).unwrap();
    let mut payload = vec![0; header.size.get() as usize - 16];
    (&mut &*stream).read_exact(&mut payload).ok()?;
    Some((header, payload, fds))
}
