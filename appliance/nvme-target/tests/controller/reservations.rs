//! Reservations: several hosts, each with a controller of its own, and one volume.

use crate::rig::host::{DATA, get_feature, log, read, set_feature, write};
use crate::rig::{Host, Sled, disk};
use luge_block::{Lba, Operation, Refusal, Request, Status, Tag};
use luge_core::Attachment;
use luge_memory::GuestAddress;
use luge_nvme_target::NamespaceId;
use luge_seeded::fuzz;
use luge_spec::nvme::{AdminOpcode, IoOpcode, StatusCode, SubmissionEntry};
use luge_volume::doubles::Delay;

const OK: StatusCode = StatusCode::SUCCESS;
const CONFLICT: StatusCode = StatusCode::RESERVATION_CONFLICT;
const INVALID: StatusCode = StatusCode::INVALID_FIELD;

/// RTYPE values.
const WE: u32 = 1;
const WERO: u32 = 3;
const EARO: u32 = 4;
const WEAR: u32 = 5;

/// DW0 of the event that there is a notification.
const NOTIFIED: u32 = 6 | 0x80 << 16;

fn command(opcode: IoOpcode, cdw10: u32) -> SubmissionEntry {
    let mut entry = SubmissionEntry { namespace: 1, prp1: DATA, ..SubmissionEntry::io(opcode, 0, 0, 0) };
    entry.cdw10 = [cdw10, 0, 0, 0, 0, 0];
    entry
}

/// A host, its identifier and its key.
struct Node {
    host: Host,
    key: u64,
}

impl Node {
    /// A host with a queue and an identifier of 128 bits; zero for none.
    fn new(sled: &Sled, id: u8) -> Self {
        let mut node = Self { host: sled.host(), key: 0xa0 + u64::from(id) };
        node.start(id);
        node
    }

    /// Says who the host is, and creates a queue.
    fn start(&mut self, id: u8) {
        if id > 0 {
            self.host.memory.write(GuestAddress(DATA), &[id; 16]);
            self.host.succeed(set_feature(0x81, 1));
        }
        self.host.create_queue_pair(1);
    }

    fn send(&mut self, entry: SubmissionEntry, keys: [u64; 2]) -> StatusCode {
        self.put(keys);
        self.host.io(0, entry).status.code()
    }

    fn put(&mut self, keys: [u64; 2]) {
        self.host.memory.write(GuestAddress(DATA), &keys.map(u64::to_le_bytes).concat());
    }

    fn register(&mut self) -> StatusCode {
        self.send(command(IoOpcode::RESERVATION_REGISTER, 0), [0, self.key])
    }

    fn acquire(&mut self, kind: u32) -> StatusCode {
        self.send(command(IoOpcode::RESERVATION_ACQUIRE, kind << 8), [self.key, 0])
    }

    fn preempt(&mut self, kind: u32, victims: u64) -> StatusCode {
        self.send(command(IoOpcode::RESERVATION_ACQUIRE, kind << 8 | 1), [self.key, victims])
    }

    fn release(&mut self, kind: u32) -> StatusCode {
        self.send(command(IoOpcode::RESERVATION_RELEASE, kind << 8), [self.key, 0])
    }

    fn clear(&mut self) -> StatusCode {
        self.send(command(IoOpcode::RESERVATION_RELEASE, 1), [self.key, 0])
    }

    /// Begins to preempt and abort; returns without the completion.
    fn begin_abort(&mut self, kind: u32, victims: u64) {
        // Where no other command has its data.
        let keys = DATA + 0x8000;
        self.host.memory.write(GuestAddress(keys), &[self.key, victims].map(u64::to_le_bytes).concat());
        let entry = command(IoOpcode::RESERVATION_ACQUIRE, kind << 8 | 2);
        self.host.send_io(0, SubmissionEntry { prp1: keys, ..entry });
    }

    fn read(&mut self) -> StatusCode {
        self.host.io(0, read(1, 0)).status.code()
    }

