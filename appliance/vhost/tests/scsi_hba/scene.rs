//! An adapter on a socket, and a guest with its three kinds of queues.

use crate::rig::client::{Client, Guest, GuestRing, Message, code, until};
use crate::rig::house::House;
use luge_block::Device;
use luge_core::CoreHandle;
use luge_memory::GuestAddress;
use luge_reservations::Reservations;
use luge_scsi::{LogicalUnit, PortGroup, PortGroups, UnitConfig};
use luge_spec::virtio::Features;
use luge_spec::virtio::scsi::{
    CONTROL_QUEUE, ControlType, EVENT_QUEUE, Event, LunField, REQUEST_QUEUE, RESPONSE_BYTES, RequestHeader,
    Response, ResponseHeader, TaskManagementFunction, TaskManagementRequest,
};
use luge_vhost::{Endpoint, HbaConfig, LunAddress, LunPhase, ScsiHba};
use luge_virtqueue::Head;
use luge_virtqueue::rig::{Form, Piece};
use luge_volume::Volume;
use luge_volume::doubles::{Delay, Delaying};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a block.
pub const BLOCK: u32 = 512;

/// Response byte before the device writes it.
const UNANSWERED: u8 = 0xee;

/// Place of a LUN.
pub const fn at(target: u8, lun: u8) -> LunAddress {
    LunAddress { target, lun }
}

/// A unit on a volume.
pub fn unit_of(volume: Volume) -> Arc<LogicalUnit> {
    let volume = Arc::new(volume);
    unit_with(&volume, volume.reservations().clone())
}

/// A unit on a volume, with reservations of its own or those of the volume.
pub fn unit_with(volume: &Arc<Volume>, reservations: Arc<Reservations>) -> Arc<LogicalUnit> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let (volume, uuid) = (volume.clone(), [NEXT.fetch_add(1, Relaxed); 16]);
    LogicalUnit::new(UnitConfig { volume, reservations, uuid, serial: None, product: None }).unwrap()
}

/// A unit on a device.
pub fn unit_on(device: Arc<dyn Device>) -> Arc<LogicalUnit> {
    unit_of(Volume::whole(device))
}

/// A unit on a disk in memory.
pub fn unit() -> Arc<LogicalUnit> {
    unit_on(House::disk())
}

/// A unit that is as slow as the delay says.
pub fn slow_unit() -> (Arc<LogicalUnit>, Delay) {
    let delay = Delay::default();
    let disk = Arc::new(Volume::whole(House::disk()));
    (unit_of(Volume::of_composite(Arc::new(Delaying::new(disk, delay.clone())))), delay)
}

/// A request in a ring.
#[derive(Clone, Copy, Debug)]
pub struct SentCommand {
    queue: u16,
    pub head: Head,
    response_at: u64,
    in_bytes: u32,
}

/// The end of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandEnd {
    pub response: Response,
    pub status: u8,
    pub residual: u32,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
}

/// A task management request in the ring.
#[derive(Clone, Copy, Debug)]
pub struct SentFunction {
    head: Head,
    response_at: u64,
}

/// An adapter on a socket, and its guest.
pub struct Scene {
    pub guest: Guest,
    pub client: Option<Client>,
    hba: Option<Arc<ScsiHba>>,
    /// Last: it stops the cores.
    pub house: House,
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.client.take());
        self.house.endpoints.drain(..).for_each(Endpoint::stop);
        drop(self.hba.take());
    }
}

impl Scene {
    /// An adapter with two request queues and without LUNs, whose guest has connected.
    pub fn new() -> Self {
        let mut scene = Self::without_guest();
        scene.connect();
        scene
    }

    /// An adapter that no guest has connected to.
    pub fn without_guest() -> Self {
        Self::without_guest_in(PortGroups::default().free())
    }

    /// An adapter in a path group that no guest has connected to.
    fn without_guest_in(group: &Arc<PortGroup>) -> Self {
        let mut house = House::on(&[]);
        let hba = Arc::new(Self::open_in("first", &house.cores, group));
        house.endpoints.push(Endpoint::start(house.config(0, hba.clone())).unwrap());
        Self { guest: Self::new_guest(), client: None, hba: Some(hba), house }
    }

