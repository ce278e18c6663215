//! A host: a driver of one controller, through the function that its client would have.

use super::queue::{QueuePair, STRIDE};
use luge_memory::GuestAddress;
use luge_spec::nvme::{
    AdminOpcode, Capabilities, CompletionEntry, Configuration, IoOpcode, StatusCode, SubmissionEntry, offset,
};
use luge_vfio_user::{Function, RegionIndex};
use luge_virtqueue::rig::RigMemory;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries of the admin queues.
pub const ADMIN_ENTRIES: u16 = 32;

/// Entries of I/O queues.
pub const IO_ENTRIES: u16 = 64;

/// Place of data in guest memory.
pub const DATA: u64 = RigMemory::DATA.0;

/// Time after which a test has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A host of one controller.
pub struct Host {
    pub function: Box<dyn Function>,
    pub memory: Arc<RigMemory>,
    pub admin: QueuePair,
    pub queues: Vec<QueuePair>,
    /// Completions of the admin queue that nobody has waited for.
    pub unexpected: Vec<CompletionEntry>,
}

impl Host {
    /// A host with memory, and a controller that it has not touched.
    pub fn new(mut function: Box<dyn Function>) -> Self {
        let memory = Arc::new(RigMemory::standard());
        function.memory_added(&memory.table);
        let admin = QueuePair::new(&memory, 0, ADMIN_ENTRIES, RigMemory::RINGS.0);
        let mut host = Self { function, memory, admin, queues: Vec::new(), unexpected: Vec::new() };
        let stride = Capabilities(host.read64(offset::CAP)).doorbell_stride_bytes();
        assert_eq!(u64::from(stride), STRIDE, "CAP.DSTRD");
        host
    }

    pub fn read32(&mut self, at: u32) -> u32 {
        let mut data = [0; 4];
        self.function.read(RegionIndex::BAR0, at.into(), &mut data);
        u32::from_le_bytes(data)
    }

    pub fn read64(&mut self, at: u32) -> u64 {
        let mut data = [0; 8];
        self.function.read(RegionIndex::BAR0, at.into(), &mut data);
        u64::from_le_bytes(data)
    }

    pub fn write32(&mut self, at: u32, value: u32) {
        self.function.write(RegionIndex::BAR0, at.into(), &value.to_le_bytes());
    }

    pub fn write64(&mut self, at: u32, value: u64) {
        self.function.write(RegionIndex::BAR0, at.into(), &value.to_le_bytes());
    }

    pub fn status(&mut self) -> u32 {
        self.read32(offset::CSTS)
    }

    /// Lets the function read and write memory, and its registers be accessed, or not.
    pub fn set_bus_master(&mut self, is_bus_master: bool) {
        let command = if is_bus_master { 6_u16 } else { 2 };
        self.function.write(RegionIndex::CONFIG, 4, &command.to_le_bytes());
    }

    /// Tells the controller where its admin queues are, with new queues.
    pub fn set_admin_queues(&mut self) {
        self.set_bus_master(true);
        self.admin = QueuePair::new(&self.memory, 0, ADMIN_ENTRIES, RigMemory::RINGS.0);
        self.queues.clear();
        self.unexpected.clear();
        let entries_z = u32::from(ADMIN_ENTRIES) - 1;
        self.write32(offset::AQA, entries_z | entries_z << 16);
        self.write64(offset::ASQ, self.admin.submission);
        self.write64(offset::ACQ, self.admin.completion);
    }

    /// Enables the controller, and waits until it is ready.
    pub fn enable(&mut self) {
        self.set_admin_queues();
        self.write32(offset::CC, Configuration::ENABLED.0);
        self.wait("CSTS.RDY", |host| host.status() & 1 == 1);
    }

    /// Disables the controller, and waits until it is.
    pub fn disable(&mut self) {
        let configuration = Configuration(self.read32(offset::CC));
        self.write32(offset::CC, configuration.disabled().0);
        self.wait("CSTS.RDY cleared", |host| host.status() & 1 == 0);
    }