    fn write(&mut self) -> StatusCode {
        self.host.io(0, write(1, 0)).status.code()
    }

    /// The extended report.
    fn report(&mut self) -> Vec<u8> {
        let mut entry = command(IoOpcode::RESERVATION_REPORT, 1023);
        entry.cdw10[1] = 1;
        self.host.fill_data(4096);
        assert_eq!(self.host.io(0, entry).status.code(), OK);
        self.host.data(4096)
    }

    /// Controller, whether it holds, key and first byte of the host of each line of a report.
    fn lines(&mut self) -> Vec<(u16, bool, u64, u8)> {
        let report = self.report();
        let count = usize::from(u16::from_le_bytes([report[5], report[6]]));
        let line = |line: &[u8]| {
            let key = u64::from_le_bytes(line[8..16].try_into().unwrap());
            (u16::from_le_bytes([line[0], line[1]]), line[2] == 1, key, line[16])
        };
        report[64..].chunks(64).take(count).map(line).collect()
    }

    /// Next notification: its type, those that wait, and its namespace.
    fn notification(&mut self) -> [u8; 3] {
        let page = self.host.log(0x80, 0, 64);
        [page[8], page[9], page[12]]
    }
}

/// Hosts with the identifiers 1, 2 and 3, of which the first two are registered.
fn nodes(sled: &Sled) -> [Node; 3] {
    let mut nodes = [1, 2, 3].map(|id| Node::new(sled, id));
    assert_eq!(nodes[0].register(), OK);
    assert_eq!(nodes[1].register(), OK);
    nodes
}

/// Somebody who cannot register, as a virtio disk: whether the volume refuses a request of his.
fn refuses_stranger(attachment: &Attachment, operation: Operation) -> bool {
    let id = attachment.volume();
    let refusal = attachment.core().call(move |core| {
        // Past the end, so that it is never served.
        let request = Request { tag: Tag::new(0, 0), operation, lba: Lba(u64::MAX), blocks: 1, data: &[] };
        core.graph().volume(id).unwrap().submit(&request).unwrap_err()
    });
    refusal == Refusal::Failed(Status::ReservationConflict)
}

#[test]
fn identify_says_what_reservations_can() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    assert_eq!(host.identify(0, 1)[31], 0xfe, "RESCAP: all types, no persistence");
    assert_eq!(host.identify(1, 0)[520] >> 5 & 1, 1, "ONCS");
    assert_eq!(host.identify(8, 1)[2], 0xfe);
}

/// Figure 402 of Base 2.0: read and write of holder, registrant and non-registrant, by RTYPE.
const TABLE: [(u32, &str); 6] =
    [(1, "AA AC AC"), (2, "AA CC CC"), (3, "AA AA AC"), (4, "AA AA CC"), (5, "AA AA AC"), (6, "AA AA CC")];

#[test]
fn each_type_lets_each_host_do_what_the_standard_says() {
    let sled = Sled::with_disk();
    let stranger = sled.core.attach(&sled.subsystem.namespaces()[0].volume).unwrap();
    let mut nodes = nodes(&sled);
    let letter = |status| match status {
        OK => 'A',
        CONFLICT => 'C',
        other => panic!("{other:?}"),
    };
    for (kind, line) in TABLE {
        assert_eq!(nodes[0].acquire(kind), OK);
        let of = |node: &mut Node| String::from_iter([letter(node.read()), letter(node.write())]);
        let lines: Vec<String> = nodes.iter_mut().map(of).collect();
        assert_eq!(lines.join(" "), line, "RTYPE {kind}");
        let others = [Operation::Read, Operation::WriteZeroes]
            .map(|operation| if refuses_stranger(&stranger, operation) { 'C' } else { 'A' });
        assert_eq!(String::from_iter(others), lines[2], "RTYPE {kind}, of a disk of another protocol");
        assert_eq!(nodes[0].release(kind), OK);
        assert_eq!(nodes[2].write(), OK);
    }
}

