//! Channels of a device under test, with the books on what is in flight. Whatever breaks the
//! contract ends the test with the seed that shows it.

use super::Arena;
use crate::{
    Channel, Completion, Completions, CoreId, Device, Geometry, Lba, Refusal, Request, TransferExtent,
};
use luge_memory::DmaSpace;
use luge_seeded::Random;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A device that has not completed a request by then has lost it.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(20);

/// Number of requests that the checks have in flight, on all channels together.
pub(super) const SLOTS: u16 = 32;

/// Most blocks of a request of the checks, and most bytes of one that has more than two blocks. Requests that
/// check the limits are longer.
const BLOCKS_MAX: u32 = 16;
const BYTES_MAX: u32 = 32 << 10;

/// Whether requests may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failures {
    /// Each request that is in order must succeed.
    None,
    /// Requests may fail as devices do; those that change data then may have done so or not.
    Tolerated,
}

/// A check of a device. What is on the device may be anything, and is changed.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// The device.
    pub device: &'a dyn Device,
    /// Space that the device reaches memory through.
    pub space: &'a Arc<DmaSpace>,
    /// Number of cores on which the device is opened, from core 0.
    pub cores: u16,
    /// Number of requests made, about.
    pub steps: u32,
    /// Whether they may fail.
    pub failures: Failures,
}

/// One channel, and what it owes.
struct Line {
    channel: Box<dyn Channel>,
    owed: BTreeSet<u16>,
}

/// The channels of a device, the memory for requests, and the books.
pub(super) struct Rig {
    seed: u64,
    pub random: Random,
    pub geometry: Geometry,
    /// The most blocks of a request.
    pub blocks_max: u32,
    // Dropped before the arena: a channel may still write to it.
    lines: Vec<Line>,
    pub arena: Arena,
}

impl Rig {
    pub fn new(check: &Check<'_>, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let geometry = check.device.geometry();
        let open = |core| match check.device.open(CoreId(core)) {
            Ok(channel) => Line { channel, owed: BTreeSet::new() },
            Err(error) => panic!("no channel for core {core}: {error}"),
        };
        let lines = (0..check.cores.max(1)).map(open).collect();
        let blocks_max = (BYTES_MAX / geometry.block_bytes).clamp(2, BLOCKS_MAX);
        // Both halves of a compare-and-write.
        let request_bytes = 2 * blocks_max.min(geometry.transfer_blocks_max) * geometry.block_bytes;
        let largest_bytes = (geometry.transfer_blocks_max + 1) * geometry.block_bytes;
        let arena = Arena::new(check.space, SLOTS, request_bytes, largest_bytes, &mut random);
        Self { seed, random, geometry, blocks_max, lines, arena }
    }

    /// Any of the channels.
    pub fn any_core(&mut self) -> u16 {
        u16::try_from(self.random.below(self.lines.len())).unwrap_or(0)
    }

    pub fn room(&self, core: u16) -> usize {
        self.line(core).channel.room()
    }

    pub fn in_flight(&self) -> usize {
        self.lines.iter().map(|line| line.owed.len()).sum()
    }

    /// Submits a request to the channel that its tag names.
    pub fn submit(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let (core, slot) = (request.tag.session(), request.tag.slot());
        let line = &mut self.lines[usize::from(core)];
        let room = line.channel.room();
        let result = line.channel.submit(request);
        if result.is_ok() {
            line.owed.insert(slot);
        }
        let (owed, says) = (line.owed.len(), line.channel.in_flight());
        self.expect(owed == says, format_args!("{owed} in flight, but the channel says {says}"));
        let honest = match result {
            Ok(()) => room > 0,
            Err(Refusal::Full) => room == 0,
            Err(Refusal::Failed(_)) => true,
        };
        self.expect(honest, format_args!("room for {room}, but {request:?} ended in {result:?}"));
        result
    }

    /// Whether a request ends at once, with success, on the channel that its tag names. If it does not, it may be
    /// submitted.
    pub fn serves_at_once(&mut self, request: &Request<'_>) -> bool {
        let extent = TransferExtent::new(&self.geometry, Lba(0), self.geometry.blocks);
        let line = &mut self.lines[usize::from(request.tag.session())];
        let Some(transfer) =
            extent.check(request, request.tag).filter(|_| line.channel.at_once_min().is_some())
        else {
            return false;
        };
        let room = line.channel.room();
        let (count, refusal) = line.channel.serve_all(&[transfer]);
        let honest = match (count, refusal) {
            (0, Some(Refusal::Full)) => room == 0,
            (0, Some(Refusal::Failed(_))) | (1, None) => true,
            _ => false,
        };
        self.expect(honest, format_args!("room for {room}, but {request:?} ended at once in {refusal:?}"));
        count == 1
    }

    pub fn commit(&mut self, core: u16) {
        self.lines[usize::from(core)].channel.commit();
    }

    /// Completions that one channel has now.
    pub fn poll(&mut self, core: u16) -> Vec<Completion> {
        let mut done = Completions::default();
        self.lines[usize::from(core)].channel.poll(&mut done);
        for completion in done.as_slice() {
            let owed = completion.tag().session() == core
                && self.lines[usize::from(core)].owed.remove(&completion.tag().slot());
            self.expect(owed, format_args!("core {core} did not expect {completion:?}"));
        }
        done.as_slice().to_vec()
    }

    /// Waits until all channels owe nothing, or one of them completes something.
    pub fn wait(&mut self) -> Vec<Completion> {
        let deadline = Instant::now() + COMPLETION_TIMEOUT;
        while self.in_flight() > 0 {
            for core in 0..u16::try_from(self.lines.len()).unwrap_or(u16::MAX) {
                self.commit(core);
                let done = self.poll(core);
                if !done.is_empty() {
                    return done;
                }
            }
            self.expect(Instant::now() < deadline, "requests have not completed");
            std::thread::yield_now();
        }
        Vec::new()
    }

    /// Checks, after the last completion, that nothing is in flight, that nothing more comes, and that no other
    /// memory was touched.
    pub fn expect_quiet(&mut self) {
        for core in 0..u16::try_from(self.lines.len()).unwrap_or(u16::MAX) {
            let more = self.poll(core);
            self.expect(more.is_empty(), "a completion came after the last one");
        }
        self.expect(self.arena.is_as_expected(), "memory was changed that belongs to no request");
    }

    /// Ends the test, unless `holds`.
    #[track_caller]
    pub fn expect(&self, holds: bool, what: impl Display) {
        assert!(holds, "seed {:#x}: {what}", self.seed);
    }

    fn line(&self, core: u16) -> &Line {
        &self.lines[usize::from(core)]
    }
}