    /// Lets the function go on, if it is to be called.
    pub fn pump(&mut self) {
        let is_ready = self.function.event().is_some_and(|event| {
            let mut events = [PollFd::from_borrowed_fd(event, PollFlags::IN)];
            poll(&mut events, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        });
        if is_ready || self.function.wake_at().is_some_and(|time| time <= Instant::now()) {
            self.function.on_event();
        }
    }

    /// Waits until the function is to be called, and does not call it.
    pub fn wait_for_event(&self) {
        let event = self.function.event().unwrap();
        let mut events = [PollFd::from_borrowed_fd(event, PollFlags::IN)];
        let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut events, Some(&limit)).unwrap(), 1);
    }

    /// Lets the function go on until something has happened.
    pub fn wait(&mut self, what: &str, mut happened: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + LIMIT;
        while !happened(self) {
            self.pump();
            assert!(Instant::now() < end, "{what} does not happen");
            std::thread::yield_now();
        }
    }

    /// Sends an admin command, without waiting for its completion; returns its identifier.
    pub fn send(&mut self, entry: SubmissionEntry) -> u16 {
        let id = self.admin.push(entry);
        let (at, tail) = (self.admin.tail_doorbell(), self.admin.tail);
        self.function.write(RegionIndex::BAR0, at, &u32::from(tail).to_le_bytes());
        id
    }

    /// Completes the admin command with that identifier, if it is.
    pub fn completion(&mut self, id: u16) -> Option<CompletionEntry> {
        while let Some(entry) = self.admin.take() {
            let (at, head) = (self.admin.head_doorbell(), self.admin.head);
            self.function.write(RegionIndex::BAR0, at, &u32::from(head).to_le_bytes());
            self.unexpected.push(entry);
        }
        let at = self.unexpected.iter().position(|entry| entry.command_id == id)?;
        Some(self.unexpected.remove(at))
    }

    /// Waits for the completion of an admin command.
    pub fn wait_for(&mut self, id: u16) -> CompletionEntry {
        let mut found = None;
        self.wait("a completion", |host| {
            found = host.completion(id);
            found.is_some()
        });
        found.unwrap()
    }

    /// Sends an admin command, and waits for its completion.
    pub fn admin(&mut self, entry: SubmissionEntry) -> CompletionEntry {
        let id = self.send(entry);
        self.wait_for(id)
    }

    /// Sends an admin command that is to succeed; returns DW0.
    pub fn succeed(&mut self, entry: SubmissionEntry) -> u32 {
        let completion = self.admin(entry);
        assert_eq!(completion.status.code(), StatusCode::SUCCESS, "{entry:?}");
        completion.result
    }

    /// Sends an admin command that is to be refused.
    pub fn refused(&mut self, entry: SubmissionEntry) -> StatusCode {
        let completion = self.admin(entry);
        assert!(completion.status.do_not_retry(), "{entry:?}");
        completion.status.code()
    }

    /// Identify, with a page at the place of data; returns it.
    pub fn identify(&mut self, cns: u8, namespace: u32) -> Vec<u8> {
        self.fill_data(4096);
        self.succeed(identify(cns, namespace));
        self.data(4096)
    }

    /// Get Log Page, of `bytes` bytes from `offset`.
    pub fn log(&mut self, page: u8, offset: u64, bytes: u32) -> Vec<u8> {
        self.fill_data(bytes as usize);
        self.succeed(log(page, offset, bytes));
        self.data(bytes as usize)
    }

    /// Fills the place of data with a pattern, by which a test sees what was not written.
    pub fn fill_data(&mut self, bytes: usize) {
        self.memory.write(GuestAddress(DATA), &vec![0xa5; bytes]);
    }

    pub fn data(&mut self, bytes: usize) -> Vec<u8> {
        self.memory.bytes(GuestAddress(DATA), bytes)
    }

    /// Creates an I/O queue pair with the next identifier, and interrupts by `vector`.
    pub fn create_queue_pair(&mut self, vector: u16) {
        let id = u16::try_from(self.queues.len() + 1).unwrap();
        let queue = QueuePair::new(&self.memory, id, IO_ENTRIES, RigMemory::RINGS.0 + 0x4000 * u64::from(id));
        self.succeed(create_completion_queue(&queue, vector));
        self.succeed(create_submission_queue(&queue, id));
        self.queues.push(queue);
    }

    /// Sends an I/O command on a queue, without waiting for its completion.
    pub fn send_io(&mut self, queue: usize, entry: SubmissionEntry) -> u16 {
        let pair = &mut self.queues[queue];
        let id = pair.push(entry);
        let (at, tail) = (pair.tail_doorbell(), pair.tail);
        self.function.write(RegionIndex::BAR0, at, &u32::from(tail).to_le_bytes());
        id
    }

    /// Takes the next completion of an I/O queue.
    pub fn take_io(&mut self, queue: usize) -> Option<CompletionEntry> {
        let pair = &mut self.queues[queue];
        let completion = pair.take()?;
        let (at, head) = (pair.head_doorbell(), pair.head);
        self.function.write(RegionIndex::BAR0, at, &u32::from(head).to_le_bytes());
        Some(completion)
    }

    /// Sends an I/O command, and waits for its completion.
    pub fn io(&mut self, queue: usize, entry: SubmissionEntry) -> CompletionEntry {
        let id = self.send_io(queue, entry);
        let mut found = None;
        self.wait("a completion", |host| {
            found = host.take_io(queue);
            found.is_some()
        });
        let completion = found.unwrap();
        assert_eq!(completion.command_id, id);
        completion
    }

    /// Tells the controller of two pages behind the data; returns the addresses of the doorbells and the event indices.
    pub fn use_shadow_doorbells(&mut self) -> [u64; 2] {
        let [doorbells, events] = [DATA + 0x10000, DATA + 0x11000];
        let config = SubmissionEntry::admin(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0, 0);
        self.succeed(SubmissionEntry { prp1: doorbells, prp2: events, ..config });
        [doorbells, events]
    }

    /// Writes a block of namespace 1, and reads it back.
    pub fn use_disk(&mut self, queue: usize, byte: u8) {
        self.memory.write(GuestAddress(DATA), &[byte; 512]);
        assert_eq!(self.io(queue, write(1, 7)).status.code(), StatusCode::SUCCESS);
        self.memory.write(GuestAddress(DATA), &[0; 512]);
        assert_eq!(self.io(queue, read(1, 7)).status.code(), StatusCode::SUCCESS);
        assert_eq!(self.data(512), [byte; 512]);
    }
}

