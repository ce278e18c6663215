//! A guest's driver of a virtio disk; a session that serves it without a core, where the test
//! makes the turns; and a front end that hands it to an endpoint.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod client;
pub mod house;
pub mod scripted;
pub mod scsi;

use luge_block::{CoreId, Device, Geometry};
use luge_core::{Session, Took, Work};
use luge_memory::GuestAddress;
use luge_spec::virtio::Features;
use luge_spec::virtio::blk::{RangeSegment, RequestHeader, RequestType};
use luge_vhost::{
    Access, BlkDisk, BlkSession, OpenVolume, QueueCounters, QueueSession, QueueSetup, RING_FEATURES,
};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{Head, InflightRegion, Notifications, RingLayout};
use luge_volume::doubles::mount;
use luge_volume::{Graph, SlotTimes, Stats, Volume};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Status byte before the device writes it.
pub const UNANSWERED: u8 = 0xee;

/// Cuts memory into pieces, at these places.
pub fn cut([at, len]: [u64; 2], writable: bool, mut cuts: Vec<u64>) -> Vec<Piece> {
    cuts.sort_unstable();
    let (starts, ends) = ([0].into_iter().chain(cuts.clone()), cuts.into_iter().chain([len]));
    let piece = |(start, end)| {
        let len = u32::try_from(end - start).unwrap();
        Piece { at: GuestAddress(at + start), len, writable }
    };
    starts.zip(ends).map(piece).collect()
}

/// A request, as a guest means it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub kind: RequestType,
    pub sector: u64,
    /// Data that the device reads after the header.
    pub out: Vec<u8>,
    /// Number of bytes that the device writes before the status.
    pub in_bytes: u32,
}

impl Ask {
    pub fn read(sector: u64, bytes: u32) -> Self {
        Self { kind: RequestType::IN, sector, out: vec![], in_bytes: bytes }
    }

    pub fn write(sector: u64, out: &[u8]) -> Self {
        Self { kind: RequestType::OUT, sector, out: out.to_vec(), in_bytes: 0 }
    }

    pub fn flush() -> Self {
        Self { kind: RequestType::FLUSH, sector: 0, out: vec![], in_bytes: 0 }
    }

    pub fn get_id(bytes: u32) -> Self {
        Self { kind: RequestType::GET_ID, sector: 0, out: vec![], in_bytes: bytes }
    }

    /// A discard or write-zeroes of (sector, sectors, flags) each.
    pub fn ranges(kind: RequestType, ranges: &[(u64, u32, u32)]) -> Self {
        let segments = ranges.iter().flat_map(|&(sector, sectors, flags)| {
            let segment =
                RangeSegment { sector: sector.into(), sectors: sectors.into(), flags: flags.into() };
            segment.as_bytes().to_vec()
        });
        Self { kind, sector: 0, out: segments.collect(), in_bytes: 0 }
    }

    fn header(&self) -> RequestHeader {
        RequestHeader { kind: self.kind, reserved: 0.into(), sector: self.sector.into() }
    }
}

/// A request in the ring: where its answer will be.
#[derive(Clone, Debug)]
pub struct Sent {
    pub head: Head,
    pub in_at: u64,
    pub in_bytes: u32,
}

/// A request's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u8,
    pub data: Vec<u8>,
    /// The length in the used ring.
    pub written: u32,
}

/// One queue of a disk, as its driver sees it.
pub struct Queue {
    pub memory: Arc<RigMemory>,
    pub driver: Driver,
    /// Where its requests are, and the next free place there.
    area: std::ops::Range<u64>,
    next: u64,
}

impl Queue {
    pub fn new(memory: Arc<RigMemory>, driver: Driver, area: std::ops::Range<u64>) -> Self {
        let next = area.start;
        Self { memory, driver, area, next }
    }

    /// Guest memory that was not used yet, but for what wrapped around.
    pub fn place(&mut self, bytes: usize) -> u64 {
        if self.next + bytes as u64 > self.area.end {
            self.next = self.area.start;
        }
        let at = self.next;
        self.next += bytes as u64;
        at
    }

    /// Puts a request into the ring: header, data and status in a descriptor each.
    pub fn send(&mut self, ask: &Ask) -> Sent {
        self.send_as(ask, |[out, out_len], [into, in_len]| {
            let piece = |at, len, writable| Piece {
                at: GuestAddress(at),
                len: u32::try_from(len).unwrap(),
                writable,
            };
            let mut pieces = vec![piece(out, 16, false), piece(out + 16, out_len - 16, false)];
            pieces.extend([piece(into, in_len - 1, true), piece(into + in_len - 1, 1, true)]);
            // Status bytes must not be empty, and other empty pieces need not be there.
            pieces.retain(|piece| piece.len > 0);
            (pieces, Form::Direct)
        })
    }

    /// Puts a request into the ring. `cut` makes descriptors of its readable and writable
    /// memory, each given by address and length in bytes.
    pub fn send_as(&mut self, ask: &Ask, cut: impl FnOnce([u64; 2], [u64; 2]) -> (Vec<Piece>, Form)) -> Sent {
        let readable = [ask.header().as_bytes(), &ask.out].concat();
        let out_at = self.place(readable.len());
        self.memory.write(GuestAddress(out_at), &readable);
        let in_at = self.place(ask.in_bytes as usize + 1);
        self.memory.write(GuestAddress(in_at), &vec![UNANSWERED; ask.in_bytes as usize + 1]);
        let writable = [in_at, u64::from(ask.in_bytes) + 1];
        let (pieces, form) = cut([out_at, readable.len() as u64], writable);
        let head = self.driver.add(&pieces, form).expect("room in the ring");
        Sent { head, in_at, in_bytes: ask.in_bytes }
    }