#[test]
fn flushes_and_formats_are_writes() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    assert_eq!(nodes[0].acquire(WE), OK);
    let flush = SubmissionEntry { namespace: 1, ..SubmissionEntry::io(IoOpcode::FLUSH, 0, 0, 0) };
    assert_eq!(nodes[1].host.io(0, flush).status.code(), CONFLICT);
    let format = SubmissionEntry { namespace: 1, ..SubmissionEntry::admin(AdminOpcode::FORMAT, 0, 0) };
    assert_eq!(nodes[1].host.refused(format), CONFLICT);
    nodes[0].host.succeed(format);
}

#[test]
fn commands_are_refused_as_the_standard_says() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    let [first, second, third] = &mut nodes;
    assert_eq!(first.acquire(WE), OK);
    assert_eq!(second.acquire(WE), CONFLICT, "held by another one");
    assert_eq!(third.acquire(WE), CONFLICT, "not registered");
    assert_eq!(third.preempt(WE, first.key), CONFLICT);
    assert_eq!(third.release(WE), CONFLICT);
    assert_eq!(third.clear(), CONFLICT);
    assert_eq!(second.release(WE), OK, "it holds nothing, which is no error");
    assert_eq!(first.release(WERO), INVALID);
    assert_eq!(second.preempt(WE, 0), INVALID);
    assert_eq!(second.preempt(WE, 0xdead), CONFLICT);
    let register = |cdw10| command(IoOpcode::RESERVATION_REGISTER, cdw10);
    assert_eq!(first.send(register(0), [0, 7]), CONFLICT, "another key");
    assert_eq!(first.send(register(2), [7, 8]), CONFLICT, "a wrong key");
    assert_eq!(first.send(register(2 | 8), [7, 8]), OK, "a wrong key that is ignored");
    assert_eq!(first.send(register(1), [8, 0]), OK);
    assert_eq!(first.send(register(2 | 8), [0, first.key]), OK, "no key that is ignored");
    assert_eq!(third.send(register(0), [0, 0]), INVALID, "zero is no key");
}

#[test]
fn fields_that_are_not_possible_are_refused() {
    let sled = Sled::with_disk();
    let mut node = Node::new(&sled, 0);
    for (opcode, cdw10) in [
        (IoOpcode::RESERVATION_REGISTER, 3),
        (IoOpcode::RESERVATION_REGISTER, 3 << 30),
        (IoOpcode::RESERVATION_ACQUIRE, 0),
        (IoOpcode::RESERVATION_ACQUIRE, 7 << 8),
        (IoOpcode::RESERVATION_ACQUIRE, WE << 8 | 8),
        (IoOpcode::RESERVATION_ACQUIRE, WE << 8 | 3),
        (IoOpcode::RESERVATION_RELEASE, WE << 8 | 8),
        (IoOpcode::RESERVATION_RELEASE, 2),
        (IoOpcode::RESERVATION_REPORT, u32::MAX),
    ] {
        assert_eq!(node.send(command(opcode, cdw10), [1, 1]), INVALID, "{opcode:?} {cdw10:#x}");
    }
    for namespace in [0, u32::MAX, 99] {
        let entry = SubmissionEntry { namespace, ..command(IoOpcode::RESERVATION_REGISTER, 0) };
        assert_eq!(node.send(entry, [0, 1]), StatusCode::INVALID_NAMESPACE, "{namespace}");
    }
    let inactive = SubmissionEntry { namespace: 2, ..command(IoOpcode::RESERVATION_REGISTER, 0) };
    assert_eq!(node.send(inactive, [0, 1]), INVALID);
    let fused = SubmissionEntry { flags: 1, ..command(IoOpcode::RESERVATION_REGISTER, 0) };
    assert_ne!(node.send(fused, [0, 1]), OK);
    let nowhere = SubmissionEntry { prp1: 1 << 60, ..command(IoOpcode::RESERVATION_REGISTER, 0) };
    assert_eq!(node.send(nowhere, [0, 1]), StatusCode::DATA_TRANSFER_ERROR);
    assert_eq!(node.lines(), [], "nothing of that has registered anybody");
}

