//! The check that every device must pass: random requests against a model of what they mean.

use super::model::Model;
use super::rig::{Check, Failures, Rig, SLOTS};
use super::{Layout, edges};
use crate::{Completion, Device, Durability, Lba, Operation, Request, Status, Tag};
use luge_memory::DmaSpace;
use std::ops::Range;
use std::sync::Arc;

/// Number of blocks of the device that requests are made for; fewer, if they are large.
const WINDOW_BLOCKS: u64 = 192;
const WINDOW_BYTES: u64 = 512 << 10;

const COMPARE_AND_WRITE: Operation = Operation::CompareAndWrite(Durability::Cache);

/// Blocks at both ends of the window that are only read: nothing may spill into them.
const GUARD_BLOCKS: u64 = 8;

/// Checks a device on one core, none of whose requests may fail. Panics with the seed where
/// it breaks the contract.
pub fn check_device(seed: u64, device: &dyn Device, space: &Arc<DmaSpace>) {
    Check { device, space, cores: 1, steps: 1000, failures: Failures::None }.run(seed);
}

impl Check<'_> {
    /// Runs the check that belongs to a seed.
    ///
    /// # Panics
    /// With the seed, where the device breaks the contract.
    pub fn run(&self, seed: u64) {
        let mut run = Run::new(self, seed);
        for step in 0..self.steps {
            run.step();
            if step % 100 == 99 {
                run.settle();
            }
        }
        run.settle();
        run.verify();
        edges::check(&mut run.rig, run.window.start);
    }
}

/// A request in flight.
struct Pending {
    operation: Operation,
    /// Blocks of the request, counted from the start of the window.
    blocks: Range<usize>,
    layout: Layout,
    /// Bytes that it writes, or compares with; both of a compare-and-write.
    content: Vec<u8>,
}

impl Pending {
    /// Whether the outcome of one depends on the other.
    fn conflicts_with(&self, operation: Operation, blocks: &Range<usize>) -> bool {
        let overlap = self.blocks.start < blocks.end && blocks.start < self.blocks.end;
        overlap && (self.operation.changes_data() || operation.changes_data())
    }
}

struct Run {
    rig: Rig,
    failures: Failures,
    window: Range<u64>,
    model: Model,
    pending: Vec<Option<Pending>>,
}

impl Run {
    fn new(check: &Check<'_>, seed: u64) -> Self {
        let mut rig = Rig::new(check, seed);
        let end = rig.geometry.blocks.0;
        let wanted =
            (WINDOW_BYTES / u64::from(rig.geometry.block_bytes)).clamp(6 * GUARD_BLOCKS, WINDOW_BLOCKS);
        let size = end.min(wanted);
        let start = match rig.random.below(3_u32) {
            0 => 0,
            1 => end - size,
            _ => rig.random.below(end - size + 1),
        };
        let model = Model::new(rig.geometry.block_bytes, &[]);
        let pending = (0..SLOTS).map(|_| None).collect();
        let mut run = Self { rig, failures: check.failures, window: start..start + size, model, pending };
        let content = run.content();
        run.model = Model::new(run.rig.geometry.block_bytes, &content);
        run
    }

    /// One thing that a core may do, by chance.
    fn step(&mut self) {
        let core = self.rig.any_core();
        match self.rig.random.below(20_u32) {
            0..14 => self.submit(core),
            14..17 => self.rig.commit(core),
            _ => {
                let done = self.rig.poll(core);
                self.end(&done);
            }
        }
    }

    /// Submits a random request, unless what it means would depend on one in flight.
    fn submit(&mut self, core: u16) {
        let Some(slot) = self.pending.iter().position(Option::is_none) else {
            let done = self.rig.wait();
            return self.end(&done);
        };
        let slot = u16::try_from(slot).unwrap_or(0);
        let request = self.random_request(slot);
        let conflict = |other: &Pending| other.conflicts_with(request.operation, &request.blocks);
        if self.pending.iter().flatten().any(conflict) {
            return;
        }
        let tag = Tag::new(core, slot);
        if self.rig.random.once_in(3) && self.with_request(tag, &request, Rig::serves_at_once) {
            return self.end_one(&request, Status::Success);
        }
        let result = self.with_request(tag, &request, Rig::submit);
        match result {
            Ok(()) => self.pending[usize::from(slot)] = Some(request),
            Err(refusal) => {
                let full = self.rig.room(core) == 0;
                self.rig.expect(full, format_args!("a good request ended in {refusal:?}"));
            }
        }
    }

