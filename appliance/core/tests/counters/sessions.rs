//! Sessions that increment a number in a block, and one that watches the block.

#![expect(unsafe_code, reason = "spans of the sessions' memory are addresses")]

use luge_block::{Completion, Durability, Lba, Operation, Refusal, Request, Status, Tag};
use luge_core::{Armed, Kick, Published, Session, SessionId, Took, Work};
use luge_memory::{DmaMemory, DmaSpace, PageSize, Span};
use luge_volume::{Graph, VolumeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub const BLOCK: u32 = 512;

/// Block with the number. The ones beside it are a watcher's own.
pub const LBA: u64 = 100;

/// The test's side of a session.
#[derive(Default)]
pub struct Progress {
    /// Number of increments, or observations, that are asked for.
    pub goal: AtomicU64,
    pub done: AtomicU64,
    /// Requests that failed otherwise than by a comparison.
    pub failed: AtomicU64,
    /// Number that was seen last.
    pub seen: AtomicU64,
    /// Observations that cannot be.
    pub wrong: AtomicU64,
}

impl Progress {
    pub fn is_over(&self) -> bool {
        self.done.load(SeqCst) >= self.goal.load(SeqCst)
    }
}

/// Memory of two blocks and more.
struct Memory(DmaMemory);

impl Memory {
    fn new() -> Self {
        Self(DmaMemory::allocate(&DmaSpace::new(), 4096, PageSize::Base, None).unwrap())
    }

    fn blocks(&self, count: u32) -> Span {
        // SAFETY: the session keeps the memory, and leaves its core only when nothing is in flight.
        unsafe { self.0.span(0, count * BLOCK) }.unwrap()
    }

    fn put(&self, index: u32, number: u64) {
        let bytes = number.to_le_bytes().repeat(BLOCK as usize / 8);
        let at = index * BLOCK;
        self.blocks(index + 1).slice(at, BLOCK).unwrap().write(&bytes);
    }

    /// Number that a block consists of; none if it is not the same everywhere.
    fn get(&self, index: u32) -> Option<u64> {
        let mut bytes = [0; BLOCK as usize];
        let at = index * BLOCK;
        self.blocks(index + 1).slice(at, BLOCK).unwrap().read(&mut bytes);
        let mut words = bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let first = words.next().unwrap();
        words.all(|word| word == first).then_some(first)
    }
}

/// Work of a session that has one request in flight.
pub trait Client: Send + 'static {
    /// The next request: operation, first block, number of blocks of memory.
    fn next(&mut self) -> (Operation, u64, u32);

    fn ended(&mut self, status: Status);
}

/// A session of a client.
pub struct Single<C> {
    client: C,
    memory: Span,
    progress: Arc<Progress>,
    volume: VolumeId,
    id: SessionId,
    in_flight: usize,
    quiet: bool,
}

impl Single<Incrementer> {
    pub fn incrementing(volume: VolumeId, goal: u64) -> (Box<Self>, Arc<Progress>) {
        Self::new(volume, goal, |memory, progress| Incrementer { memory, progress, number: 0, reads: false })
    }
}

impl Single<Watcher> {
    pub fn watching(volume: VolumeId, goal: u64) -> (Box<Self>, Arc<Progress>) {
        Self::new(volume, goal, |memory, progress| Watcher { memory, progress, seen: 0, turn: 0 })
    }
}

impl<C> Single<C> {
    fn new(
        volume: VolumeId,
        goal: u64,
        client: impl FnOnce(Memory, Arc<Progress>) -> C,
    ) -> (Box<Self>, Arc<Progress>) {
        let progress = Arc::new(Progress { goal: AtomicU64::new(goal), ..Progress::default() });
        let memory = Memory::new();
        let span = memory.blocks(3);
        let client = client(memory, progress.clone());
        let theirs = progress.clone();
        let session = Self {
            client,
            memory: span,
            progress: theirs,
            volume,
            id: SessionId(0),
            in_flight: 0,
            quiet: false,
        };
        (Box::new(session), progress)
    }
}