#[test]
fn a_report_names_registrants_holders_and_controllers() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    assert_eq!(nodes[1].acquire(EARO), OK);
    let report = nodes[2].report();
    assert_eq!(report[..4], 2_u32.to_le_bytes(), "generation");
    assert_eq!(report[4], 4, "RTYPE");
    assert_eq!(report[9], 0, "PTPLS");
    assert_eq!(nodes[2].lines(), [(1, false, 0xa1, 1), (2, true, 0xa2, 2)]);
    assert_eq!(report[64 + 2 * 64], 0xa5, "no more is written than there is");
    let mut short = command(IoOpcode::RESERVATION_REPORT, 5);
    short.cdw10[1] = 1;
    nodes[2].host.fill_data(64);
    assert_eq!(nodes[2].host.io(0, short).status.code(), OK);
    assert_eq!(nodes[2].host.data(25)[24], 0xa5, "no more is written than was asked for");
}

#[test]
fn a_report_has_host_identifiers_of_the_length_that_its_host_has() {
    let sled = Sled::with_disk();
    let mut long = Node::new(&sled, 1);
    let inconsistent = StatusCode::HOST_ID_INCONSISTENT;
    assert_eq!(long.send(command(IoOpcode::RESERVATION_REPORT, 63), [0, 0]), inconsistent);
    let mut short = Node::new(&sled, 0);
    short.host.memory.write(GuestAddress(DATA), &[9; 8]);
    short.host.succeed(set_feature(0x81, 0));
    assert_eq!(short.register(), OK);
    let mut extended = command(IoOpcode::RESERVATION_REPORT, 63);
    extended.cdw10[1] = 1;
    assert_eq!(short.send(extended, [0, 0]), inconsistent);
    assert_eq!(short.send(command(IoOpcode::RESERVATION_REPORT, 63), [0, 0]), OK);
    let report = short.host.data(48);
    assert_eq!(report[24..26], [2, 0], "controller");
    assert_eq!(report[32..40], [9; 8], "host");
    assert_eq!(report[40..48], short.key.to_le_bytes());
}

#[test]
fn controllers_of_one_host_share_its_registration() {
    let sled = Sled::with_disk();
    let [mut one, mut other] = [1, 1].map(|id| Node::new(&sled, id));
    let mut stranger = Node::new(&sled, 2);
    assert_eq!(one.register(), OK);
    assert_eq!(other.acquire(WE), OK);
    assert_eq!(one.write(), OK);
    assert_eq!(other.write(), OK);
    assert_eq!(stranger.write(), CONFLICT);
    assert_eq!(stranger.lines(), [(1, true, 0xa1, 1), (2, true, 0xa1, 1)]);
}

#[test]
fn a_registration_outlives_resets_and_connections_of_a_host_that_has_a_name() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    assert_eq!(nodes[0].acquire(WE), OK);
    nodes[0].host.disable();
    assert_eq!(nodes[1].write(), CONFLICT);
    nodes[0].host.enable();
    nodes[0].host.create_queue_pair(1);
    assert_eq!(nodes[0].write(), CONFLICT, "nobody yet");
    nodes[0].host.disable();
    nodes[0].host.enable();
    nodes[0].start(1);
    assert_eq!(nodes[0].write(), OK);
    let [first, mut second, third] = nodes;
    drop((first, third));
    assert_eq!(second.write(), CONFLICT);
    let lines = second.lines();
    assert_eq!(lines[..1], [(0xffff, true, 0xa1, 1)], "registered, and not connected");
    let mut again = Node::new(&sled, 1);
    assert_eq!(again.write(), OK);
    assert_eq!(again.release(WE), OK);
    assert_eq!(second.write(), OK);
}