    /// Two adapters on the same cores, each with a guest. The first one is dropped last.
    pub fn pair() -> (Self, Self) {
        let (mut first, mut second) = Self::pair_in(PortGroups::default().free());
        first.connect();
        second.connect();
        (first, second)
    }

    /// Two adapters in a path group, whose guests have not connected. The first one is dropped last.
    pub fn pair_in(group: &Arc<PortGroup>) -> (Self, Self) {
        let first = Self::without_guest_in(group);
        let hba = Arc::new(Self::open_in("second", &first.house.cores, group));
        let house = House {
            endpoints: vec![],
            // The first one stops them.
            cores: vec![],
            space: first.house.space.clone(),
            folder: tempfile::tempdir().unwrap(),
            descriptors: first.house.descriptors.clone(),
        };
        let mut second = Self { guest: Self::new_guest(), client: None, hba: Some(hba.clone()), house };
        second.house.endpoints.push(Endpoint::start(second.house.config(0, hba)).unwrap());
        (first, second)
    }

    /// A guest whose adapter was just reset.
    pub fn new_guest() -> Guest {
        let mut guest = Guest::new(4);
        guest.features = Features::VERSION_1
            | Features::RING_EVENT_IDX
            | Features::RING_INDIRECT
            | Features::SCSI_HOTPLUG
            | Features::SCSI_CHANGE
            | Features::VHOST_PROTOCOL_FEATURES;
        guest
    }

    pub fn open(name: &str, cores: &[CoreHandle]) -> ScsiHba {
        Self::open_in(name, cores, PortGroups::default().free())
    }

    fn open_in(name: &str, cores: &[CoreHandle], group: &Arc<PortGroup>) -> ScsiHba {
        let (cores, group) = (cores.to_vec(), group.clone());
        let config = HbaConfig { name: name.into(), cores, request_queues: 2, group };
        ScsiHba::open(config).unwrap()
    }

    pub fn connect(&mut self) {
        self.client = Some(self.guest.connect(&self.house.path(0)));
    }

    /// Connects again, with rings that go on where they are.
    pub fn reconnect(&mut self) {
        let client = Client::connect(&self.house.path(0));
        let tell = |message: &Message| _ = client.tell(message).unwrap();
        self.guest.greeting().iter().for_each(tell);
        for (queue, ring) in (0..).zip(&self.guest.rings) {
            let base = ring.queue.driver.used_index();
            self.guest.ring_setup(queue, base.into()).iter().for_each(tell);
        }
        client.tell(&Message::get(code::GET_FEATURES, vec![])).unwrap();
        self.client = Some(client);
    }

    /// Takes another adapter to the end.
    pub fn replace_hba(&mut self, hba: Arc<ScsiHba>) {
        self.hba = Some(hba);
    }

    pub fn hba(&self) -> &Arc<ScsiHba> {
        self.hba.as_ref().unwrap()
    }

    pub fn ring(&mut self, queue: u16) -> &mut GuestRing {
        &mut self.guest.rings[usize::from(queue)]
    }

    /// Puts a chain into a ring, and kicks if the device wants that.
    pub fn add(&mut self, queue: u16, pieces: &[Piece]) -> Head {
        let ring = self.ring(queue);
        let head = ring.queue.driver.add(pieces, Form::Direct).unwrap();
        if ring.queue.driver.must_kick() {
            crate::rig::client::signal(&ring.kick);
        }
        head
    }

    /// Waits until a chain is used, which is the next one of its ring.
    pub fn used(&mut self, queue: u16) -> (Head, u32) {
        let mut used = None;
        until(|| {
            used = self.ring(queue).queue.driver.take_used();
            used.is_some()
        });
        used.unwrap()
    }

    /// The state of a LUN.
    pub fn phase(&self, address: LunAddress) -> Option<LunPhase> {
        let luns = self.hba().luns();
        luns.into_iter().find(|lun| lun.address == address).map(|lun| lun.phase)
    }
}