/// Identify, with a page at the place of data.
pub fn identify(cns: u8, namespace: u32) -> SubmissionEntry {
    SubmissionEntry { namespace, prp1: DATA, ..SubmissionEntry::admin(AdminOpcode::IDENTIFY, cns.into(), 0) }
}

/// Get Log Page of a controller.
pub fn log(page: u8, offset: u64, bytes: u32) -> SubmissionEntry {
    let words_z = bytes / 4 - 1;
    let mut entry = SubmissionEntry::admin(
        AdminOpcode::GET_LOG_PAGE,
        u32::from(page) | (words_z & 0xffff) << 16,
        words_z >> 16,
    );
    entry.cdw10[2] = u32::try_from(offset & 0xffff_ffff).unwrap();
    entry.cdw10[3] = u32::try_from(offset >> 32).unwrap();
    SubmissionEntry { namespace: u32::MAX, prp1: DATA, prp2: DATA + 4096, ..entry }
}

pub fn create_completion_queue(queue: &QueuePair, vector: u16) -> SubmissionEntry {
    let cdw10 = u32::from(queue.id) | (u32::from(queue.entries) - 1) << 16;
    let cdw11 = 3 | u32::from(vector) << 16;
    let entry = SubmissionEntry::admin(AdminOpcode::CREATE_COMPLETION_QUEUE, cdw10, cdw11);
    SubmissionEntry { prp1: queue.completion, ..entry }
}

pub fn create_submission_queue(queue: &QueuePair, completion_queue: u16) -> SubmissionEntry {
    let cdw10 = u32::from(queue.id) | (u32::from(queue.entries) - 1) << 16;
    let cdw11 = 1 | u32::from(completion_queue) << 16;
    let entry = SubmissionEntry::admin(AdminOpcode::CREATE_SUBMISSION_QUEUE, cdw10, cdw11);
    SubmissionEntry { prp1: queue.submission, ..entry }
}

pub fn set_feature(feature: u8, cdw11: u32) -> SubmissionEntry {
    SubmissionEntry { prp1: DATA, ..SubmissionEntry::admin(AdminOpcode::SET_FEATURES, feature.into(), cdw11) }
}

pub fn get_feature(feature: u8, cdw11: u32) -> SubmissionEntry {
    SubmissionEntry { prp1: DATA, ..SubmissionEntry::admin(AdminOpcode::GET_FEATURES, feature.into(), cdw11) }
}

/// Read of a block to the place of data.
pub fn read(namespace: u32, lba: u64) -> SubmissionEntry {
    SubmissionEntry { namespace, prp1: DATA, ..SubmissionEntry::io(IoOpcode::READ, lba, 0, 0) }
}

/// Write of a block from the place of data.
pub fn write(namespace: u32, lba: u64) -> SubmissionEntry {
    SubmissionEntry { namespace, prp1: DATA, ..SubmissionEntry::io(IoOpcode::WRITE, lba, 0, 0) }
}