#[test]
fn a_registration_of_a_host_without_a_name_goes_with_a_reset_or_a_connection() {
    let sled = Sled::with_disk();
    let mut nameless = Node::new(&sled, 0);
    let mut other = Node::new(&sled, 0);
    assert_eq!(nameless.register(), OK);
    assert_eq!(other.acquire(WE), CONFLICT, "two hosts without names are two hosts");
    assert_eq!(nameless.acquire(WE), OK);
    assert_eq!(other.write(), CONFLICT);
    nameless.host.disable();
    assert_eq!(other.write(), OK);
    nameless.host.enable();
    nameless.start(0);
    assert_eq!(nameless.acquire(WE), CONFLICT, "it is registered no more");
    assert_eq!(nameless.register(), OK);
    assert_eq!(nameless.acquire(WE), OK);
    drop(nameless);
    assert_eq!(other.write(), OK);
    assert_eq!(other.lines(), []);
}

#[test]
fn hosts_are_told_what_others_did_to_them() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    let [first, second, third] = &mut nodes;
    assert_eq!(third.register(), OK);
    let event = first.host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    assert_eq!(first.acquire(WERO), OK);
    assert_eq!(second.preempt(WE, first.key), OK);
    assert_eq!(first.host.wait_for(event).result, NOTIFIED);
    assert_eq!(first.notification(), [1, 0, 1], "registration preempted");
    assert_eq!(first.notification(), [0, 0, 0]);
    third.host.pump();
    assert_eq!(third.notification(), [2, 0, 1], "the type has changed: released");
    assert_eq!(first.register(), OK);
    assert_eq!(second.clear(), OK);
    for node in [first, third] {
        node.host.pump();
        assert_eq!(node.notification(), [3, 0, 1], "cleared");
    }
    second.host.pump();
    assert_eq!(second.notification(), [0, 0, 0], "who did it knows");
}

#[test]
fn of_several_notifications_none_is_lost_and_the_host_is_told_until_all_are_read() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    let [first, second, _] = &mut nodes;
    for _ in 0..3 {
        assert_eq!(second.acquire(WERO), OK);
        assert_eq!(second.release(WERO), OK);
    }
    first.host.pump();
    for left in [2, 1, 0] {
        let event = first.host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
        assert_eq!(first.host.wait_for(event).result, NOTIFIED);
        let mut retained = log(0x80, 0, 64);
        retained.cdw10[0] |= 1 << 15;
        first.host.succeed(retained);
        assert_eq!(first.host.data(10)[9], left, "as it was: the event is retained");
        assert_eq!(first.notification(), [2, left, 1]);
    }
    let event = first.host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    assert_eq!(first.notification(), [0, 0, 0]);
    assert!(first.host.completion(event).is_none());
}

#[test]
fn masked_notifications_are_not_sent() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    let [first, second, _] = &mut nodes;
    let mask = |cdw11, namespace| SubmissionEntry { namespace, ..set_feature(0x82, cdw11) };
    first.host.succeed(mask(1 << 2, 1));
    let of = |namespace| SubmissionEntry { namespace, ..get_feature(0x82, 0) };
    assert_eq!(first.host.succeed(of(1)), 1 << 2);
    assert_eq!(first.host.refused(of(u32::MAX)), INVALID);
    assert_eq!(first.host.refused(mask(1, 1)), INVALID);
    assert_eq!(second.acquire(WERO), OK);
    assert_eq!(second.release(WERO), OK);
    first.host.pump();
    assert_eq!(first.notification(), [0, 0, 0]);
    first.host.succeed(mask(0, u32::MAX));
    assert_eq!(first.host.succeed(of(1)), 0);
    let persist = |cdw11| SubmissionEntry { namespace: 1, ..set_feature(0x83, cdw11) };
    assert_eq!(first.host.refused(persist(1)), INVALID, "persistence is not possible");
    first.host.succeed(persist(0));
    assert_eq!(first.host.succeed(SubmissionEntry { namespace: 1, ..get_feature(0x83, 0) }), 0);
}

