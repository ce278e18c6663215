//! Memory that goes under commands in flight: it waits for those that use it, and for no others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::{Recorded, Scripted};
use luge_block::{Geometry, Status};
use luge_memory::{AddressRange, AddressRanges, GuestAddress};
use luge_nvme_target::{GoneMemory, MemoryChange, SessionMemory};
use luge_seeded::{Random, fuzz};
use luge_spec::nvme::{IoOpcode, SubmissionEntry};
use luge_virtqueue::rig::RigMemory;
use luge_volume::Volume;
use rig::data::write_words;
use rig::{Bench, PAGE, Setup, io};
use std::sync::Arc;

const ENTRIES: u32 = 64;

/// Most commands of a round.
const COMMANDS: u64 = 20;

/// Regions that may go.
const REGIONS: [(u64, u64); 3] = [RigMemory::DATA, RigMemory::MORE_DATA, RigMemory::FAR_DATA];

/// Place of the PRP list of a command.
fn list_of(command: u64) -> u64 {
    RigMemory::RINGS.0 + 0x8_0000 + PAGE * command
}

fn some_page(random: &mut Random) -> u64 {
    let (at, len) = random.pick(&REGIONS);
    at + PAGE * random.below(len / PAGE)
}

/// A command with data in up to twelve pages, or without data.
fn some_command(bench: &Bench, random: &mut Random, number: u64) -> SubmissionEntry {
    let opcode = random.pick(&[IoOpcode::READ, IoOpcode::WRITE, IoOpcode::FLUSH]);
    let pages = random.pick(&[1_u64, 1, 1, 2, 3, 12]);
    let mut entry =
        io(opcode, 0, if opcode == IoOpcode::FLUSH { 1 } else { u32::try_from(8 * pages).unwrap() });
    entry.prp1 = some_page(random);
    entry.prp2 = some_page(random);
    if pages > 2 {
        let list: Vec<u64> = (1..pages).map(|_| some_page(random)).collect();
        write_words(&bench.memory, list_of(number), &list);
        entry.prp2 = list_of(number);
    }
    entry
}

fn uses(request: &Recorded, memory: &AddressRanges) -> bool {
    request.data.iter().any(|span| memory.overlap(AddressRange::of(span)))
}

#[test]
fn memory_that_goes_waits_for_all_commands_that_use_it_and_for_few_others() {
    fuzz(|random| {
        // No request is cut.
        let limits = Geometry { transfer_blocks_max: 256, spans_max: 64, ..Geometry::for_tests() };
        let device = Scripted::new(limits, 64);
        let setup = Setup { entries: ENTRIES, ..Setup::default() };
        let mut bench = Bench::with(vec![Volume::whole(Arc::new(device.clone()))], setup);
        let mut at = RigMemory::RINGS.0;
        let [completion, submission] = [16, 64].map(|bytes| rig::layout(1, ENTRIES, bytes, &mut at));
        let rules = bench.rules;
        let find = |table: &Arc<_>| {
            SessionMemory::find(&completion, &[submission], &rules, Arc::clone(table)).with_notes(64)
        };
        let before = bench.memory.table.clone();
        assert!(matches!(bench.session.replace_memory(find(&before)), MemoryChange::Done(_)));
        for number in 0..random.below(COMMANDS) {
            let entry = some_command(&bench, random, number);
            bench.queues[0].push(entry);
        }
        bench.queues[0].ring();
        bench.turns();
        // Slots are filled anew.
        for taken in device.taken().iter().filter(|_| random.once_in(2)) {
            device.complete(taken.tag, Status::Success);
        }
        bench.turns();
        let region = random.pick(&REGIONS);
        let fewer = Arc::new(before.without(GuestAddress(region.0), region.1).unwrap());
        let gone = fewer.addresses_gone_since(&before);
        let taken = device.taken();
        let is_used = taken.iter().any(|request| uses(request, &gone));
        let is_exact = taken.iter().all(|request| request.data.len() <= 4);
        let memory = find(&fewer).without(GoneMemory::between(&before, &fewer));
        let waits = matches!(bench.session.replace_memory(memory), MemoryChange::Leaving);
        assert!(waits || !is_used, "{region:x?} is used by one of {taken:?}");
        assert!(!waits || is_used || !is_exact, "{region:x?} is used by none of {taken:?}");
        device.complete_all(Status::Success);
        bench.turns();
        assert_eq!(bench.session.take_left_memory().is_some(), waits);
    });
}
