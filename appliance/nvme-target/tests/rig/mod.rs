//! A host's driver of NVMe queues, over real shared memory, and a session that serves them without a core, where the
//! test makes the turns.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod data;
pub mod queue;

pub use queue::HostQueue;

use luge_block::{Blocks, CoreId, Device, Durability, MemoryDevice, Shape};
use luge_core::{Call, Session, SessionId, Took, Work};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_nvme_target::{
    BitBucket, Coalescing, CompletionQueueSetup, DoorbellPages, Namespace, Namespaces, QueueId, QueueLayout,
    QueuePages, QueueSession, Relay, Rules, Service, SessionSetup, SubmissionQueueSetup,
};
use luge_spec::nvme::{CompletionEntry, IoOpcode, StatusCode, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use luge_volume::doubles::mount;
use luge_volume::{Graph, SlotTimes, Volume};
use std::sync::Arc;

/// Size of a memory page in bytes.
pub const PAGE: u64 = 4096;

/// Properties of a bench.
pub struct Setup {
    /// Entries of all queues.
    pub entries: u32,
    /// Number of submission queues, with the identifiers from 1 on, which all feed completion queue 1.
    pub queues: u16,
    pub service: Service,
    pub rules: Rules,
    pub interrupt: Option<Call>,
    pub coalescing: Coalescing,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            entries: 64,
            queues: 1,
            service: Service::Io,
            rules: Rules {
                page_bytes: 4096,
                transfer_bytes_max: 1 << 20,
                durability: Durability::Cache,
                burst: 8,
                submission_queues_max: 16,
                dataset_management: true,
            },
            interrupt: None,
            coalescing: Coalescing::default(),
        }
    }
}

/// Queues of a host, and a session that serves them.
pub struct Bench {
    pub memory: Arc<RigMemory>,
    pub doorbells: Arc<DoorbellPages>,
    pub relay: Arc<Relay>,
    pub session: QueueSession,
    pub graph: Graph,
    pub namespaces: Arc<Namespaces>,
    /// The host's side of the queues. The first one takes the completions.
    pub queues: Vec<HostQueue>,
    pub rules: Rules,
}

/// Place of the queues in memory: one after the other.
pub fn layout(queue: u16, entries: u32, entry_bytes: u64, at: &mut u64) -> QueueLayout {
    let base = at.next_multiple_of(PAGE);
    *at = base + u64::from(entries) * entry_bytes;
    QueueLayout { id: QueueId(queue), base: GuestAddress(base), entries, pages: QueuePages::Contiguous }
}

impl Bench {
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self::with(vec![Volume::whole(device)], Setup::default())
    }

    /// A bench with a namespace for each volume, from 1 on.
    pub fn with(volumes: Vec<Volume>, setup: Setup) -> Self {
        let mut graph = Graph::default();
        let bench = Self::on(&mut graph, volumes, setup);
        Self { graph, ..bench }
    }

    /// A bench whose volumes are on a graph of somebody else; its own graph is empty.
    pub fn on(graph: &mut Graph, volumes: Vec<Volume>, setup: Setup) -> Self {
        let memory = Arc::new(RigMemory::standard());
        let namespaces = Arc::new(Namespaces::new(volumes.into_iter().map(|volume| {
            let volume = Arc::new(volume);
            let id = mount(graph, CoreId(0), &volume).unwrap();
            let (stats, geometry) = (volume.stats(CoreId(0)), volume.geometry());
            Some(Namespace { volume: id, stats, geometry, refusal: None })
        })));
        let doorbells = Arc::new(DoorbellPages::new(64).unwrap());
        let relay = Arc::new(Relay::new().unwrap());
        let mut at = RigMemory::RINGS.0;
        let completion = layout(1, setup.entries, 16, &mut at);
        let mut session = QueueSession::new(SessionSetup {
            completion_queue: CompletionQueueSetup {
                layout: completion,
                interrupt: setup.interrupt,
                coalescing: setup.coalescing,
            },
            service: setup.service,
            rules: setup.rules,
            memory: memory.table.clone(),
            doorbells: doorbells.clone(),
            shadow: None,
            namespaces: namespaces.clone(),
            bit_bucket: BitBucket::new(&DmaSpace::new()).unwrap(),
            relay: relay.clone(),
            kick: None,
        })
        .unwrap();
        session.adopt(SessionId(0));
        let queues = (1..=setup.queues).map(|id| {
            let submission = layout(id, setup.entries, 64, &mut at);
            let prepared = SubmissionQueueSetup::find(submission, &setup.rules, &memory.table).unwrap();
            assert!(session.add_submission_queue(prepared).is_ok(), "queue {id}");
            HostQueue::new(memory.clone(), doorbells.clone(), submission, completion)
        });
        let queues = queues.collect();
        let (mut graph, rules) = (Graph::default(), setup.rules);
        graph.open_session(0, &mut SlotTimes::new(session.request_slots()));
        Self { memory, doorbells, relay, session, graph, namespaces, queues, rules }
    }

    /// One turn of a core; returns whether there was work.
    pub fn turn(&mut self) -> bool {
        let took = self.session.take(&mut self.graph, Work::QUANTUM);
        self.graph.commit();
        let Self { session, graph, .. } = self;
        let ended = graph.poll(|run| session.finish(run));
        self.session.publish();
        matches!(took, Took::Work(_)) || ended > 0
    }

    /// Turns until nothing happens any more.
    pub fn turns(&mut self) {
        while self.turn() {}
    }

    /// Sends a command on the first queue, and makes turns until it is completed.
    pub fn send(&mut self, entry: SubmissionEntry) -> CompletionEntry {
        let id = self.queues[0].push(entry);
        self.queues[0].ring();
        for _ in 0..10_000 {
            self.turn();
            if let Some(end) = self.queues[0].take() {
                assert_eq!(end.command_id, id, "the completion is that of the command");
                return end;
            }
        }
        panic!("no completion of {entry:?}");
    }

    /// Status of a command that is sent on the first queue.
    pub fn status(&mut self, entry: SubmissionEntry) -> StatusCode {
        self.send(entry).status.code()
    }

    /// Next completion, which the first queue takes for all.
    pub fn take(&mut self) -> Option<CompletionEntry> {
        self.queues[0].take()
    }
}

/// A memory device of blocks of 512 bytes.
pub fn memory(blocks: u64) -> Arc<dyn Device> {
    let shape = Shape::new(512, Blocks(blocks)).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

/// A command on blocks of namespace 1, without data.
pub fn io(opcode: IoOpcode, lba: u64, blocks: u32) -> SubmissionEntry {
    let blocks_z = u16::try_from(blocks - 1).unwrap();
    SubmissionEntry { namespace: 1, ..SubmissionEntry::io(opcode, lba, blocks_z, 0) }
}

/// A read of blocks into one page.
pub fn read(lba: u64, blocks: u32, at: u64) -> SubmissionEntry {
    SubmissionEntry { prp1: at, ..io(IoOpcode::READ, lba, blocks) }
}

/// A write of blocks from one page.
pub fn write(lba: u64, blocks: u32, at: u64) -> SubmissionEntry {
    SubmissionEntry { prp1: at, ..io(IoOpcode::WRITE, lba, blocks) }
}