    /// Calls `call` with a request.
    fn with_request<T>(
        &mut self,
        tag: Tag,
        request: &Pending,
        call: impl FnOnce(&mut Rig, &Request<'_>) -> T,
    ) -> T {
        let data = self.rig.arena.spans(&request.layout);
        let lba = Lba(self.window.start + request.blocks.start as u64);
        let blocks = u32::try_from(request.blocks.len()).unwrap_or(u32::MAX);
        call(&mut self.rig, &Request { tag, operation: request.operation, lba, blocks, data: &data })
    }

    fn random_request(&mut self, slot: u16) -> Pending {
        let operation = self.random_operation();
        let blocks = self.random_blocks(operation);
        if !operation.moves_data() {
            return Pending { operation, blocks, layout: Layout::default(), content: Vec::new() };
        }
        let expected = operation.is_compare().then(|| self.expected_content(&blocks));
        let len = operation.memory_of(u32::try_from(blocks.len()).unwrap_or(0));
        let Rig { arena, random, geometry, .. } = &mut self.rig;
        let len = u32::try_from(len).unwrap_or(0) * geometry.block_bytes;
        let layout = arena.layout(slot, len, geometry.spans_max, random);
        arena.scribble(&layout, random);
        if let Some(expected) = expected {
            let mut content = arena.read(&layout);
            content[..expected.len()].copy_from_slice(&expected);
            arena.write(&layout, &content);
        }
        let content = arena.read(&layout);
        Pending { operation, blocks, layout, content }
    }

    /// Bytes for a compare: a possible content of the blocks, now and then with another byte in it.
    fn expected_content(&mut self, blocks: &Range<usize>) -> Vec<u8> {
        let mut content = self.model.guess(blocks.clone());
        if self.rig.random.once_in(3) {
            let at = self.rig.random.below(content.len());
            content[at] ^= 1 << self.rig.random.below(8_u32);
        }
        content
    }

    fn random_operation(&mut self) -> Operation {
        let geometry = self.rig.geometry;
        let offers = |operation| geometry.blocks_max(operation) > 0;
        let operation = match self.rig.random.below(20_u32) {
            0..6 => Operation::Read,
            6..10 => Operation::Write(Durability::Cache),
            10..12 => Operation::Write(Durability::Media),
            12 => Operation::Flush,
            13 if offers(Operation::Discard) => Operation::Discard,
            14 if offers(Operation::WriteZeroes) => Operation::WriteZeroes,
            15 if offers(Operation::WriteZeroesUnmap) => Operation::WriteZeroesUnmap,
            16 if offers(Operation::Compare) => Operation::Compare,
            17 if offers(Operation::Verify) => Operation::Verify,
            18..20 if offers(COMPARE_AND_WRITE) => COMPARE_AND_WRITE,
            _ => Operation::Read,
        };
        if geometry.read_only && operation.changes_data() { Operation::Read } else { operation }
    }

    fn random_blocks(&mut self, operation: Operation) -> Range<usize> {
        let geometry = self.rig.geometry;
        if operation.is_flush() {
            return 0..0;
        }
        let most = geometry.blocks_max(operation);
        let size = self.window.end - self.window.start;
        let guard = if operation.changes_data() && size > 4 * GUARD_BLOCKS { GUARD_BLOCKS } else { 0 };
        let free = size - 2 * guard;
        let count = u64::from(self.rig.random.between(1, most.min(self.rig.blocks_max))).min(free);
        let first = guard + self.rig.random.below(free - count + 1);
        let index = |block| usize::try_from(block).unwrap_or(0);
        index(first)..index(first + count)
    }

    /// Waits for all that is in flight.
    fn settle(&mut self) {
        while self.rig.in_flight() > 0 {
            let done = self.rig.wait();
            self.end(&done);
        }
        self.rig.expect_quiet();
    }

    fn end(&mut self, done: &[Completion]) {
        for completion in done {
            let pending = self.pending[usize::from(completion.tag().slot())].take();
            let known = pending.is_some();
            self.rig.expect(known, format_args!("{completion:?} was not asked for"));
            if let Some(pending) = pending {
                self.end_one(&pending, completion.status());
            }
        }
    }

    /// Takes a completion into the model of the device's content, and checks its status.
    fn end_one(&mut self, pending: &Pending, status: Status) {
        let success = status == Status::Success;
        let unequal = status == Status::CompareFailed && pending.operation.is_compare();
        let tolerated = success || unequal || self.failures == Failures::Tolerated;
        self.rig.expect(tolerated, format_args!("{:?} ended in {status:?}", pending.operation));
        let (first, zeroes) = (pending.blocks.start, self.zeroes(pending.blocks.len()));
        match (pending.operation, success) {
            (Operation::Compare | Operation::CompareAndWrite(_), _) if unequal => {
                self.expect_unequal(pending)
            }
            (
                Operation::Flush | Operation::Verify | Operation::WriteUncorrectable | Operation::Stepped(_),
                _,
            )
            | (Operation::Read | Operation::Compare, false) => {}
            (Operation::Read, true) => {
                let content = self.rig.arena.read(&pending.layout);
                self.expect_content(pending, &content);
            }
            (Operation::Compare, true) => self.expect_content(pending, &pending.content),
            (Operation::CompareAndWrite(_), _) => self.end_compare_and_write(pending, success),
            (Operation::Write(_), true) => self.model.write(first, &pending.content),
            (Operation::Write(_), false) => self.model.maybe_write(first, &pending.content),
            (Operation::WriteZeroes | Operation::WriteZeroesUnmap, true) => self.model.write(first, &zeroes),
            (Operation::Discard, _) | (Operation::WriteZeroes | Operation::WriteZeroesUnmap, false) => {
                self.model.maybe_write(first, &zeroes);
            }
        }
        // From here on a device that still used the memory would be found out.
        self.rig.arena.scribble(&pending.layout, &mut self.rig.random);
    }

    fn zeroes(&self, blocks: usize) -> Vec<u8> {
        vec![0; blocks * self.rig.geometry.block_bytes as usize]
    }

    /// Takes a compare-and-write that found the blocks equal, or failed, into the model.
    fn end_compare_and_write(&mut self, pending: &Pending, success: bool) {
        let (compared, written) = pending.content.split_at(pending.content.len() / 2);
        if success {
            self.expect_content(pending, compared);
            self.model.write(pending.blocks.start, written);
        } else {
            self.model.maybe_write(pending.blocks.start, written);
        }
    }

    fn expect_unequal(&mut self, pending: &Pending) {
        let bytes = pending.blocks.len() * self.rig.geometry.block_bytes as usize;
        let equal = self.model.is_surely(pending.blocks.start, &pending.content[..bytes]);
        self.rig.expect(!equal, format_args!("blocks {:?} are equal", pending.blocks));
    }

    fn expect_content(&mut self, pending: &Pending, content: &[u8]) {
        let result = self.model.read(pending.blocks.start, content);
        self.rig
            .expect(result.is_ok(), format_args!("blocks {:?}: {result:?} was read wrong", pending.blocks));
    }

    /// Reads the whole window once more.
    fn verify(&mut self) {
        let content = self.content();
        let result = self.model.read(0, &content);
        self.rig.expect(result.is_ok(), format_args!("block {result:?} of the window is wrong at the end"));
    }

    /// The content of the window.
    fn content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        for block in self.window.clone() {
            content.append(&mut edges::read(&mut self.rig, Lba(block), 1));
        }
        content
    }
}
