//! A disk that serves whole commands on a core without a thread.

use luge_block::{
    Blocks, Completion, CoreId, Device, Lba, MemoryDevice, Operation, Refusal, Request, Shape, Status, Tag,
};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_scsi::{BlockCommand, Command, Ending, UnitView, UnmapCommand, decode};
use luge_volume::doubles::mount;
use luge_volume::{Graph, Volume, VolumeId};
use std::sync::Arc;

pub const BLOCK: usize = 512;

const SESSION: u16 = 1;
const SLOT: u16 = 2;

/// End of a command.
#[derive(Debug)]
pub struct Answer {
    pub ending: Ending,
    pub data_in: Vec<u8>,
}

pub struct Disk {
    graph: Graph,
    volume: VolumeId,
    pub view: UnitView,
    memory: DmaMemory,
}

impl Disk {
    /// A disk in memory.
    pub fn new(blocks: u64) -> Self {
        let shape = Shape::new(512, Blocks(blocks)).unwrap();
        Self::on(Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap()))
    }

    pub fn on(device: Arc<dyn Device>) -> Self {
        let volume = Arc::new(Volume::whole(device));
        let mut graph = Graph::default();
        let view = UnitView::new(&volume.geometry());
        let volume = mount(&mut graph, CoreId(0), &volume).unwrap();
        let memory = DmaMemory::allocate(&DmaSpace::new(), 4 << 20, PageSize::Base, None).unwrap();
        Self { graph, volume, view, memory }
    }

    /// Serves a command whose data-out is long enough; none where it is not.
    pub fn try_send(&mut self, cdb: &[u8], data_out: &[u8]) -> Option<Answer> {
        let command = match decode(cdb, &self.view) {
            Ok(command) => command,
            Err(sense) => return Some(Answer { ending: sense.into(), data_in: Vec::new() }),
        };
        let nothing = |ending| Some(Answer { ending, data_in: Vec::new() });
        match command {
            Command::Blocks(command) => self.serve(&command, data_out),
            Command::Flush => {
                let status = self.run(Operation::Flush, 0, 0, &[]);
                nothing(Ending::of(status))
            }
            Command::Unmap(unmap) => nothing(self.unmap(&unmap, data_out)?),
            Command::Nothing => nothing(Ending::GOOD),
            Command::Relayed | Command::Stop => panic!("{cdb:02x?} is the device server's"),
        }
    }

    /// Serves a command.
    pub fn send(&mut self, cdb: &[u8], data_out: &[u8]) -> Answer {
        self.try_send(cdb, data_out).expect("enough data-out")
    }

    fn serve(&mut self, command: &BlockCommand, data_out: &[u8]) -> Option<Answer> {
        let bytes = usize::try_from(command.data_bytes(self.view.block_bytes)).unwrap();
        let reads = command.operation.is_read();
        let data = self.data(if reads { &[0xee; 1][..] } else { data_out.get(..bytes)? }, bytes);
        let BlockCommand { operation, lba, blocks, .. } = *command;
        let status = self.run(operation, lba.0, blocks, &data);
        let ending = command.ended(&self.view, status, self.graph.mismatch(SESSION, SLOT));
        let data_in = if reads && status == Status::Success { contents(&data) } else { Vec::new() };
        Some(Answer { ending, data_in })
    }

    fn unmap(&mut self, unmap: &UnmapCommand, data_out: &[u8]) -> Option<Ending> {
        let list = data_out.get(..unmap.list_bytes.into())?;
        let ranges = match unmap.ranges(list.get(..unmap.read_bytes())?, &self.view) {
            Ok(ranges) if ranges.is_empty() => return Some(Ending::GOOD),
            Ok(ranges) => ranges,
            Err(sense) => return Some(sense.into()),
        };
        let tag = Tag::new(SESSION, SLOT);
        let submitted = self.graph.volume(self.volume).unwrap().submit_ranges(tag, &ranges);
        Some(Ending::of(self.ended(submitted)))
    }

    /// Memory of `bytes` bytes that begins with some, in two pieces where it has room for them.
    fn data(&self, first: &[u8], bytes: usize) -> Vec<Span> {
        #[expect(unsafe_code, reason = "a span is an address")]
        // SAFETY: the memory stays until nothing is in flight.
        let span = unsafe { self.memory.span(64, u32::try_from(bytes).unwrap()) };
        let Some(span) = span.filter(|span| !span.is_empty()) else { return Vec::new() };
        span.write(first);
        let (one, other) = span.split_at(100);
        vec![one, other]
    }

    fn run(&mut self, operation: Operation, lba: u64, blocks: u32, data: &[Span]) -> Status {
        let request = Request { tag: Tag::new(SESSION, SLOT), operation, lba: Lba(lba), blocks, data };
        let submitted = self.graph.volume(self.volume).unwrap().submit(&request);
        self.ended(submitted)
    }

    /// Takes turns until the request has ended.
    fn ended(&mut self, submitted: Result<(), Refusal>) -> Status {
        match submitted {
            Ok(()) => {}
            Err(Refusal::Failed(status)) => return status,
            Err(Refusal::Full) => panic!("one request finds no room"),
        }
        let mut ended = Vec::new();
        while self.graph.in_flight() > 0 {
            self.graph.commit();
            self.graph.poll(|run| ended.extend(run.iter().map(|end: &Completion| end.status())));
        }
        let [status] = ended[..] else { panic!("one request ended as {ended:?}") };
        status
    }

    /// Content of all blocks.
    pub fn content(&mut self) -> Vec<u8> {
        let blocks = u32::try_from(self.view.blocks.0).unwrap();
        let data = self.data(&[], blocks as usize * BLOCK);
        assert_eq!(self.run(Operation::Read, 0, blocks, &data), Status::Success);
        contents(&data)
    }
}

fn contents(spans: &[Span]) -> Vec<u8> {
    let read = |span: &Span| {
        let mut bytes = vec![0; span.len() as usize];
        span.read(&mut bytes);
        bytes
    };
    spans.iter().flat_map(read).collect()
}
