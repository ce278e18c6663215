//! A guest's driver of a SCSI host bus adapter: a request queue, and a session that serves it without a core, where
//! the test makes the turns and answers in the place of the adapter's thread.

use super::scripted::memory_disk;
use super::{Queue, UNANSWERED, setup_of};
use luge_block::{CoreId, Device};
use luge_core::{Session, SessionId, Took, Work};
use luge_memory::GuestAddress;
use luge_scsi::{Gate, UnitView};
use luge_spec::scsi::ScsiStatus;
use luge_spec::virtio::scsi::{LunField, RESPONSE_BYTES, RequestHeader, Response, ResponseHeader};
use luge_vhost::{
    CommandReply, Drain, LunAddress, LunEntry, LunTable, QueueCounters, QueueSession, QueueSetup,
    RING_FEATURES, Relay, Relayed, RelayedCommand, RelayedRequest, RequestSession,
};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{Head, InflightRegion, Notifications};
use luge_volume::doubles::mount;
use luge_volume::{Graph, SlotTimes, Stats, Volume, VolumeId};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a header.
pub const HEADER: u64 = 51;
/// Bytes of a response.
pub const RESPONSE: u64 = 108;

/// A command, as a guest means it.
#[derive(Clone, Debug, Default)]
pub struct Cmd {
    pub lun: LunField,
    pub tag: u64,
    pub attribute: u8,
    pub cdb: Vec<u8>,
    pub out: Vec<u8>,
    pub in_bytes: u32,
}

/// Address of a LUN, in peripheral form.
pub fn lun_field(address: LunAddress) -> LunField {
    LunField([1, address.target, 0, address.lun, 0, 0, 0, 0])
}

pub fn address(target: u8, lun: u8) -> LunAddress {
    LunAddress { target, lun }
}

pub fn cdb_10(opcode: u8, lba: u32, length: u16) -> Vec<u8> {
    let (lba, length) = (lba.to_be_bytes(), length.to_be_bytes());
    [&[opcode, 0][..], &lba, &[0], &length, &[0]].concat()
}

pub fn cdb_16(opcode: u8, lba: u64, length: u32) -> Vec<u8> {
    [&[opcode, 0][..], &lba.to_be_bytes(), &length.to_be_bytes(), &[0, 0]].concat()
}

impl Cmd {
    /// A command without data to LUN 0 of target 0.
    pub fn new(cdb: &[u8]) -> Self {
        Self { lun: lun_field(address(0, 0)), cdb: cdb.to_vec(), ..Self::default() }
    }

    pub fn read(lba: u32, blocks: u16, block_bytes: u32) -> Self {
        Self { in_bytes: u32::from(blocks) * block_bytes, ..Self::new(&cdb_10(0x28, lba, blocks)) }
    }

    pub fn write(lba: u32, out: &[u8], block_bytes: u32) -> Self {
        let blocks = u16::try_from(u32::try_from(out.len()).unwrap() / block_bytes).unwrap();
        Self { out: out.to_vec(), ..Self::new(&cdb_10(0x2a, lba, blocks)) }
    }

    pub fn inquiry(in_bytes: u32) -> Self {
        let bytes = u16::try_from(in_bytes).unwrap_or(u16::MAX).to_be_bytes();
        Self { in_bytes, ..Self::new(&[0x12, 0, 0, bytes[0], bytes[1], 0]) }
    }

    pub fn synchronize_cache() -> Self {
        Self::new(&cdb_10(0x35, 0, 0))
    }

    /// UNMAP of (block, blocks) each.
    pub fn unmap(ranges: &[(u64, u32)]) -> Self {
        let each = ranges
            .iter()
            .flat_map(|(lba, blocks)| [&lba.to_be_bytes()[..], &blocks.to_be_bytes(), &[0; 4]].concat());
        let descriptors: Vec<u8> = each.collect();
        let len = u16::try_from(descriptors.len()).unwrap();
        let header = [&(len + 6).to_be_bytes()[..], &len.to_be_bytes(), &[0; 4]].concat();
        let cdb = cdb_10(0x42, 0, len + 8);
        Self { out: [header, descriptors].concat(), ..Self::new(&cdb) }
    }

    pub fn to(self, address: LunAddress) -> Self {
        Self { lun: lun_field(address), ..self }
    }

    pub fn tagged(self, tag: u64) -> Self {
        Self { tag, ..self }
    }

    fn header(&self) -> RequestHeader {
        let mut cdb = [0; 32];
        cdb[..self.cdb.len()].copy_from_slice(&self.cdb);
        RequestHeader {
            lun: self.lun,
            tag: self.tag.into(),
            task_attribute: self.attribute,
            priority: 0,
            reference_number: 0,
            cdb,
        }
    }
}

/// A command in the ring: where its answer will be.
#[derive(Clone, Debug)]
pub struct SentCmd {
    pub head: Head,
    pub in_at: u64,
    pub in_bytes: u32,
}

