//! Control requests and events of a SCSI host bus adapter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_core::{Armed, Session, Took, Work};
use luge_memory::GuestAddress;
use luge_spec::virtio::scsi::{
    ControlType, Event, EventKind, NotificationRequest, Response, TaskManagementFunction,
    TaskManagementRequest,
};
use luge_vhost::{
    ControlReply, ControlSession, EVENTS_MAX, EventSession, NotificationAction, PendingEvents, QueueSession,
    RING_FEATURES, Relay, RelayedRequest, TaskFunction,
};
use luge_virtqueue::rig::{Driver, Form, Piece, RigMemory};
use luge_virtqueue::{Head, Notifications};
use luge_volume::Graph;
use rig::scsi::{address, lun_field};
use rig::{Queue, UNANSWERED, setup_of};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// A queue and its session, of any kind.
struct Bench<S> {
    queue: Queue,
    session: S,
    relay: Arc<Relay>,
    graph: Graph,
}

impl<S: QueueSession> Bench<S> {
    fn new(make: impl FnOnce(Arc<Relay>, luge_vhost::QueueSetup) -> S) -> Self {
        let memory = Arc::new(RigMemory::standard());
        let layout = RigMemory::ring(RigMemory::RINGS.0, 256);
        let driver = Driver::new(layout, Notifications::EventIndex, 0, &memory.table);
        let relay = Arc::new(Relay::new().unwrap());
        let session = make(relay.clone(), setup_of(layout, RING_FEATURES, &memory));
        let area = RigMemory::DATA.0..RigMemory::MORE_DATA.0 + RigMemory::MORE_DATA.1;
        Self { queue: Queue::new(memory, driver, area), session, relay, graph: Graph::default() }
    }

    /// Adds a chain of bytes to be read and room to be written, cut into pieces of these lengths at most.
    fn send(&mut self, bytes: &[u8], room: u32, piece: u32) -> (Head, u64) {
        let out = self.queue.place(bytes.len());
        self.queue.memory.write(GuestAddress(out), bytes);
        let into = self.queue.place(room as usize);
        self.queue.memory.write(GuestAddress(into), &vec![UNANSWERED; room as usize]);
        let cut = |at: u64, len: u32, writable| {
            let starts = (0..len).step_by(piece as usize);
            starts.map(move |start| Piece {
                at: GuestAddress(at + u64::from(start)),
                len: piece.min(len - start),
                writable,
            })
        };
        let readable = cut(out, u32::try_from(bytes.len()).unwrap(), false);
        let pieces: Vec<Piece> = readable.chain(cut(into, room, true)).collect();
        let form = if pieces.len() > 100 {
            Form::Indirect(GuestAddress(RigMemory::FAR_DATA.0))
        } else {
            Form::Direct
        };
        (self.queue.driver.add(&pieces, form).unwrap(), into)
    }

    fn turn(&mut self) -> Took {
        let took = self.session.take(&mut self.graph, Work::QUANTUM);
        self.session.publish();
        took
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        self.queue.memory.bytes(GuestAddress(at), len)
    }
}

fn control() -> Bench<ControlSession> {
    Bench::new(|relay, setup| ControlSession::new(relay, setup).unwrap())
}

fn task(function: u32) -> TaskManagementRequest {
    TaskManagementRequest {
        kind: ControlType::TASK_MANAGEMENT,
        function: TaskManagementFunction(function.into()),
        lun: lun_field(address(3, 4)),
        tag: 99.into(),
    }
}

#[test]
fn all_task_management_functions_reach_the_thread_and_its_response_the_guest() {
    let mut bench = control();
    let functions = [
        TaskFunction::AbortTask,
        TaskFunction::AbortTaskSet,
        TaskFunction::ClearAca,
        TaskFunction::ClearTaskSet,
        TaskFunction::NexusReset,
        TaskFunction::UnitReset,
        TaskFunction::QueryTask,
        TaskFunction::QueryTaskSet,
    ];
    for (number, function) in (0..).zip(functions) {
        let (head, at) = bench.send(task(number).as_bytes(), 1, if number % 2 == 0 { 24 } else { 1 });
        bench.turn();
        let relayed = bench.relay.next().unwrap();
        let RelayedRequest::TaskManagement(request) = relayed.request else { panic!("{relayed:?}") };
        assert_eq!(request.function, function);
        assert_eq!(request.tag, 99);
        assert_eq!(relayed.session, bench.session.number());
        assert_eq!(bench.session.in_flight(), 1);
        let reply = ControlReply { response: Response::FUNCTION_SUCCEEDED, events: 0 };
        assert!(bench.session.complete(relayed.id, reply));
        assert!(!bench.session.complete(relayed.id, reply), "once");
        bench.session.publish();
        assert_eq!(bench.queue.driver.take_used(), Some((head, 1)));
        assert_eq!(bench.bytes(at, 1), [10]);
        assert_eq!(bench.session.in_flight(), 0);
    }
}