/// Three hosts, of which the second one preempts and aborts the first one, the holder of a reservation of type `kind`.
/// That waits for a write of the first one, which is in flight until the delay is released.
fn stuck_abort(kind: u32) -> (Sled, Delay, [Node; 3]) {
    let (sled, delay) = Sled::slow();
    let mut nodes = nodes(&sled);
    let [victim, other, _] = &mut nodes;
    assert_eq!(victim.acquire(kind), OK);
    delay.hold();
    victim.host.send_io(0, write(1, 5));
    let volume = sled.subsystem.namespaces().remove(0).volume;
    victim.host.wait("a write in flight", |_| volume.counters().writes > 0);
    other.begin_abort(kind, 0xa1);
    (sled, delay, nodes)
}

#[test]
fn a_preemption_that_aborts_waits_for_the_victim_and_keeps_nobody_else_waiting() {
    let (_sled, delay, mut nodes) = stuck_abort(WERO);
    let [victim, other, third] = &mut nodes;
    // Its thread serves on, and so do those of others.
    for _ in 0..20 {
        other.host.identify(1, 0);
        assert!(other.host.take_io(0).is_none(), "the victim's write is in flight");
    }
    assert_eq!(third.register(), OK);
    delay.release();
    other
        .host
        .wait("the end of the preemption", |host| host.take_io(0).is_some_and(|end| end.status.code() == OK));
    victim.host.wait("the end of the write", |host| host.take_io(0).is_some());
    assert_eq!(victim.write(), CONFLICT);
    assert_eq!(other.write(), OK);
}

#[test]
fn a_reset_forgets_a_command_that_waits_and_not_what_it_changed() {
    let (_sled, delay, mut nodes) = stuck_abort(WE);
    let [victim, other, _] = &mut nodes;
    other.host.identify(1, 0);
    other.host.disable();
    other.host.enable();
    other.start(2);
    delay.release();
    victim.host.wait("the end of the write", |host| host.take_io(0).is_some());
    assert_eq!(victim.write(), CONFLICT);
    assert_eq!(other.write(), OK);
    assert!(other.host.take_io(0).is_none(), "the command that was forgotten is not completed");
}

#[test]
fn a_namespace_goes_while_it_is_reserved_and_somebody_waits() {
    let (sled, delay, mut nodes) = stuck_abort(WE);
    let volume = sled.subsystem.namespaces().remove(0).volume;
    nodes[1].host.identify(1, 0);
    std::thread::scope(|scope| {
        let removed = scope.spawn(|| sled.subsystem.remove_namespace(NamespaceId(1)).unwrap());
        nodes[1].host.wait("the namespace to be inactive", |host| host.identify(2, 0)[..4] == [0; 4]);
        delay.release();
        for node in &mut nodes {
            node.host.identify(1, 0);
        }
        nodes[0].host.wait("the end of the write", |host| host.take_io(0).is_some());
        nodes[1].host.wait("the end of the preemption", |host| host.take_io(0).is_some());
        let report = command(IoOpcode::RESERVATION_REPORT, 15);
        assert_eq!(nodes[1].send(report, [0, 0]), INVALID, "inactive");
        removed.join().unwrap();
    });
    let registrants = volume.reservations().report().registrants.len();
    assert_eq!(registrants, 1, "what is registered with the volume stays");
    sled.add(1, volume);
    for node in &mut nodes {
        node.host.pump();
    }
    assert_eq!(nodes[1].write(), OK);
    assert_eq!(nodes[0].write(), CONFLICT);
}

#[test]
fn subsystems_of_one_volume_share_its_reservations() {
    let volume = disk();
    let (sled, other) = (Sled::new(), Sled::on_cpu(1));
    sled.add(1, volume.clone());
    other.add(1, volume);
    let (mut first, mut second) = (Node::new(&sled, 1), Node::new(&other, 2));
    assert_eq!(first.register(), OK);
    assert_eq!(second.register(), OK);
    assert_eq!(first.acquire(WE), OK);
    assert_eq!(second.write(), CONFLICT);
    assert_eq!(second.lines(), [(0xffff, true, 0xa1, 1), (1, false, 0xa2, 2)], "controllers of this one");
    assert_eq!(second.preempt(WE, 0xa1), OK);
    assert_eq!(second.write(), OK);
    assert_eq!(first.write(), CONFLICT);
}

