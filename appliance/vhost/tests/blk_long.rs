//! Requests of up to as many pieces as a chain may have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::{Narrow, Scripted};
use luge_block::{Blocks, CoreId, Device, Geometry, MemoryDevice, Shape, Status};
use luge_core::{Armed, Session, SessionId, Work};
use luge_memory::{DmaSpace, GuestAddress, PageSize};
use luge_spec::virtio::blk::RequestType;
use luge_vhost::{Access, BlkDisk, BlkSession, OpenVolume, RING_FEATURES};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{CHAIN_MAX, Notifications};
use luge_volume::{Base, ChannelId, Graph, Volume};
use rig::scripted::{IOERR, OK, ended, scripted_with};
use rig::{Answer, Ask, Bench, Queue, Sent, Setup, UNANSWERED, blk_session, setup_of};
use std::sync::Arc;

const TABLE: Form = Form::Indirect(GuestAddress(RigMemory::FAR_DATA.0));

/// Bytes of data of the longest request: two pieces of the longest chain are header and status.
const BYTES: u32 = 512 << 10;

fn pattern(len: u32, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

fn disk(block_bytes: u32) -> Arc<dyn Device> {
    let shape = Shape::new(block_bytes, Blocks((2 << 20) / u64::from(block_bytes))).unwrap();
    Arc::new(MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap())
}

/// A disk that takes `blocks` blocks in `spans` spans at once.
fn narrow(block_bytes: u32, blocks: u32, spans: u16) -> Arc<dyn Device> {
    let device = disk(block_bytes);
    let limits = Geometry { transfer_blocks_max: blocks, spans_max: spans, ..device.geometry() };
    Arc::new(Narrow::new(device, limits, 7).refusing(333, 1))
}

/// `count` pieces of a chain: those that a request needs, and its data in all others, in lengths that end
/// at no block.
fn in_pieces([readable, out]: [u64; 2], [writable, into]: [u64; 2], count: u64) -> Vec<Piece> {
    let writes = out > 16;
    let (at, bytes) = if writes { (readable + 16, out - 16) } else { (writable, into - 1) };
    let count = count - 2;
    let edge = |piece: u64| at + piece * bytes / count;
    let data = (0..count).map(|piece| Piece {
        at: GuestAddress(edge(piece)),
        len: u32::try_from(edge(piece + 1) - edge(piece)).unwrap(),
        writable: !writes,
    });
    let status = Piece::writable(writable + into - 1, 1);
    [Piece::readable(readable, 16)].into_iter().chain(data).chain([status]).collect()
}

impl Queue {
    fn send_in_pieces(&mut self, ask: &Ask, count: u64, form: Form) -> Sent {
        self.send_as(ask, |readable, writable| (in_pieces(readable, writable, count), form))
    }
}

fn written_and_read(bench: &mut Bench, count: u64, form: Form) {
    let bytes = pattern(BYTES, 7);
    let sent = bench.send_in_pieces(&Ask::write(8, &bytes), count, form);
    assert_eq!(bench.turns_until_answered(&sent), ended(OK));
    let sent = bench.send_in_pieces(&Ask::read(8, BYTES), count, form);
    let answer = bench.turns_until_answered(&sent);
    assert_eq!(answer.status, OK);
    assert_eq!(answer.written, BYTES + 1);
    assert!(answer.data == bytes, "the data is not what was written");
}

#[test]
fn the_longest_table_is_served_whatever_the_device_takes_at_once() {
    for device in [
        disk(512),
        disk(4096),
        narrow(512, 1, 40),
        narrow(512, 8, 64),
        narrow(4096, 3, 300),
        narrow(512, 4, 1),
        narrow(4096, 2, 255),
    ] {
        let setup = Setup { size: 64, ..Setup::default() };
        let mut bench = Bench::with(device, setup);
        written_and_read(&mut bench, CHAIN_MAX.into(), TABLE);
        assert_eq!(bench.session.in_flight(), 0);
        assert_eq!(bench.stats.outstanding(), 0);
        assert_eq!(bench.stats.read().reads, 1);
        assert_eq!(bench.stats.read().writes, 1);
    }
}

#[test]
fn chains_as_long_as_their_ring_are_served() {
    for device in [disk(512), narrow(512, 5, 40)] {
        let mut bench = Bench::with(device, Setup { size: 4096, ..Setup::default() });
        for (count, form) in
            [(4096, Form::Direct), (3000, Form::Mixed(1000, GuestAddress(RigMemory::FAR_DATA.0)))]
        {
            written_and_read(&mut bench, count, form);
        }
    }
}

#[test]
fn a_long_chain_that_is_at_fault_or_no_transfer_is_answered_and_the_next_ones_served() {
    let mut bench = Bench::new(disk(512));
    let out_of_disk = bench.send_in_pieces(&Ask::read(4096, BYTES), 2000, TABLE);
    assert_eq!(bench.turns_until_answered(&out_of_disk).status, IOERR);
    let odd = bench.send_in_pieces(&Ask::write(0, &pattern(513, 1)), 514, TABLE);
    assert_eq!(bench.turns_until_answered(&odd), ended(IOERR));
    let elsewhere = bench.send_as(&Ask::read(0, BYTES), |readable, writable| {
        let mut pieces = in_pieces(readable, writable, 2000);
        pieces[1500].at = GuestAddress(u64::MAX);
        (pieces, TABLE)
    });
    let answer = bench.turns_until_answered(&elsewhere);
    assert_eq!(answer.status, IOERR);
    assert!(answer.data.iter().all(|&byte| byte == UNANSWERED), "nothing was read");
    let flush = bench.send_in_pieces(&Ask { out: vec![0; 3000], ..Ask::flush() }, 1000, TABLE);
    assert_eq!(bench.turns_until_answered(&flush), ended(OK));
    let ranges = Ask::ranges(RequestType::DISCARD, &[(0, 8, 0); 32]);
    let discard = bench.send_as(&ranges, |[at, len], [status, _]| {
        let pieces = (at..at + len).map(|at| Piece::readable(at, 1));
        (pieces.chain([Piece::writable(status, 1)]).collect(), TABLE)
    });
    assert_eq!(bench.turns_until_answered(&discard), ended(OK));
    written_and_read(&mut bench, 3000, TABLE);
    assert_eq!(bench.counters.faults(), 1);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn a_turn_walks_a_bounded_part_of_a_long_chain_and_a_session_waits_for_it() {
    let (mut bench, device) =
        scripted_with(Geometry { blocks: Blocks(4096), ..Geometry::for_tests() }, 1000, Setup::default());
    bench.send_in_pieces(&Ask::read(0, BYTES), CHAIN_MAX.into(), TABLE);
    let walked = (1_usize..1000).find(|_| {
        bench.turn();
        let armed = bench.session.arm();
        bench.session.disarm();
        armed == Armed::Quiet
    });
    let each = 2 * Work::QUANTUM.number_of(Work::DESCRIPTOR);
    let expected = usize::from(CHAIN_MAX) / each;
    assert!((expected..expected + 4).contains(&walked.unwrap()), "{walked:?} turns of {each} descriptors");
    let checked = (1_usize..100).find(|_| {
        bench.turn();
        !device.taken().is_empty()
    });
    assert!((14..18).contains(&checked.unwrap()), "{checked:?} turns of 2048 spans");
    let spans = |device: &Scripted| device.taken().iter().map(|part| part.data.len()).sum::<usize>();
    let before = spans(&device);
    assert!(before <= 256 + 64, "{before} spans were submitted in one turn");
    bench.turn();
    let more = spans(&device) - before;
    assert!((64..=256 + 64).contains(&more), "{more} spans were submitted in one turn");
}

#[test]
fn a_session_that_is_to_leave_ends_a_long_chain_that_it_has_taken() {
    let mut bench = Bench::new(narrow(512, 3, 40));
    let sent = bench.send_in_pieces(&Ask::write(0, &pattern(BYTES, 3)), CHAIN_MAX.into(), TABLE);
    bench.turn();
    bench.session.quiesce();
    assert_eq!(bench.turns_until_answered(&sent), ended(OK));
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn a_part_that_fails_is_the_status_of_a_long_request_and_nothing_more_is_submitted() {
    let (mut bench, device) =
        scripted_with(Geometry { blocks: Blocks(4096), ..Geometry::for_tests() }, 8, Setup::default());
    let sent = bench.send_in_pieces(&Ask::read(0, BYTES), CHAIN_MAX.into(), TABLE);
    while device.taken().len() < 8 {
        bench.turn();
    }
    assert!(device.complete(device.taken()[3].tag, Status::MediaError));
    bench.turn();
    assert_eq!(bench.take_answer(&sent), None, "parts are in flight");
    let left = device.complete_all(Status::Success);
    assert!((7..=8).contains(&left), "{left} parts were left");
    let Answer { status, written, .. } = bench.turns_until_answered(&sent);
    assert_eq!(status, IOERR);
    assert_eq!(written, 1);
    assert_eq!(device.complete_all(Status::Success), 0);
    assert_eq!(bench.stats.read().failed, 1);
}

/// A guest with a ring of its own on a core's graph.
struct Guest {
    queue: Queue,
    session: BlkSession,
}

impl Guest {
    /// A guest whose session is number `id`, on a volume of its own.
    fn new(graph: &mut Graph, device: &Arc<dyn Device>, channel: ChannelId, id: u16) -> Self {
        let memory = Arc::new(RigMemory::standard());
        let layout = RigMemory::ring(RigMemory::RINGS.0, 64);
        let driver = Driver::new(layout, Notifications::EventIndex, 0, &memory.table);
        let disk = BlkDisk::new(device.geometry(), Access::ReadWrite, "", 1);
        let whole = Volume::whole(device.clone());
        let volume = graph.add_volume(CoreId(0), &whole, Base::Channel(channel)).unwrap();
        let volume = OpenVolume { id: volume, stats: whole.stats(CoreId(0)) };
        let setup = setup_of(layout, disk.features() | RING_FEATURES, &memory);
        let mut session = blk_session(disk, volume, setup);
        session.adopt(SessionId(id));
        let area = RigMemory::DATA.0..RigMemory::MORE_DATA.0 + RigMemory::MORE_DATA.1;
        Self { queue: Queue::new(memory, driver, area), session }
    }
}

/// One turn of a core with these guests, of whom `first` takes first.
fn turn(graph: &mut Graph, guests: &mut [Guest], first: usize) {
    let count = guests.len();
    for index in 0..count {
        guests[(first + index) % count].session.take(graph, Work::QUANTUM);
    }
    graph.commit();
    graph.poll(|run| guests[usize::from(run[0].tag().session())].session.finish(run));
    guests.iter_mut().for_each(|guest| _ = guest.session.publish());
}

#[test]
fn guests_with_the_longest_requests_take_turns_and_do_not_delay_one_with_small_ones() {
    let device = narrow(512, 8, 64);
    let mut graph = Graph::default();
    let channel = graph.add_channel(device.open(CoreId(0)).unwrap()).ok().unwrap();
    let mut guests: Vec<Guest> = (0..5).map(|id| Guest::new(&mut graph, &device, channel, id)).collect();
    let mut waiting: Vec<Option<Sent>> = vec![None; 5];
    let (mut answers, mut asked, mut longest) = ([0; 5], 0, 0);
    for round in 0..50_000 {
        for (index, guest) in guests.iter_mut().enumerate() {
            if waiting[index].is_some() {
                continue;
            }
            let (ask, count) =
                if index == 4 { (Ask::read(0, 512), 3) } else { (Ask::read(0, BYTES), CHAIN_MAX.into()) };
            waiting[index] = Some(guest.queue.send_in_pieces(&ask, count, TABLE));
            if index == 4 {
                asked = round;
            }
        }
        turn(&mut graph, &mut guests, round % 5);
        for (index, guest) in guests.iter_mut().enumerate() {
            let sent = waiting[index].clone().unwrap();
            let Some(answer) = guest.queue.take_answer(&sent) else { continue };
            assert_eq!(answer.status, OK);
            answers[index] += 1;
            waiting[index] = None;
            if index == 4 {
                longest = longest.max(round - asked);
            }
        }
        if answers.iter().sum::<usize>() - answers[4] >= 16 {
            break;
        }
    }
    assert!(answers[..4].iter().all(|&count| count >= 3), "{answers:?}");
    assert!(longest < 60, "a small request took {longest} turns");
}
