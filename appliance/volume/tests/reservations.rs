//! Requests to a reserved volume, on one core.

#![expect(unsafe_code, reason = "spans that nobody looks into")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use luge_block::doubles::Scripted;
use luge_block::{
    BlockRange, Blocks, CopyRange, CoreId, Device, Durability, Geometry, Lba, Operation, Refusal, Request,
    Status, Stepped, Tag, WriteSame,
};
use luge_memory::{Iova, Span};
use luge_reservations::{
    Action, Claim, Identity, Key, Listener, Nexus, NexusConfig, Notice, Port, ReservationType,
};
use luge_volume::{Base, CopyRequest, Graph, Membership, Signal, Volume, VolumeId, VolumeUser, Wake};
use std::ptr::NonNull;
use std::sync::Arc;

const CORE: CoreId = CoreId(0);

/// A core that need not be woken.
struct NoCore;

impl Wake for NoCore {
    fn wake(&self) {}
}

struct Deaf;

impl Listener for Deaf {
    fn notify(&self, _notice: Notice) {}
}

fn nexus(volume: &Volume, host: u128) -> Nexus {
    let port = Port { target: 0, number: 1 };
    let identity = Some(Identity::nvme(host));
    Nexus::new(volume.reservations(), NexusConfig { identity, port, listener: Arc::new(Deaf) })
}

/// A volume with a holder and another registrant, each with the volume on the core, and somebody who cannot register.
struct Bench {
    graph: Graph,
    device: Scripted,
    holder: Nexus,
    registrant: Nexus,
    _members: [Membership; 2],
    /// The volume for the holder, the registrant and the stranger.
    ids: [VolumeId; 3],
}

impl Bench {
    fn new() -> Self {
        let device = Scripted::new(Geometry::for_tests(), 100);
        let signal = Arc::new(Signal::new(Box::new(NoCore)));
        let mut graph = Graph::new(signal.clone());
        let base = Base::Channel(graph.add_channel(device.open(CORE).unwrap()).ok().unwrap());
        let volume = Volume::whole(Arc::new(device.clone()));
        let (holder, registrant) = (nexus(&volume, 1), nexus(&volume, 2));
        let members = [(); 2].map(|()| volume.join(&signal));
        let users = [(&members[0], &holder), (&members[1], &registrant)].map(|(member, nexus)| VolumeUser {
            member: member.member().clone(),
            rights: nexus.rights_word().clone(),
        });
        let [first, second] = users.map(|user| graph.add_volume_for(CORE, &volume, base, user).unwrap());
        let stranger = graph.add_volume(CORE, &volume, base).unwrap();
        for nexus in [&holder, &registrant] {
            nexus.act(Action::Register { claim: Claim::Unregistered, key: Some(Key(7)) }).unwrap();
        }
        Self { graph, device, holder, registrant, _members: members, ids: [first, second, stranger] }
    }

    fn reserve(&self, kind: ReservationType) {
        self.holder.act(Action::Acquire { key: Key(7), kind }).unwrap();
    }

    fn release(&self, kind: ReservationType) {
        self.holder.act(Action::Release { key: Key(7), kind }).unwrap();
    }

    fn submit(&mut self, id: VolumeId, operation: Operation) -> Result<(), Refusal> {
        self.graph.volume(id).unwrap().submit(&request(operation))
    }

    /// Whether a run takes a transfer without a look at it.
    fn run_takes(&mut self, id: VolumeId, operation: Operation) -> bool {
        let mut volume = self.graph.volume(id).unwrap();
        let mut run = volume.run();
        let taken = run.add(&request(operation)).is_some();
        run.submit(|_, refusal| panic!("{refusal:?}"));
        taken
    }

    fn end_all(&mut self) {
        self.graph.commit();
        self.device.complete_all(Status::Success);
        self.graph.poll(|_| {});
    }
}

/// A request of one block, with as much memory as it needs.
fn request(operation: Operation) -> Request<'static> {
    let span = |len: u32| {
        let memory: &'static mut [u8] = Box::leak(vec![1; len as usize].into());
        let start = NonNull::from(memory).cast();
        // SAFETY: the memory stays for ever.
        unsafe { Span::new(start, Iova(0), len) }
    };
    let blocks = u32::from(!operation.is_flush());
    let data: &'static [Span] = match u32::try_from(operation.memory_of(blocks)).unwrap() {
        0 => &[],
        blocks => Box::leak(Box::new([span(512 * blocks)])),
    };
    Request { tag: Tag::new(1, 2), operation, lba: Lba(8), blocks, data }
}

