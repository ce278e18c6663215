//! A device without blocks: it writes down what it is asked, and completes it as it is told.

use crate::{
    Blocks, Channel, Completion, Completions, CoreId, Device, Geometry, Lba, OpenError, Operation,
    OperationLimits, Refusal, Request, Status, Tag,
};
use luge_memory::Span;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A request that was taken.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The core whose channel took it.
    pub core: CoreId,
    /// Tag of the request.
    pub tag: Tag,
    /// Operation of the request.
    pub operation: Operation,
    /// First block of the request.
    pub lba: Lba,
    /// Number of blocks.
    pub blocks: u32,
    /// Memory of the request: valid for as long as the request is in flight.
    pub data: Vec<Span>,
}

/// A device that a test plays. Clones are the same device.
#[derive(Clone)]
pub struct Scripted {
    geometry: Geometry,
    script: Arc<Mutex<Script>>,
}

struct Script {
    room: usize,
    taken: Vec<Recorded>,
    committed: usize,
    commits: usize,
    ended: VecDeque<(CoreId, Completion)>,
    opened: usize,
}

impl Scripted {
    /// A device that looks like that, whose channels have room for `room` requests together.
    #[must_use]
    pub fn new(geometry: Geometry, room: usize) -> Self {
        let script =
            Script { room, taken: Vec::new(), committed: 0, commits: 0, ended: VecDeque::new(), opened: 0 };
        Self { geometry, script: Arc::new(Mutex::new(script)) }
    }

    /// The requests in flight that it has not been told how to complete, oldest first.
    #[must_use]
    pub fn taken(&self) -> Vec<Recorded> {
        self.lock().taken.clone()
    }

    /// Number of requests taken that wait for a commit.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        let script = self.lock();
        script.taken.len() - script.committed
    }

    /// Number of commits so far.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.lock().commits
    }

    /// Number of channels opened so far.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.lock().opened
    }

    /// Sets how many requests may be in flight from now on.
    pub fn set_room(&self, room: usize) {
        self.lock().room = room;
    }

    /// Completes the oldest request of that session and slot; false if there is none that was committed.
    pub fn complete(&self, tag: Tag, status: Status) -> bool {
        let mut script = self.lock();
        let Some(index) =
            script.taken.iter().take(script.committed).position(|taken| same_slot(taken.tag, tag))
        else {
            return false;
        };
        script.end(index, status);
        true
    }

    /// Completes every request that was committed, oldest first; returns how many.
    pub fn complete_all(&self, status: Status) -> usize {
        let mut script = self.lock();
        let count = script.committed;
        (0..count).for_each(|_| script.end(0, status));
        count
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same_slot(a: Tag, b: Tag) -> bool {
    a.session() == b.session() && a.slot() == b.slot()
}

impl Script {
    fn end(&mut self, index: usize, status: Status) {
        let taken = self.taken.remove(index);
        self.committed -= 1;
        self.ended.push_back((taken.core, Completion::new(taken.tag, status)));
    }

    fn in_flight(&self) -> usize {
        self.taken.len() + self.ended.len()
    }
}

impl Device for Scripted {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        self.lock().opened += 1;
        Ok(Box::new(ScriptedChannel { device: self.clone(), core }))
    }
}

struct ScriptedChannel {
    device: Scripted,
    core: CoreId,
}

impl Channel for ScriptedChannel {
    fn room(&self) -> usize {
        let script = self.device.lock();
        script.room.saturating_sub(script.in_flight())
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.device.geometry.check(request).map_err(Refusal::Failed)?;
        if self.room() == 0 {
            return Err(Refusal::Full);
        }
        let &Request { tag, operation, lba, blocks, data } = request;
        let recorded = Recorded { core: self.core, tag, operation, lba, blocks, data: data.to_vec() };
        self.device.lock().taken.push(recorded);
        Ok(())
    }

    fn commit(&mut self) {
        let mut script = self.device.lock();
        script.committed = script.taken.len();
        script.commits += 1;
    }

    fn poll(&mut self, done: &mut Completions) {
        let mut script = self.device.lock();
        while done.room() > 0
            && let Some(index) = script.ended.iter().position(|(core, _)| *core == self.core)
            && let Some((_, completion)) = script.ended.remove(index)
        {
            let _ = done.push(completion.tag(), completion.status());
        }
    }

    fn in_flight(&self) -> usize {
        let script = self.device.lock();
        let taken = script.taken.iter().filter(|taken| taken.core == self.core).count();
        taken + script.ended.iter().filter(|(core, _)| *core == self.core).count()
    }
}

impl Geometry {
    /// A small writable device with all abilities: 1024 blocks of 512 bytes.
    #[must_use]
    pub const fn for_tests() -> Self {
        Self {
            block_bytes: 512,
            blocks: Blocks(1024),
            transfer_blocks_max: 256,
            turn_blocks_max: u32::MAX,
            spans_max: 64,
            discard_blocks_max: 1024,
            write_zeroes_blocks_max: 1024,
            atomic_blocks: 1,
            optimal_blocks: 8,
            operations: OperationLimits::NONE,
            volatile_cache: true,
            read_only: false,
        }
    }
}