#[test]
fn random_commands_of_several_hosts_all_end() {
    fuzz(|random| {
        let sled = Sled::with_disk();
        let mut nodes = [1, 2, 0].map(|id| Node::new(&sled, id));
        for _ in 0..150 {
            let node = &mut nodes[random.below(3_usize)];
            let opcodes = [
                IoOpcode::RESERVATION_REGISTER,
                IoOpcode::RESERVATION_ACQUIRE,
                IoOpcode::RESERVATION_RELEASE,
                IoOpcode::RESERVATION_REPORT,
                IoOpcode::WRITE_ZEROES,
            ];
            let mut entry = command(random.pick(&opcodes), 0);
            entry.cdw10[0] = random.below(16_u32) | random.below(8_u32) << 8;
            entry.cdw10[1] = random.below(2_u32);
            let keys = [random.below(4_u64), random.below(4_u64)];
            node.send(entry, keys);
        }
        let [first, ..] = &mut nodes;
        assert_eq!(first.send(command(IoOpcode::RESERVATION_REGISTER, 2 | 8), [0, 9]), OK);
        assert_eq!(first.send(command(IoOpcode::RESERVATION_RELEASE, 1), [9, 0]), OK);
        assert!(nodes.iter_mut().all(|node| node.write() == OK), "everything was cleared");
    });
}

#[test]
fn a_type_of_all_registrants_makes_each_a_holder() {
    let sled = Sled::with_disk();
    let mut nodes = nodes(&sled);
    assert_eq!(nodes[0].acquire(WEAR), OK);
    let holders: Vec<bool> = nodes[2].lines().iter().map(|line| line.1).collect();
    assert_eq!(holders, [true, true]);
    assert_eq!(nodes[1].acquire(WEAR), OK);
    assert_eq!(nodes[1].preempt(WEAR, 0), OK, "zero: all others");
    assert_eq!(nodes[2].lines(), [(2, true, 0xa2, 2)]);
    assert_eq!(nodes[0].write(), CONFLICT);
}

#[test]
fn a_holder_that_replaces_its_key_holds_on_with_the_new_one() {
    // SPDK, issues 3613 and 3700: the namespace kept the key before.
    let sled = Sled::with_disk();
    let [mut first, mut second, _] = nodes(&sled);
    let register = |cdw10| command(IoOpcode::RESERVATION_REGISTER, cdw10);
    for (cdw10, [before, after]) in [(2, [0xa1, 0xb1]), (2 | 8, [0, 0xc1])] {
        assert_eq!(first.acquire(EARO), OK);
        assert_eq!(first.send(register(cdw10), [before, after]), OK, "{cdw10:#x}");
        assert_eq!(second.lines()[..1], [(1, true, after, 1)], "{cdw10:#x}");
        assert_eq!(first.release(EARO), CONFLICT, "the key before");
        first.key = after;
        assert_eq!(first.release(EARO), OK);
    }
}

#[test]
fn a_key_is_registered_again_and_by_a_second_controller_without_an_error() {
    // tnvme, pull request 25: the same key is no conflict.
    let sled = Sled::with_disk();
    let [mut first, _, mut third] = nodes(&sled);
    assert_eq!(first.register(), OK);
    let mut also_first = Node::new(&sled, 1);
    assert_eq!(also_first.register(), OK);
    also_first.key = 0xdead;
    assert_eq!(also_first.register(), CONFLICT, "another key of the same host");
    assert_eq!(third.lines().len(), 3, "both controllers of the first host, and the second host");
}

#[test]
fn a_holder_changes_the_type_by_preempting_itself() {
    // blktests, issue 190: the steps of nvme/054.
    let sled = Sled::with_disk();
    let [mut first, mut second, _] = nodes(&sled);
    assert_eq!(first.acquire(WE), OK);
    assert_eq!(first.preempt(2, 0), INVALID, "without a key of those to be preempted");
    assert_eq!(first.preempt(2, first.key), OK);
    assert_eq!(second.report()[4], 2, "RTYPE");
    assert_eq!(second.lines(), [(1, true, 0xa1, 1), (2, false, 0xa2, 2)]);
    assert_eq!(second.read(), CONFLICT);
    assert_eq!(first.release(2), OK);
    assert_eq!(second.read(), OK);
}