#[test]
fn notifications_are_asked_for_and_answered() {
    let mut bench = control();
    let kinds = [
        (ControlType::NOTIFICATION_QUERY, NotificationAction::Query),
        (ControlType::NOTIFICATION_SUBSCRIBE, NotificationAction::Subscribe),
    ];
    for (kind, action) in kinds {
        let request = NotificationRequest { kind, lun: lun_field(address(0, 0)), requested: 0x1234.into() };
        let (head, at) = bench.send(request.as_bytes(), 5, 3);
        bench.turn();
        let relayed = bench.relay.next().unwrap();
        let RelayedRequest::Notification(request) = relayed.request else { panic!("{relayed:?}") };
        assert_eq!(request.action, action);
        assert_eq!(request.requested, 0x1234);
        bench.session.complete(relayed.id, ControlReply { response: Response::OK, events: 0x0201 });
        bench.session.publish();
        assert_eq!(bench.queue.driver.take_used(), Some((head, 5)));
        assert_eq!(bench.bytes(at, 5), [1, 2, 0, 0, 0]);
    }
}

#[test]
fn what_is_not_in_order_is_answered_at_once() {
    let mut bench = control();
    let bad_lun = TaskManagementRequest { lun: lun_field(address(0, 0)), ..task(0) };
    let mut bad_lun = bad_lun.as_bytes().to_vec();
    bad_lun[8] = 2;
    let (unknown, far, usual) = (task(8), task(u32::MAX), task(0));
    let cases: [(&str, &[u8], u32, &[u8]); 9] = [
        ("an unknown function", unknown.as_bytes(), 1, &[11]),
        ("a function far off", far.as_bytes(), 1, &[11]),
        ("an unknown type", &[3; 24], 1, &[9]),
        ("an unknown type, room for more", &[3; 24], 8, &[9, 0, 0, 0, 9]),
        ("a short request", &usual.as_bytes()[..23], 1, &[9]),
        ("no whole type", &[0; 3], 1, &[9]),
        ("an address of nothing", &bad_lun, 1, &[3]),
        ("no room for the response", usual.as_bytes(), 0, &[]),
        ("a notification without room", &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], 4, &[]),
    ];
    for (what, bytes, room, response) in cases {
        let (head, at) = bench.send(bytes, room, 24);
        bench.turn();
        if let Some(relayed) = bench.relay.next() {
            bench.session.complete(relayed.id, ControlReply { response: Response::OK, events: 0 });
            bench.session.publish();
        }
        let (used, written) = bench.queue.driver.take_used().unwrap();
        assert_eq!(used, head, "{what}");
        assert_eq!(written as usize, response.len(), "{what}");
        assert_eq!(bench.bytes(at, response.len()), response, "{what}");
    }
}