/// Groups of figure 402 of NVMe Base 2.0 and of the NVM Command Set, and of SBC-3's table: each operation as a command
/// that reads (R) or writes (W). A flush (SYNCHRONIZE CACHE) is in the write group of both.
const GROUPS: [(Operation, char); 16] = [
    (Operation::Read, 'R'),
    (Operation::Compare, 'R'),
    (Operation::Verify, 'R'),
    (Operation::Write(Durability::Cache), 'W'),
    (Operation::Write(Durability::Media), 'W'),
    (Operation::Flush, 'W'),
    (Operation::Discard, 'W'),
    (Operation::WriteZeroes, 'W'),
    (Operation::WriteZeroesUnmap, 'W'),
    (Operation::CompareAndWrite(Durability::Cache), 'W'),
    (Operation::WriteUncorrectable, 'W'),
    (Operation::Stepped(Stepped::CompareSame), 'R'),
    (Operation::Stepped(Stepped::WriteSame(WriteSame::Cache)), 'W'),
    (Operation::Stepped(Stepped::WriteSame(WriteSame::UnmapCache)), 'W'),
    (Operation::Stepped(Stepped::WriteAndVerify), 'W'),
    (Operation::Stepped(Stepped::WriteAndCompare), 'W'),
];

/// Figure 402 again: allowed (A) or conflict (C) for holder, registrant and non-registrant.
const LINES: [(ReservationType, char, &str); 12] = [
    (ReservationType::WriteExclusive, 'R', "AAA"),
    (ReservationType::WriteExclusive, 'W', "ACC"),
    (ReservationType::ExclusiveAccess, 'R', "ACC"),
    (ReservationType::ExclusiveAccess, 'W', "ACC"),
    (ReservationType::WriteExclusiveRegistrantsOnly, 'R', "AAA"),
    (ReservationType::WriteExclusiveRegistrantsOnly, 'W', "AAC"),
    (ReservationType::ExclusiveAccessRegistrantsOnly, 'R', "AAC"),
    (ReservationType::ExclusiveAccessRegistrantsOnly, 'W', "AAC"),
    (ReservationType::WriteExclusiveAllRegistrants, 'R', "AAA"),
    (ReservationType::WriteExclusiveAllRegistrants, 'W', "AAC"),
    (ReservationType::ExclusiveAccessAllRegistrants, 'R', "AAC"),
    (ReservationType::ExclusiveAccessAllRegistrants, 'W', "AAC"),
];

const CONFLICT: Result<(), Refusal> = Err(Refusal::Failed(Status::ReservationConflict));

#[test]
fn each_operation_is_allowed_or_a_conflict_as_the_standards_say() {
    for (kind, group, line) in LINES {
        let mut bench = Bench::new();
        bench.reserve(kind);
        for (operation, _) in GROUPS.into_iter().filter(|(_, of)| *of == group) {
            for (id, expected) in bench.ids.into_iter().zip(line.chars()) {
                let conflict = bench.submit(id, operation) == CONFLICT;
                assert_eq!(conflict, expected == 'C', "{operation:?} of {id:?} with {kind:?}");
                if operation.is_transfer() {
                    let taken = bench.run_takes(id, operation);
                    assert_eq!(taken, expected == 'A', "{operation:?} of {id:?} with {kind:?}, in a run");
                }
            }
        }
        bench.end_all();
    }
}

#[test]
fn ranges_are_writes() {
    let mut bench = Bench::new();
    bench.reserve(ReservationType::WriteExclusive);
    let ranges = [BlockRange { operation: Operation::Discard, lba: Lba(0), blocks: 4 }];
    let [holder, registrant, stranger] = bench.ids;
    for (id, expected) in [(holder, Ok(())), (registrant, CONFLICT), (stranger, CONFLICT)] {
        let tag = Tag::new(1, 2);
        assert_eq!(bench.graph.volume(id).unwrap().submit_ranges(tag, &ranges), expected, "{id:?}");
    }
    bench.end_all();
}

#[test]
fn a_copy_is_a_write() {
    let mut bench = Bench::new();
    bench.reserve(ReservationType::WriteExclusive);
    let sources = [CopyRange { lba: Lba(0), blocks: 4 }];
    let copy =
        CopyRequest { tag: Tag::new(1, 2), sources: &sources, lba: Lba(100), durability: Durability::Cache };
    let [holder, registrant, stranger] = bench.ids;
    for (id, conflict) in [(holder, false), (registrant, true), (stranger, true)] {
        let result = bench.graph.volume(id).unwrap().submit_copy(&copy);
        assert_eq!(result == CONFLICT, conflict, "{id:?}: {result:?}");
    }
}