#[test]
fn a_report_of_one_word_is_one_word() {
    // nvme-cli, issue 385: NUMD is zero-based.
    let sled = Sled::with_disk();
    let mut node = Node::new(&sled, 1);
    assert_eq!(node.register(), OK);
    let mut entry = command(IoOpcode::RESERVATION_REPORT, 0);
    entry.cdw10[1] = 1;
    node.host.fill_data(64);
    assert_eq!(node.host.io(0, entry).status.code(), OK);
    let [generation, ..] = node.host.data(64)[..] else { panic!("64 bytes") };
    assert_eq!(generation, 1);
    assert_eq!(node.host.data(64)[4..], [0xa5; 60]);
}

#[test]
fn a_host_identifier_is_set_before_a_registration_and_not_changed_afterwards() {
    // SPDK, issue 812: a host on PCIe could not say who it is.
    let sled = Sled::with_disk();
    let mut node = Node::new(&sled, 1);
    assert_eq!(node.register(), OK);
    node.host.fill_data(16);
    node.host.succeed(get_feature(0x81, 1));
    assert_eq!(node.host.data(16), [1; 16]);
    node.host.memory.write(GuestAddress(DATA), &[9; 16]);
    assert_eq!(node.host.refused(set_feature(0x81, 1)), StatusCode::COMMAND_SEQUENCE_ERROR);
    assert_eq!(node.lines(), [(1, false, 0xa1, 1)]);
}

#[test]
fn the_last_of_all_registrants_takes_the_reservation_along() {
    // A reservation of all registrants had no holder left, and could not be released.
    let sled = Sled::with_disk();
    let [mut first, mut second, mut third] = nodes(&sled);
    assert_eq!(first.acquire(WEAR), OK);
    let unregister = command(IoOpcode::RESERVATION_REGISTER, 1);
    assert_eq!(first.send(unregister, [0xa1, 0]), OK);
    assert_eq!(third.report()[4], 5, "the second one holds it");
    assert_eq!(third.write(), CONFLICT);
    assert_eq!(second.send(unregister, [0xa2, 0]), OK);
    assert_eq!(third.report()[4], 0);
    assert_eq!(third.write(), OK);
}

/// A report of so many bytes, with host identifiers of 128 bits.
fn long_report(node: &mut Node, bytes: u32) -> Vec<u8> {
    let pages: Vec<u64> = (1..4).map(|page| DATA + 4096 * page).collect();
    let list = DATA + 0x8000;
    let words: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    node.host.memory.write(GuestAddress(list), &words);
    let mut report = SubmissionEntry { prp2: list, ..command(IoOpcode::RESERVATION_REPORT, bytes / 4 - 1) };
    report.cdw10[1] = 1;
    assert_eq!(node.send(report, [0, 0]), OK);
    node.host.data(bytes as usize)
}

#[test]
fn more_registrants_than_fit_into_a_page_are_reported_and_one_too_many_is_refused() {
    let sled = Sled::with_disk();
    for id in 1..128 {
        assert_eq!(Node::new(&sled, id).register(), OK, "host {id}");
    }
    let mut last = Node::new(&sled, 128);
    assert_eq!(last.register(), OK);
    let header = long_report(&mut last, 64);
    assert_eq!(header[5..7], 128_u16.to_le_bytes(), "their number is told before there is room for all");
    let report = long_report(&mut last, 64 + 64 * 128);
    let mut hosts: Vec<u8> = report[64..].chunks(64).map(|one| one[16]).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, (1..=128).collect::<Vec<u8>>());
    assert_eq!(Node::new(&sled, 129).register(), StatusCode::INTERNAL_ERROR);
    assert_eq!(long_report(&mut last, 64), header);
}