/// Increments the number by compare-and-write, and reads it where it has guessed wrong.
pub struct Incrementer {
    memory: Memory,
    progress: Arc<Progress>,
    /// Number that it expects.
    number: u64,
    reads: bool,
}

impl Client for Incrementer {
    fn next(&mut self) -> (Operation, u64, u32) {
        if self.reads {
            return (Operation::Read, LBA, 1);
        }
        self.memory.put(0, self.number);
        self.memory.put(1, self.number + 1);
        (Operation::CompareAndWrite(Durability::Cache), LBA, 2)
    }

    fn ended(&mut self, status: Status) {
        match status {
            Status::Success if self.reads => match self.memory.get(0) {
                Some(number) => (self.number, self.reads) = (number, false),
                None => drop(self.progress.wrong.fetch_add(1, SeqCst)),
            },
            Status::Success => {
                self.number += 1;
                self.progress.done.fetch_add(1, SeqCst);
            }
            Status::CompareFailed => self.reads = true,
            _ => {
                self.progress.failed.fetch_add(1, SeqCst);
                self.reads = true;
            }
        }
    }
}

/// Writes the blocks beside the number, in turns, and reads all three.
pub struct Watcher {
    memory: Memory,
    progress: Arc<Progress>,
    seen: u64,
    turn: u64,
}

impl Client for Watcher {
    fn next(&mut self) -> (Operation, u64, u32) {
        self.memory.put(0, self.turn);
        match self.turn % 3 {
            0 => (Operation::Write(Durability::Cache), LBA - 1, 1),
            1 => (Operation::Write(Durability::Cache), LBA + 1, 1),
            _ => (Operation::Read, LBA - 1, 3),
        }
    }

    fn ended(&mut self, status: Status) {
        if status == Status::Success && self.turn % 3 == 2 {
            let beside = [self.memory.get(0), self.memory.get(2)];
            let number = self.memory.get(1).filter(|&number| number >= self.seen);
            if beside != [Some(self.turn - 2), Some(self.turn - 1)] || number.is_none() {
                self.progress.wrong.fetch_add(1, SeqCst);
            }
            self.seen = number.unwrap_or(self.seen);
            self.progress.seen.store(self.seen, SeqCst);
            self.progress.done.fetch_add(1, SeqCst);
        }
        // A write that has failed is made again.
        self.turn += if status == Status::Success { 1 } else { 0 };
    }
}

impl<C: Client> Session for Single<C> {
    fn adopt(&mut self, id: SessionId) {
        self.id = id;
    }

    fn take(&mut self, graph: &mut Graph, _allowance: Work) -> Took {
        if self.in_flight > 0 || self.quiet || self.progress.is_over() {
            return Took::Nothing;
        }
        let mut volume = graph.volume(self.volume).unwrap();
        if volume.room() == 0 {
            return Took::NoRoom;
        }
        let (operation, lba, memory) = self.client.next();
        let blocks = if matches!(operation, Operation::CompareAndWrite(_)) { memory / 2 } else { memory };
        let data = [self.memory.split_at(memory * BLOCK).0];
        let request = Request { tag: Tag::new(self.id.0, 3), operation, lba: Lba(lba), blocks, data: &data };
        match volume.submit(&request) {
            Ok(()) => {
                self.in_flight = 1;
                Took::Work(Work::REQUEST)
            }
            Err(Refusal::Full) => Took::NoRoom,
            Err(Refusal::Failed(status)) => {
                self.client.ended(status);
                Took::Work(Work::REQUEST)
            }
        }
    }

    fn finish(&mut self, done: &[Completion]) {
        for end in done {
            self.in_flight -= 1;
            self.client.ended(end.status());
        }
    }

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        let idle = self.in_flight == 0 && (self.quiet || self.progress.is_over());
        if idle { Armed::Quiet } else { Armed::Waiting }
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        None
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn quiesce(&mut self) {
        self.quiet = true;
    }
}
