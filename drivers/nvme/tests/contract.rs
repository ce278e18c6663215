//! An SSD that runs on a thread of its own: it passes the check for block devices, and serves several cores at once
//! while it is reset again and again.

#![expect(clippy::unwrap_used, reason = "what goes wrong fails the test")]

use luge_block::doubles::check_device;
use luge_block::{Channel, Completions, CoreId, Device, Durability, Lba, Operation, Request, Status, Tag};
use luge_memory::Span;
use luge_nvme::Options;
use luge_nvme::scripted::{Mischief, Rig, Script, ScriptedNamespace};
use luge_seeded::Random;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs `test` while the SSD serves its queues.
fn while_serving(rig: &Rig, test: impl FnOnce()) {
    /// Ends the SSD's thread, also if the test panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if rig.ssd.step() == 0 {
                    std::thread::yield_now();
                }
            }
        });
        test();
    });
}

/// Rig with a long timeout, which a busy machine does not exceed.
fn rig(block_shift: u8) -> Rig {
    let namespaces = vec![ScriptedNamespace::new(1, block_shift)];
    let command_timeout = Duration::from_secs(60);
    let options = Options { queue_entries: 64, bounce_pages: 512, command_timeout, ..Rig::options() };
    Rig::with(Script { namespaces, ..Script::default() }, options).unwrap()
}

#[test]
fn a_namespace_is_a_block_device_as_the_contract_says() {
    for block_shift in [9, 12] {
        let rig = rig(block_shift);
        let namespace = rig.controller.namespaces().remove(0);
        while_serving(&rig, || (0..4).for_each(|seed| check_device(seed, &*namespace, rig.space())));
        assert_eq!(rig.ssd.dma_faults(), 0);
        assert_eq!(rig.ssd.account().controller_resets, 0);
    }
}

/// Number of blocks of each request.
const BLOCKS: u32 = 4;
const BYTES: u32 = BLOCKS * 512;
/// Number of requests that a core has in flight.
const DEPTH: u16 = 8;

/// Core on which each slot writes a pattern of its own and reads it back, again and again.
struct Core {
    channel: Box<dyn Channel>,
    buffers: Vec<Span>,
    first: u64,
    rounds: [u32; DEPTH as usize],
    idle: Vec<u16>,
    aborted: u32,
}

impl Core {
    fn new(rig: &Rig, core: u16) -> Self {
        let channel = rig.controller.namespaces()[0].open(CoreId(core)).unwrap();
        // Every other buffer is one that bounces.
        let buffer = |slot: u64| rig.buffer((u64::from(core) << 20) + (slot << 13) + slot % 2, BYTES);
        let buffers = (0..u64::from(DEPTH)).map(buffer).collect();
        let (first, rounds, idle) = (u64::from(core) * 1000, [0; DEPTH as usize], (0..DEPTH).collect());
        Self { channel, buffers, first, rounds, idle, aborted: 0 }
    }

    /// Runs rounds; returns the number of aborted requests.
    fn run(mut self, rounds: u32) -> u32 {
        Rig::until("all rounds are done", || {
            while self.channel.room() > 0 && self.submit_one(rounds) {}
            self.channel.commit();
            let mut done = Completions::default();
            self.channel.poll(&mut done);
            done.as_slice().iter().for_each(|done| self.end(done.tag().slot(), done.status()));
            self.rounds.iter().all(|&round| round >= rounds)
        });
        assert_eq!(self.channel.in_flight(), 0);
        self.aborted
    }

    /// Submits a write in even rounds, a read in odd ones; returns whether another one may be submitted.
    fn submit_one(&mut self, rounds: u32) -> bool {
        let Some(slot) = self.idle.pop() else { return false };
        let round = self.rounds[usize::from(slot)];
        if round >= rounds {
            return true;
        }
        let data = [self.buffers[usize::from(slot)]];
        data[0].fill(if round % 2 == 1 { 0xee } else { pattern(round, slot) });
        let operation = if round % 2 == 1 { Operation::Read } else { Operation::Write(Durability::Cache) };
        let (tag, lba) = (Tag::new(0, slot), Lba(self.first + u64::from(slot) * 16));
        let taken =
            self.channel.submit(&Request { tag, operation, lba, blocks: BLOCKS, data: &data }).is_ok();
        if !taken {
            self.idle.push(slot);
        }
        taken
    }

    fn end(&mut self, slot: u16, status: Status) {
        let round = &mut self.rounds[usize::from(slot)];
        let mut bytes = [0; BYTES as usize];
        self.buffers[usize::from(slot)].read(&mut bytes);
        match status {
            Status::Success => {
                assert_eq!(bytes, [pattern(*round, slot); BYTES as usize], "what was written is there");
                *round += 1;
            }
            Status::Aborted => self.aborted += 1,
            other => panic!("{other:?}"),
        }
        self.idle.push(slot);
    }
}

/// Byte of a slot in a round that writes, and in the next one, which reads.
fn pattern(round: u32, slot: u16) -> u8 {
    u8::try_from((round / 2 * 8 + u32::from(slot)) % 251).unwrap()
}

#[test]
fn cores_read_what_they_wrote_while_their_ssd_is_reset_again_and_again() {
    let rig = rig(9);
    let mut random = Random::new(5);
    rig.ssd.misbehave((0..20_000).map(|_| random.once_in(600).then_some(Mischief::Fatal)));
    let cores: Vec<_> = (0..3).map(|core| Core::new(&rig, core)).collect();
    while_serving(&rig, || {
        let aborted: u32 = std::thread::scope(|scope| {
            let running: Vec<_> = cores.into_iter().map(|core| scope.spawn(|| core.run(200))).collect();
            running.into_iter().map(|core| core.join().unwrap()).sum()
        });
        assert!(aborted > 0);
        assert!(rig.ssd.account().controller_resets > 0);
    });
    assert_eq!(rig.ssd.dma_faults(), 0);
}