/// Commands.
impl Scene {
    /// Sends a command by a request queue, without waiting.
    pub fn send(&mut self, command: &Command) -> SentCommand {
        let &Command { queue, lun, tag, cdb, ref out, in_bytes } = command;
        let header = RequestHeader { lun, tag: tag.into(), cdb, ..RequestHeader::default() };
        let readable = [header.as_bytes(), out].concat();
        let response_bytes = u32::try_from(RESPONSE_BYTES).unwrap();
        let out_at = self.ring(queue).queue.place(readable.len());
        let response_at = self.ring(queue).queue.place(RESPONSE_BYTES + in_bytes as usize);
        self.guest.memory.write(GuestAddress(out_at), &readable);
        let blank = vec![UNANSWERED; RESPONSE_BYTES + in_bytes as usize];
        self.guest.memory.write(GuestAddress(response_at), &blank);
        let header_bytes = u32::try_from(header.as_bytes().len()).unwrap();
        let mut pieces = vec![Piece::readable(out_at, header_bytes)];
        if !out.is_empty() {
            let at = out_at + u64::from(header_bytes);
            pieces.push(Piece::readable(at, u32::try_from(out.len()).unwrap()));
        }
        pieces.push(Piece::writable(response_at, response_bytes));
        if in_bytes > 0 {
            pieces.push(Piece::writable(response_at + u64::from(response_bytes), in_bytes));
        }
        let head = self.add(queue, &pieces);
        SentCommand { queue, head, response_at, in_bytes }
    }

    /// The end of a command that was used.
    pub fn end_of(&self, sent: &SentCommand) -> CommandEnd {
        let bytes =
            self.guest.memory.bytes(GuestAddress(sent.response_at), RESPONSE_BYTES + sent.in_bytes as usize);
        let (header, rest) = ResponseHeader::read_from_prefix(&bytes).unwrap();
        let sense_bytes = header.sense_bytes.get() as usize;
        CommandEnd {
            response: header.response,
            status: header.status,
            residual: header.residual.get(),
            sense: rest.get(..sense_bytes).unwrap_or_default().to_vec(),
            data: bytes[RESPONSE_BYTES..].to_vec(),
        }
    }

    /// Waits for a command, which is the next one of its queue to end.
    pub fn await_command(&mut self, sent: &SentCommand) -> CommandEnd {
        let (head, _) = self.used(sent.queue);
        assert_eq!(head, sent.head);
        self.end_of(sent)
    }

    pub fn command(&mut self, command: &Command) -> CommandEnd {
        let sent = self.send(command);
        self.await_command(&sent)
    }

    /// Sends commands until one is not told of an attention.
    pub fn past_attentions(&mut self, command: &Command) -> CommandEnd {
        loop {
            let end = self.command(command);
            if end.sense_code().is_none_or(|code| !(0x2800..0x2b00).contains(&code) && code != 0x3f0e) {
                return end;
            }
        }
    }

    /// Lets a LUN tell of all attentions.
    pub fn settle(&mut self, lun: LunAddress) {
        self.settle_by(lun, REQUEST_QUEUE);
    }

    /// Lets a LUN tell of all attentions, by a queue.
    pub fn settle_by(&mut self, lun: LunAddress, queue: u16) {
        assert_eq!(self.past_attentions(&Command::test_unit_ready(lun).by(queue)).status, 0);
    }
}

impl CommandEnd {
    /// Additional sense code and qualifier of sense data in fixed format.
    pub fn sense_code(&self) -> Option<u16> {
        let code = self.sense.get(12..14)?;
        Some(u16::from_be_bytes([code[0], code[1]]))
    }
}

/// A command, as a guest means it.
#[derive(Clone, Debug)]
pub struct Command {
    pub queue: u16,
    pub lun: LunField,
    pub tag: u64,
    pub cdb: [u8; 32],
    pub out: Vec<u8>,
    pub in_bytes: u32,
}

impl Command {
    pub fn new(lun: LunAddress, cdb: &[u8]) -> Self {
        let mut padded = [0; 32];
        padded[..cdb.len()].copy_from_slice(cdb);
        Self { queue: REQUEST_QUEUE, lun: lun.to_field(), tag: 1, cdb: padded, out: vec![], in_bytes: 0 }
    }

