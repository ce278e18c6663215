//! Hosts that mean harm: whatever is in their queues, doorbells and lists, each command ends once, a turn's work is
//! bounded, and another session of the same core goes on.

mod rig;

use luge_block::doubles::{Delayed, Narrow};
use luge_block::{Device, Geometry};
use luge_core::{Session, SessionId, Took, Work};
use luge_nvme_target::{CommandStatus, QueueSession};
use luge_seeded::{Random, fuzz};
use luge_spec::nvme::{StatusCode, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use luge_volume::{Graph, Volume};
use rig::data::write_words;
use rig::{Bench, HostQueue, PAGE, Setup, memory, read};
use rustix::fs::ftruncate;
use std::collections::HashSet;
use std::sync::Arc;

const DATA: u64 = RigMemory::DATA.0;
const FAR: u64 = RigMemory::FAR_DATA.0;
const BLOCKS: u64 = 256;
const ENTRIES: u32 = 16;

/// Most work of a take: the allowance, one command's data pointer, and its data.
const WORK_MAX: u32 = Work::QUANTUM.0 + 1100 * Work::DESCRIPTOR.0 + (1 << 20) / 8 + 64 * Work::REQUEST.0;

/// Addresses that are tempting: of data, of lists, across regions, of nothing. Not of queues, or completions could not be
/// told from data.
fn some_address(random: &mut Random) -> u64 {
    let base = random.pick(&[
        DATA,
        FAR,
        RigMemory::MORE_DATA.0 - PAGE,
        FAR + RigMemory::FAR_DATA.1 - PAGE,
        u64::MAX - PAGE,
        0,
    ]);
    let offset = random.pick(&[0, 8, 16, 512, PAGE - 8, PAGE - 1, PAGE, 2 * PAGE]);
    base.wrapping_add(offset)
}

/// An entry of good and bad parts.
fn some_entry(random: &mut Random) -> SubmissionEntry {
    let mut words = [0_u64; 8];
    words.iter_mut().for_each(|word| *word = random.number());
    if random.once_in(10) {
        return SubmissionEntry::from_words(words);
    }
    let mut entry = SubmissionEntry {
        opcode: random.pick(&[0, 1, 2, 2, 2, 4, 5, 8, 9, 0xc, 0xd, 0x19, 0x7f]),
        flags: random.pick(&[0, 0, 0, 0, 0x40, 0x40, 0x80, 0xc0, 1, 2, 3]),
        namespace: random.pick(&[1, 1, 1, 1, 0, 2, u32::MAX]),
        prp1: some_address(random),
        prp2: some_address(random),
        ..SubmissionEntry::from_words(words)
    };
    let blocks_z = random.pick(&[0, 0, 0, 7, 8, 63, 255, 0xffff]);
    let lba = u32::try_from(random.below(BLOCKS + 4)).unwrap();
    let high = random.pick(&[0, 0, 0, 0, u32::MAX]);
    entry.cdw10 = [lba, high, blocks_z | random.pick(&[0, 0, 1 << 30, 1 << 25, 1 << 26]), 0, 0, 0];
    if entry.opcode == 9 {
        entry.cdw10[0] &= 0xff;
        entry.cdw10[1] = 4;
    }
    if entry.flags & 0x40 != 0 {
        let kind = random.pick(&[0_u64, 0, 1, 2, 3, 3, 4, 0xf]);
        let len = random.pick(&[16_u64, 32, 512, 4096, 1 << 20, 0, 17, u64::from(u32::MAX)]);
        entry.prp2 = kind << 60 | len;
    }
    entry
}

/// Fills a page of lists with entries and descriptors, some of which lead back to the page.
fn fill_lists(bench: &Bench, random: &mut Random) {
    let words: Vec<u64> = (0..512)
        .map(|_| match random.below(4_u32) {
            0 => some_address(random),
            1 => random.pick(&[2_u64, 3, 0, 1]) << 60 | random.pick(&[16, 32, 48, 512, 4096]),
            2 => FAR + PAGE * random.below(3_u64),
            _ => DATA + PAGE * random.below(64_u64),
        })
        .collect();
    write_words(&bench.memory, FAR + PAGE * random.below(3_u64), &words);
}

/// A session of another host on the same graph, which wants no more than its due.
struct Neighbour {
    session: QueueSession,
    queue: HostQueue,
}

impl Neighbour {
    /// Moves a bench's session to another one's graph.
    fn on(graph: &mut Graph) -> Self {
        let mut bench = Bench::on(graph, vec![Volume::whole(memory(64))], Setup::default());
        bench.session.adopt(SessionId(1));
        Self { queue: bench.queues.remove(0), session: bench.session }
    }
}

/// Takes, commits, polls, for both sessions; returns whether anything happened.
fn turn(bench: &mut Bench, neighbour: &mut Neighbour) -> bool {
    let took = bench.session.take(&mut bench.graph, Work::QUANTUM);
    if let Took::Work(work) = took {
        assert!(work.0 <= WORK_MAX, "{work:?} in one turn");
    }
    let other = neighbour.session.take(&mut bench.graph, Work::QUANTUM);
    bench.graph.commit();
    let (session, next) = (&mut bench.session, &mut neighbour.session);
    let ended = bench.graph.poll(|run| {
        let is_neighbours = run[0].tag().session() == 1;
        if is_neighbours { next.finish(run) } else { session.finish(run) }
    });
    bench.session.publish();
    neighbour.session.publish();
    matches!(took, Took::Work(_)) || matches!(other, Took::Work(_)) || ended > 0
}

/// Answers what was relayed.
fn answer_relayed(bench: &mut Bench) {
    while let Some(command) = bench.relay.next() {
        let status = CommandStatus::refused(StatusCode::INVALID_OPCODE);
        assert!(bench.session.complete_relayed(command.id, status, 0));
    }
}

/// A memory device behind a narrow one, whose completions come late.
fn device(random: &mut Random) -> Arc<dyn Device> {
    let memory = memory(BLOCKS);
    let limits = Geometry { transfer_blocks_max: 16, spans_max: 8, ..memory.geometry() };
    let narrow = Narrow::new(memory, limits, 12).refusing(100, random.number());
    Arc::new(Delayed::new(Arc::new(narrow), random.number()))
}

#[test]
fn every_command_of_a_hostile_host_ends_once_and_its_neighbour_goes_on() {
    fuzz(|random| {
        let setup = Setup { entries: ENTRIES, ..Setup::default() };
        let mut bench = Bench::with(vec![Volume::whole(device(random))], setup);
        let mut neighbour = Neighbour::on(&mut bench.graph);
        for round in 0..20 {
            fill_lists(&bench, random);
            let mut sent = HashSet::new();
            for _ in 0..random.below(ENTRIES) {
                let entry = some_entry(random);
                sent.insert(bench.queues[0].push(entry));
            }
            if random.once_in(3) {
                bench.queues[0].ring_with(random.pick(&[ENTRIES, u32::MAX, 1 << 16]));
                turn(&mut bench, &mut neighbour);
            }
            bench.queues[0].ring();
            neighbour.queue.push(read(round % 64, 1, DATA));
            neighbour.queue.ring();
            let mut turns = 0;
            while !sent.is_empty() || neighbour.queue.peek().is_none() {
                turn(&mut bench, &mut neighbour);
                answer_relayed(&mut bench);
                if random.once_in(4) {
                    fill_lists(&bench, random);
                }
                while let Some(end) = bench.queues[0].take() {
                    assert!(sent.remove(&end.command_id), "{} ends twice, or was never sent", end.command_id);
                }
                turns += 1;
                assert!(turns < 20_000, "{} commands do not end", sent.len());
            }
            assert_eq!(neighbour.queue.take().unwrap().status.code(), StatusCode::SUCCESS);
            assert_eq!(bench.session.in_flight(), 0);
        }
    });
}

#[test]
fn queues_of_random_bytes_do_no_harm() {
    fuzz(|random| {
        let setup = Setup { entries: ENTRIES, queues: 3, ..Setup::default() };
        let mut bench = Bench::with(vec![Volume::whole(device(random))], setup);
        let mut neighbour = Neighbour::on(&mut bench.graph);
        for _ in 0..100 {
            let queue = random.below(3_usize);
            for index in 0..ENTRIES {
                let mut entry = some_entry(random);
                if random.once_in(8) {
                    entry.prp1 = RigMemory::RINGS.0 + 64 * random.below(64_u64);
                }
                bench.queues[queue].write(index, entry);
            }
            fill_lists(&bench, random);
            bench.queues[queue].ring_with(random.below(ENTRIES + 1));
            bench.queues[0].ring_head_with(random.below(ENTRIES + 1));
            for _ in 0..random.below(4_u32) {
                turn(&mut bench, &mut neighbour);
            }
            answer_relayed(&mut bench);
        }
        neighbour.queue.push(read(3, 1, DATA));
        neighbour.queue.ring();
        let served = (0..200).any(|_| {
            turn(&mut bench, &mut neighbour);
            neighbour.queue.peek().is_some()
        });
        assert!(served, "the neighbour");
        bench.session.hold();
        let drained = (0..20_000).any(|_| {
            turn(&mut bench, &mut neighbour);
            bench.session.is_drained()
        });
        assert!(drained, "requests that do not end");
    });
}

#[test]
fn memory_of_queues_that_is_taken_away_harms_nobody_else() {
    let mut bench = Bench::with(vec![Volume::whole(memory(BLOCKS))], Setup::default());
    let mut neighbour = Neighbour::on(&mut bench.graph);
    bench.queues[0].push(read(0, 1, DATA));
    bench.queues[0].ring();
    turn(&mut bench, &mut neighbour);
    assert!(bench.take().is_some());
    for (_, file) in &bench.memory.files {
        ftruncate(file, 0).unwrap();
    }
    // Entries of zeroes: flushes of namespace 0.
    bench.queues[0].ring_with(9);
    neighbour.queue.push(read(1, 1, DATA));
    neighbour.queue.ring();
    for _ in 0..10 {
        turn(&mut bench, &mut neighbour);
    }
    assert!(bench.memory.table.faults() > 0, "the memory is gone");
    assert_eq!(neighbour.queue.take().unwrap().status.code(), StatusCode::SUCCESS);
    assert_eq!(bench.session.in_flight(), 0);
}
