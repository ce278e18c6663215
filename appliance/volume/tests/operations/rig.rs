//! Cores without threads, and memory for their requests.

use luge_block::{Completion, CoreId, Durability, Lba, Operation, Refusal, Request, Status, Tag};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_volume::doubles::mount;
use luge_volume::{CopyRequest, Graph, Volume, VolumeId};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const BLOCK: usize = 512;
pub const COMPARE_AND_WRITE: Operation = Operation::CompareAndWrite(Durability::Cache);
pub const WRITE: Operation = Operation::Write(Durability::Cache);

/// Memory of requests.
pub struct Memory(DmaMemory);

impl Memory {
    pub fn new() -> Self {
        Self(DmaMemory::allocate(&DmaSpace::new(), 4 << 20, PageSize::Base, None).unwrap())
    }

    /// Memory at `at` with this content.
    #[expect(unsafe_code, reason = "a span is an address")]
    pub fn with(&self, at: u64, content: &[u8]) -> Span {
        // SAFETY: tests keep the memory until nothing is in flight.
        let span = unsafe { self.0.span(at, u32::try_from(content.len()).unwrap()) }.unwrap();
        span.write(content);
        span
    }
}

pub fn bytes(span: Span) -> Vec<u8> {
    let mut bytes = vec![0; span.len() as usize];
    span.read(&mut bytes);
    bytes
}

/// A graph with one volume: what a core has.
pub struct Side {
    pub graph: Graph,
    pub volume: VolumeId,
    pub ended: Vec<(u16, Status)>,
}

impl Side {
    pub fn new(core: u16, volume: &Arc<Volume>) -> Self {
        let mut graph = Graph::default();
        let volume = mount(&mut graph, CoreId(core), volume).unwrap();
        Self { graph, volume, ended: Vec::new() }
    }

    pub fn submit(
        &mut self,
        slot: u16,
        operation: Operation,
        lba: u64,
        data: &[Span],
    ) -> Result<(), Refusal> {
        let halves = if matches!(operation, Operation::CompareAndWrite(_)) { 2 } else { 1 };
        let blocks = Span::total(data) / halves / BLOCK as u64;
        self.submit_blocks(slot, operation, lba..lba + blocks.max(1), data)
    }

    pub fn submit_blocks(
        &mut self,
        slot: u16,
        operation: Operation,
        blocks: std::ops::Range<u64>,
        data: &[Span],
    ) -> Result<(), Refusal> {
        let tag = Tag::new(1, slot);
        let (lba, blocks) = (Lba(blocks.start), u32::try_from(blocks.end - blocks.start).unwrap());
        let request = Request { tag, operation, lba, blocks, data };
        self.graph.volume(self.volume).unwrap().submit(&request)
    }

    pub fn copy(&mut self, copy: &CopyRequest<'_>) -> Result<(), Refusal> {
        self.graph.volume(self.volume).unwrap().submit_copy(copy)
    }

    pub fn turn(&mut self) {
        let ended = &mut self.ended;
        self.graph.commit();
        let up = |run: &[Completion]| ended.extend(run.iter().map(|end| (end.tag().slot(), end.status())));
        self.graph.poll(up);
    }

    /// Takes turns until nothing is in flight; returns what has ended.
    pub fn settle(&mut self) -> Vec<(u16, Status)> {
        let begun = Instant::now();
        while self.graph.in_flight() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "a request never ends");
            self.turn();
        }
        std::mem::take(&mut self.ended)
    }

    /// Does one request; returns its status.
    pub fn run(&mut self, operation: Operation, lba: u64, data: &[Span]) -> Status {
        self.submit(99, operation, lba, data).unwrap();
        match self.settle()[..] {
            [(99, status)] => status,
            ref other => panic!("one request ended as {other:?}"),
        }
    }
}