/// A command's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub response: Response,
    pub status: u8,
    pub residual: u32,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
    /// The length in the used ring.
    pub written: u32,
}

impl Answered {
    /// GOOD, with data.
    pub fn good(data: &[u8]) -> Self {
        let response = if data.is_empty() { size_of::<ResponseHeader>() } else { RESPONSE_BYTES };
        let written = u32::try_from(response + data.len()).unwrap();
        let (response, status) = (Response::OK, ScsiStatus::GOOD.0);
        Self { response, status, residual: 0, sense: vec![], data: data.to_vec(), written }
    }

    /// Sense key, additional sense code and qualifier, in fixed format.
    pub fn sense_code(&self) -> Option<[u8; 3]> {
        Some([*self.sense.get(2)? & 0xf, *self.sense.get(12)?, *self.sense.get(13)?])
    }
}

/// A LUN of a bench.
#[derive(Clone)]
pub struct RigLun {
    pub volume: VolumeId,
    pub stats: Arc<Stats>,
    pub view: UnitView,
    pub gate: Arc<Gate>,
    pub hold: Arc<Drain>,
}

impl RigLun {
    pub fn entry(&self) -> LunEntry {
        let Self { volume, stats, view, gate, hold } = self.clone();
        LunEntry { volume, stats, view, gate, hold }
    }
}

/// A request queue and a session, on LUNs.
pub struct ScsiBench {
    pub queue: Queue,
    pub session: RequestSession,
    pub graph: Graph,
    pub relay: Arc<Relay>,
    pub luns: Vec<(LunAddress, RigLun)>,
    pub counters: Arc<QueueCounters>,
}

impl std::ops::Deref for ScsiBench {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}

impl std::ops::DerefMut for ScsiBench {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

impl ScsiBench {
    /// A bench with LUN 0 of target 0 on a device.
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self::with(vec![(address(0, 0), device)], 64, None)
    }

    /// A bench with a LUN in memory, of which the session does not know yet.
    pub fn without_table() -> Self {
        let relay = Arc::new(Relay::new().unwrap());
        Self::sharing(relay, vec![(address(0, 0), memory_disk(512, 256))], 64, None)
    }

    pub fn with(
        luns: Vec<(LunAddress, Arc<dyn Device>)>,
        size: u16,
        inflight: Option<InflightRegion>,
    ) -> Self {
        let mut bench = Self::sharing(Arc::new(Relay::new().unwrap()), luns, size, inflight);
        bench.set_table();
        bench
    }

    /// A bench whose session has the relay of others, and no table.
    pub fn sharing(
        relay: Arc<Relay>,
        luns: Vec<(LunAddress, Arc<dyn Device>)>,
        size: u16,
        inflight: Option<InflightRegion>,
    ) -> Self {
        let memory = Arc::new(RigMemory::standard());
        let layout = RigMemory::ring(RigMemory::RINGS.0, size);
        let driver = Driver::new(layout, Notifications::EventIndex, 0, &memory.table);
        let mut graph = Graph::default();
        let luns =
            luns.into_iter().map(|(address, device)| (address, mount_unit(&mut graph, device))).collect();
        let counters = Arc::new(QueueCounters::default());
        let features = RING_FEATURES;
        let setup =
            QueueSetup { inflight, counters: counters.clone(), ..setup_of(layout, features, &memory) };
        let session = RequestSession::new(2, relay.clone(), setup).unwrap();
        graph.open_session(0, &mut SlotTimes::new(session.request_slots()));
        let area = RigMemory::DATA.0..RigMemory::MORE_DATA.0 + RigMemory::MORE_DATA.1;
        let queue = Queue::new(memory, driver, area);
        Self { queue, session, graph, relay, luns, counters }
    }

    /// Gives the session a table of the LUNs that there are now.
    pub fn set_table(&mut self) {
        let table = LunTable::new(self.luns.iter().map(|(address, lun)| (*address, lun.entry())));
        drop(self.session.replace_table(Arc::new(table)));
    }

    /// Puts a session of another process in the place of this one, which is gone with all that it has in flight.
    pub fn restart(&mut self, inflight: InflightRegion, id: SessionId) {
        let layout = RigMemory::ring(RigMemory::RINGS.0, 64);
        let setup =
            QueueSetup { inflight: Some(inflight), ..setup_of(layout, RING_FEATURES, &self.queue.memory) };
        self.session = RequestSession::new(2, self.relay.clone(), setup).unwrap();
        self.session.adopt(id);
    }

    /// Gives the first LUN another gate.
    pub fn set_gate(&mut self, gate: Gate) {
        self.luns[0].1.gate = Arc::new(gate);
        self.set_table();
    }

    /// Puts a command into the ring: header, response and data in a descriptor each.
    pub fn send(&mut self, cmd: &Cmd) -> SentCmd {
        self.send_as(cmd, |readable, writable| (usual_pieces(readable, writable), Form::Direct))
    }