#[test]
fn chains_at_fault_and_long_ones_get_a_response() {
    let mut bench = control();
    let (_, at) = bench.send(&[0; 10], 5, 5);
    (0..3).for_each(|_| _ = bench.turn());
    assert!(bench.queue.driver.take_used().is_some());
    assert_eq!(bench.bytes(at, 5), [9; 1].into_iter().chain([UNANSWERED; 4]).collect::<Vec<_>>());
    let (head, at) = bench.send(&[0; 1000], 5, 1);
    (0..10).for_each(|_| _ = bench.turn());
    assert_eq!(bench.queue.driver.take_used(), Some((head, 5)));
    assert_eq!(bench.bytes(at, 5), [9, 0, 0, 0, 9]);
    let nowhere = [Piece::readable(1 << 40, 24), Piece::writable(at, 1)];
    bench.queue.driver.add(&nowhere, Form::Direct).unwrap();
    bench.queue.memory.write(GuestAddress(at), &[UNANSWERED]);
    (0..3).for_each(|_| _ = bench.turn());
    assert!(bench.queue.driver.take_used().is_some());
    assert_eq!(bench.bytes(at, 1), [9]);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn more_requests_than_the_thread_gets_at_once_wait() {
    let mut bench = control();
    (0..100).for_each(|_| _ = bench.send(task(5).as_bytes(), 1, 24));
    let mut answered = 0;
    while answered < 100 {
        (0..4).for_each(|_| _ = bench.turn());
        let relayed: Vec<_> = std::iter::from_fn(|| bench.relay.next()).collect();
        assert!((1..=64).contains(&relayed.len()), "{}", relayed.len());
        for relayed in relayed {
            let reply = ControlReply { response: Response::FUNCTION_COMPLETE, events: 0 };
            assert!(bench.session.complete(relayed.id, reply));
            answered += 1;
        }
        bench.session.publish();
    }
    assert_eq!(std::iter::from_fn(|| bench.queue.driver.take_used()).count(), 100);
    assert_eq!(bench.session.in_flight(), 0);
}

fn events() -> Bench<EventSession> {
    Bench::new(|_, setup| EventSession::new(PendingEvents::default(), setup).unwrap())
}

fn event(reason: u32) -> Event {
    Event { kind: EventKind::TRANSPORT_RESET, lun: lun_field(address(1, 2)), reason: reason.into() }
}

fn event_at(bench: &Bench<EventSession>, at: u64) -> Event {
    Event::read_from_bytes(&bench.bytes(at, 16)).unwrap()
}

#[test]
fn a_buffer_is_taken_only_for_an_event() {
    let mut bench = events();
    let (head, at) = bench.send(&[], 16, 16);
    assert_eq!(bench.turn(), Took::Nothing);
    assert_eq!(bench.session.arm(), Armed::Quiet, "a core sleeps although buffers wait");
    assert_eq!(bench.session.queue().base(), 0);
    bench.session.add(event(1));
    assert_eq!(bench.session.arm(), Armed::Waiting);
    bench.turn();
    assert_eq!(bench.queue.driver.take_used(), Some((head, 16)));
    assert_eq!(event_at(&bench, at), event(1));
    assert_eq!(bench.turn(), Took::Nothing);
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn events_wait_for_buffers_in_their_order() {
    let mut bench = events();
    (0..5).for_each(|reason| bench.session.add(event(reason)));
    assert_eq!(bench.turn(), Took::Nothing);
    assert_eq!(bench.session.arm(), Armed::Quiet);
    for reason in 0..5 {
        let (head, at) = bench.send(&[], 16, 7);
        bench.turn();
        assert_eq!(bench.queue.driver.take_used(), Some((head, 16)));
        assert_eq!(event_at(&bench, at), event(reason));
    }
}

#[test]
fn events_beyond_what_is_kept_are_told_as_missed_once() {
    let mut bench = events();
    let count = u32::try_from(EVENTS_MAX).unwrap();
    (0..count + 9).for_each(|reason| bench.session.add(event(reason)));
    // The first one without room and all before it: what there is now is found by looking.
    let kept = count + 1..count + 9;
    let mut kinds = vec![];
    for reason in kept {
        let (_, at) = bench.send(&[], 20, 20);
        bench.turn();
        assert_eq!(event_at(&bench, at).reason.get(), reason);
        kinds.push(event_at(&bench, at).kind.0.get());
    }
    assert_eq!(kinds[0], EventKind::MISSED | 1);
    assert!(kinds[1..].iter().all(|&kind| kind == 1), "{kinds:?}");
    bench.send(&[], 16, 16);
    assert_eq!(bench.turn(), Took::Nothing, "no more");
}

#[test]
fn a_buffer_without_room_is_given_back_and_the_event_kept() {
    let mut bench = events();
    bench.session.add(event(1));
    let small = bench.send(&[], 15, 15).0;
    let (readable, _) = bench.send(&[0; 16], 0, 16);
    let nowhere = bench.queue.driver.add(&[Piece::writable(1 << 40, 16)], Form::Direct).unwrap();
    (0..3).for_each(|_| _ = bench.turn());
    for head in [small, readable, nowhere] {
        assert_eq!(bench.queue.driver.take_used(), Some((head, 0)));
    }
    let long = bench.send(&[], 300, 1);
    (0..10).for_each(|_| _ = bench.turn());
    assert_eq!(bench.queue.driver.take_used(), Some((long.0, 16)));
    assert_eq!(event_at(&bench, long.1), event(1));
    assert_eq!(bench.session.in_flight(), 0);
}

#[test]
fn pending_events_go_to_the_next_session() {
    let mut bench = events();
    bench.session.add(event(1));
    let pending = bench.session.take_pending();
    assert!(!pending.is_empty());
    let mut next = Bench::new(|_, setup| EventSession::new(pending, setup).unwrap());
    let (_, at) = next.send(&[], 16, 16);
    next.turn();
    assert_eq!(event_at(&next, at), event(1));
    assert!(next.session.take_pending().is_empty());
}