    pub fn test_unit_ready(lun: LunAddress) -> Self {
        Self::new(lun, &[0; 6])
    }

    pub fn read(lun: LunAddress, lba: u32, blocks: u16) -> Self {
        let ([a, b, c, d], [e, f]) = (lba.to_be_bytes(), blocks.to_be_bytes());
        let cdb = [0x28, 0, a, b, c, d, 0, e, f, 0];
        Self { in_bytes: u32::from(blocks) * BLOCK, ..Self::new(lun, &cdb) }
    }

    pub fn write(lun: LunAddress, lba: u32, data: &[u8]) -> Self {
        let blocks = u16::try_from(data.len() / BLOCK as usize).unwrap();
        let ([a, b, c, d], [e, f]) = (lba.to_be_bytes(), blocks.to_be_bytes());
        let cdb = [0x2a, 0, a, b, c, d, 0, e, f, 0];
        Self { out: data.to_vec(), ..Self::new(lun, &cdb) }
    }

    pub fn report_luns(target: u8) -> Self {
        let cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0];
        Self { in_bytes: 0x1000, ..Self::new(at(target, 0), &cdb) }
    }

    #[must_use]
    pub fn tagged(self, tag: u64) -> Self {
        Self { tag, ..self }
    }

    #[must_use]
    pub fn by(self, queue: u16) -> Self {
        Self { queue, ..self }
    }
}

/// Task management, and events.
impl Scene {
    /// Sends a task management request, without waiting.
    pub fn send_function(
        &mut self,
        function: TaskManagementFunction,
        lun: LunAddress,
        tag: u64,
    ) -> SentFunction {
        let request = TaskManagementRequest {
            kind: ControlType::TASK_MANAGEMENT,
            function,
            lun: lun.to_field(),
            tag: tag.into(),
        };
        let bytes = request.as_bytes();
        let at = self.ring(CONTROL_QUEUE).queue.place(bytes.len());
        let response_at = self.ring(CONTROL_QUEUE).queue.place(1);
        self.guest.memory.write(GuestAddress(at), bytes);
        self.guest.memory.write(GuestAddress(response_at), &[UNANSWERED]);
        let pieces =
            [Piece::readable(at, u32::try_from(bytes.len()).unwrap()), Piece::writable(response_at, 1)];
        SentFunction { head: self.add(CONTROL_QUEUE, &pieces), response_at }
    }

    /// Waits for a function, which is the next one to be answered.
    pub fn await_function(&mut self, sent: &SentFunction) -> Response {
        let (head, _) = self.used(CONTROL_QUEUE);
        assert_eq!(head, sent.head);
        Response(self.guest.memory.bytes(GuestAddress(sent.response_at), 1)[0])
    }

    pub fn function(&mut self, function: TaskManagementFunction, lun: LunAddress, tag: u64) -> Response {
        let sent = self.send_function(function, lun, tag);
        self.await_function(&sent)
    }

    /// Whether no function was answered since.
    pub fn no_function_is_answered(&mut self) -> bool {
        self.ring(CONTROL_QUEUE).queue.driver.take_used().is_none()
    }

    /// Supplies buffers for events.
    pub fn add_buffers(&mut self, count: usize) -> Vec<u64> {
        let bytes = u32::try_from(size_of::<Event>()).unwrap();
        let buffers: Vec<u64> =
            (0..count).map(|_| self.ring(EVENT_QUEUE).queue.place(bytes as usize)).collect();
        buffers.iter().for_each(|&at| _ = self.add(EVENT_QUEUE, &[Piece::writable(at, bytes)]));
        buffers
    }

    /// Waits for an event, which comes in this buffer.
    pub fn event_in(&mut self, buffer: u64) -> Event {
        let (_, written) = self.used(EVENT_QUEUE);
        assert_eq!(written as usize, size_of::<Event>());
        Event::read_from_bytes(&self.guest.memory.bytes(GuestAddress(buffer), size_of::<Event>())).unwrap()
    }

    /// Supplies a buffer, and waits for the next event.
    pub fn next_event(&mut self) -> Event {
        let buffer = self.add_buffers(1)[0];
        self.event_in(buffer)
    }
}