#[test]
fn a_conflict_is_told_before_anything_else_that_is_wrong() {
    let mut bench = Bench::new();
    bench.reserve(ReservationType::ExclusiveAccess);
    let far = Request { lba: Lba(u64::MAX), ..request(Operation::Read) };
    assert_eq!(bench.graph.volume(bench.ids[2]).unwrap().submit(&far), CONFLICT);
}

#[test]
fn a_conflict_is_told_although_the_blocks_are_fenced() {
    let mut bench = Bench::new();
    bench.reserve(ReservationType::WriteExclusive);
    let id = bench.ids[1];
    bench.graph.raise_fence(id, Lba(0)..Lba(100)).unwrap();
    assert!(bench.graph.drain(id));
    assert_eq!(bench.submit(id, Operation::Write(Durability::Cache)), CONFLICT);
    assert_eq!(bench.submit(id, Operation::Read), Err(Refusal::Full));
}

#[test]
fn a_request_that_waited_is_judged_again() {
    let mut bench = Bench::new();
    let (id, write) = (bench.ids[1], Operation::Write(Durability::Cache));
    bench.device.set_room(0);
    assert_eq!(bench.submit(id, write), Err(Refusal::Full));
    bench.reserve(ReservationType::WriteExclusive);
    bench.device.set_room(100);
    assert_eq!(bench.submit(id, write), CONFLICT);
    bench.release(ReservationType::WriteExclusive);
    assert_eq!(bench.submit(id, write), Ok(()));
    bench.end_all();
}

#[test]
fn requests_that_were_taken_before_end_as_they_would() {
    let mut bench = Bench::new();
    bench.submit(bench.ids[2], Operation::Write(Durability::Cache)).unwrap();
    bench.reserve(ReservationType::ExclusiveAccess);
    bench.graph.commit();
    assert_eq!(bench.device.complete_all(Status::Success), 1);
    let mut ended = 0;
    bench.graph.poll(|done| ended += done.len());
    assert_eq!(ended, 1);
}

#[test]
fn all_views_of_a_volume_share_its_reservations_and_a_part_has_its_own() {
    let volume = Volume::whole(Arc::new(Scripted::new(Geometry::for_tests(), 1)));
    let part = volume.part(Lba(0), Blocks(10)).unwrap();
    assert!(Arc::ptr_eq(volume.reservations(), volume.read_only_view().reservations()));
    assert!(!Arc::ptr_eq(volume.reservations(), part.reservations()));
}

#[test]
fn who_says_later_who_he_is_has_his_rights_from_then_on() {
    let mut bench = Bench::new();
    bench.reserve(ReservationType::ExclusiveAccessRegistrantsOnly);
    let id = bench.ids[1];
    for (identity, expected) in
        [(None, CONFLICT), (Some(Identity::nvme(3)), CONFLICT), (Some(Identity::nvme(2)), Ok(()))]
    {
        bench.registrant.identify(identity);
        assert_eq!(bench.submit(id, Operation::Read), expected, "{identity:?}");
    }
    bench.end_all();
}

#[test]
fn a_volume_that_drains_takes_nothing_until_nothing_is_in_flight_and_everything_then() {
    let mut bench = Bench::new();
    let [first, second, _] = bench.ids;
    bench.submit(first, Operation::Read).unwrap();
    bench.graph.begin_drain(first);
    bench.graph.begin_drain(first);
    assert!(!bench.graph.drain(first));
    assert_eq!(bench.graph.volume(first).unwrap().room(), 0);
    assert_eq!(bench.submit(first, Operation::Read), Err(Refusal::Full));
    assert_eq!(bench.submit(second, Operation::Read), Ok(()), "that is another user's");
    bench.end_all();
    assert!(bench.graph.drain(first));
    assert_eq!(bench.submit(first, Operation::Read), Ok(()));
    bench.end_all();
}

#[test]
fn a_drain_lifts_no_fence_and_takes_the_place_of_none() {
    let mut bench = Bench::new();
    let id = bench.ids[0];
    for _ in 0..8 {
        bench.graph.raise_fence(id, Lba(0)..Lba(100)).unwrap();
    }
    bench.graph.begin_drain(id);
    assert!(bench.graph.raise_fence(id, Lba(0)..Lba(100)).is_err());
    assert!(bench.graph.drain(id));
    assert_eq!(bench.submit(id, Operation::Read), Err(Refusal::Full), "its block is fenced");
    assert_eq!(bench.submit(id, Operation::Flush), Ok(()));
    bench.end_all();
}