    /// Puts a command into the ring. `cut` makes descriptors of its readable and writable memory, each given by address
    /// and length in bytes.
    pub fn send_as(
        &mut self,
        cmd: &Cmd,
        cut: impl FnOnce([u64; 2], [u64; 2]) -> (Vec<Piece>, Form),
    ) -> SentCmd {
        let readable = [cmd.header().as_bytes(), &cmd.out].concat();
        let out_at = self.place(readable.len());
        self.memory.write(GuestAddress(out_at), &readable);
        let writable = RESPONSE_BYTES + cmd.in_bytes as usize;
        let in_at = self.place(writable);
        self.memory.write(GuestAddress(in_at), &vec![UNANSWERED; writable]);
        let (pieces, form) = cut([out_at, readable.len() as u64], [in_at, writable as u64]);
        let head = self.driver.add(&pieces, form).expect("room in the ring");
        SentCmd { head, in_at, in_bytes: cmd.in_bytes }
    }

    /// The answer in guest memory to a command that was used with this length.
    pub fn answer(&self, sent: &SentCmd, written: u32) -> Answered {
        let mut bytes = self.memory.bytes(GuestAddress(sent.in_at), RESPONSE_BYTES + sent.in_bytes as usize);
        let data = bytes.split_off(RESPONSE_BYTES);
        let (header, sense) = ResponseHeader::read_from_prefix(&bytes).unwrap();
        let sense = sense.iter().copied().take(header.sense_bytes.get() as usize).collect();
        let ResponseHeader { response, status, residual, .. } = header;
        Answered { response, status, residual: residual.get(), sense, data, written }
    }

    /// The answer to the next command that was used, which is this one.
    pub fn take_answer(&mut self, sent: &SentCmd) -> Option<Answered> {
        let (head, written) = self.driver.take_used()?;
        assert_eq!(head, sent.head);
        Some(self.answer(sent, written))
    }

    /// One turn of a core. Returns whether there was work.
    pub fn turn(&mut self) -> bool {
        let took = self.session.take(&mut self.graph, Work::QUANTUM);
        self.graph.commit();
        let Self { session, graph, .. } = self;
        let ended = graph.poll(|run| session.finish(run));
        // A core publishes only after work; tasks count as work.
        if matches!(took, Took::Work(_)) || ended > 0 {
            self.session.publish();
        }
        matches!(took, Took::Work(_)) || ended > 0
    }

    /// Publishes, as a core does after a task.
    pub fn publish(&mut self) {
        self.session.publish();
    }

    /// Sends a command, and makes turns until it is answered.
    pub fn ask(&mut self, cmd: &Cmd) -> Answered {
        let sent = self.send(cmd);
        self.turns_until_answered(&sent)
    }

    pub fn turns_until_answered(&mut self, sent: &SentCmd) -> Answered {
        for _ in 0..10_000 {
            self.turn();
            if let Some(answer) = self.take_answer(sent) {
                return answer;
            }
        }
        panic!("no answer");
    }

    /// The next command on its way to the adapter's thread.
    pub fn relayed(&self) -> Option<(Relayed, RelayedCommand)> {
        let relayed = self.relay.next()?;
        let RelayedRequest::Command(command) = &relayed.request else { panic!("{relayed:?}") };
        let command = command.clone();
        Some((relayed, command))
    }

    /// Answers a relayed command, as a task of the thread does.
    pub fn reply(&mut self, relayed: &Relayed, reply: &CommandReply) -> bool {
        assert_eq!(relayed.session, self.session.number());
        assert_eq!(relayed.queue, 2);
        let waited = self.session.complete_relayed(&mut self.graph, relayed.id, reply);
        self.session.publish();
        waited
    }

    pub fn in_flight(&self) -> usize {
        self.session.in_flight()
    }

    pub fn base(&mut self) -> u16 {
        QueueSession::queue(&mut self.session).base()
    }
}

fn mount_unit(graph: &mut Graph, device: Arc<dyn Device>) -> RigLun {
    let whole = Arc::new(Volume::whole(device));
    let volume = mount(graph, CoreId(0), &whole).unwrap();
    RigLun {
        volume,
        stats: whole.stats(CoreId(0)),
        view: UnitView::new(&whole.geometry()),
        gate: Arc::default(),
        hold: Arc::default(),
    }
}

fn piece(at: u64, len: u64, writable: bool) -> Piece {
    Piece { at: GuestAddress(at), len: u32::try_from(len).unwrap(), writable }
}

/// Header, response and data in a descriptor each, as drivers make them.
pub fn usual_pieces([out, out_len]: [u64; 2], [into, in_len]: [u64; 2]) -> Vec<Piece> {
    let mut pieces = vec![piece(out, HEADER, false), piece(out + HEADER, out_len - HEADER, false)];
    pieces.extend([piece(into, RESPONSE, true), piece(into + RESPONSE, in_len - RESPONSE, true)]);
    pieces.retain(|piece| piece.len > 0);
    pieces
}