    /// The answer in guest memory to a request that was used with this length.
    pub fn answer(&self, sent: &Sent, written: u32) -> Answer {
        let mut data = self.memory.bytes(GuestAddress(sent.in_at), sent.in_bytes as usize + 1);
        let status = data.pop().unwrap();
        Answer { status, data, written }
    }

    /// The answer to the next request that was used, which is this one.
    pub fn take_answer(&mut self, sent: &Sent) -> Option<Answer> {
        let (head, written) = self.driver.take_used()?;
        assert_eq!(head, sent.head);
        Some(self.answer(sent, written))
    }
}

/// A queue and a session, on a device.
pub struct Bench {
    pub queue: Queue,
    pub session: BlkSession,
    pub graph: Graph,
    pub stats: Arc<Stats>,
    pub counters: Arc<QueueCounters>,
}

impl std::ops::Deref for Bench {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}

impl std::ops::DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

/// Properties of a bench besides its device.
#[derive(Clone, Copy)]
pub struct Setup {
    pub size: u16,
    pub access: Access,
    /// Features that the driver does not take.
    pub declined: Features,
}

impl Default for Setup {
    fn default() -> Self {
        Self { size: 64, access: Access::ReadWrite, declined: Features::default() }
    }
}

/// A queue over a rig's memory.
pub fn setup_of(layout: RingLayout, features: Features, memory: &RigMemory) -> QueueSetup {
    let (memory, counters) = (memory.table.clone(), Arc::default());
    QueueSetup { layout, base: 0, resumed: None, features, memory, inflight: None, counters }
}

/// A session without a core.
pub fn blk_session(disk: BlkDisk, volume: OpenVolume, setup: QueueSetup) -> BlkSession {
    BlkSession::new(disk, volume, setup).unwrap()
}

impl Bench {
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self::with(device, Setup::default())
    }

    pub fn with(device: Arc<dyn Device>, setup: Setup) -> Self {
        Self::tracked(device, setup, None)
    }

    /// A bench whose queue notes in `inflight` what it has in flight.
    pub fn tracked(device: Arc<dyn Device>, setup: Setup, inflight: Option<InflightRegion>) -> Self {
        Self::of(Volume::whole(device), setup, inflight)
    }

    /// A bench on a volume, which may be a composite.
    pub fn of(whole: Volume, setup: Setup, inflight: Option<InflightRegion>) -> Self {
        let memory = Arc::new(RigMemory::standard());
        let layout = RigMemory::ring(RigMemory::RINGS.0, setup.size);
        let disk = BlkDisk::new(whole.geometry(), setup.access, "serial", 1);
        let features = Features((disk.features() | RING_FEATURES).0 & !setup.declined.0);
        let notifications = if features.contains(Features::RING_EVENT_IDX) {
            Notifications::EventIndex
        } else {
            Notifications::Flags
        };
        let driver = Driver::new(layout, notifications, 0, &memory.table);
        let mut graph = Graph::default();
        let whole = if setup.access == Access::ReadOnly { whole.read_only_view() } else { whole };
        let whole = Arc::new(whole);
        let volume = mount(&mut graph, CoreId(0), &whole).unwrap();
        let counters = Arc::new(QueueCounters::default());
        let stats = whole.stats(CoreId(0));
        let setup =
            QueueSetup { inflight, counters: counters.clone(), ..setup_of(layout, features, &memory) };
        let session = blk_session(disk, OpenVolume { id: volume, stats: stats.clone() }, setup);
        graph.open_session(0, &mut SlotTimes::new(session.request_slots()));
        let area = RigMemory::DATA.0..RigMemory::MORE_DATA.0 + RigMemory::MORE_DATA.1;
        let queue = Queue::new(memory, driver, area);
        Self { queue, session, graph, stats, counters }
    }

    /// One turn of a core. Returns the number of chains that were taken, and at least 1 if there was work.
    pub fn turn(&mut self) -> usize {
        let before = QueueSession::queue(&mut self.session).base();
        let took = self.session.take(&mut self.graph, Work::QUANTUM);
        let taken = QueueSession::queue(&mut self.session).base().wrapping_sub(before);
        self.graph.commit();
        let Self { session, graph, .. } = self;
        graph.poll(|run| session.finish(run));
        self.session.publish();
        if matches!(took, Took::Work(_)) { usize::from(taken).max(1) } else { 0 }
    }

    /// Sends a request, and makes turns until it is answered.
    pub fn ask(&mut self, ask: &Ask) -> Answer {
        let sent = self.send(ask);
        self.turns_until_answered(&sent)
    }

    pub fn turns_until_answered(&mut self, sent: &Sent) -> Answer {
        for _ in 0..10_000 {
            self.turn();
            if let Some(answer) = self.take_answer(sent) {
                return answer;
            }
        }
        panic!("no answer");
    }
}

/// A geometry with blocks of 4 KiB.
pub fn blocks_of_4096() -> Geometry {
    Geometry { block_bytes: 4096, ..Geometry::for_tests() }
}
