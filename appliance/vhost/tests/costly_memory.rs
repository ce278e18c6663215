//! Front ends whose memory keeps cores waiting.

#![expect(unsafe_code, reason = "addresses of guest memory that this test keeps")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Channel, CoreId, Device, Geometry, OpenError};
use luge_memory::GuestAddress;
use luge_memory::stall::{FaultLog, PageFault, note};
use luge_skip::skip;
use luge_spec::virtio::blk::{RequestHeader, RequestType};
use luge_vhost::FrontEndStatus;
use luge_virtqueue::rig::{Form, Piece, RigMemory};
use rig::Ask;
use rig::client::{Client, DEADLINE, Guest, signal, until};
use rig::house::{House, use_disk};
use rustix::fs::{FallocateFlags, fallocate};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Notes that a core has waited for a guest's memory, as a core does. The endpoint has it mapped at the
/// guest's own addresses in this process.
fn stall(guest: &Guest) {
    let at = GuestAddress(RigMemory::DATA.0);
    // SAFETY: only the address is used.
    let span = unsafe { guest.memory.table.span(at, 1) }.unwrap();
    let fault = PageFault { address: span.host().addr().get(), took: Duration::from_millis(390) };
    assert!(note(&fault), "memory that a front end shares");
}

fn front_end(house: &House, index: usize) -> Option<FrontEndStatus> {
    house.endpoint(index).status().front_end
}

/// Number of queues of a front end that cores of the house serve.
fn on_cores(house: &House, index: usize) -> usize {
    let is_core = |id| house.cores.iter().any(|core| core.id() == id);
    front_end(house, index).unwrap().queues.iter().filter(|queue| is_core(queue.core)).count()
}

/// Number of queues of a front end that run elsewhere.
fn elsewhere(house: &House, index: usize) -> usize {
    front_end(house, index).unwrap().queues.len() - on_cores(house, index)
}

#[test]
fn rings_of_a_front_end_whose_memory_keeps_a_core_waiting_leave_the_cores_and_work_on() {
    let house = House::on(&[House::disk(), House::disk()]);
    let (mut costly, mut bystander) = (Guest::new(2), Guest::new(2));
    let _connections = [costly.connect(&house.path(0)), bystander.connect(&house.path(1))];
    use_disk(&mut costly);
    assert_eq!(on_cores(&house, 0), 2);
    stall(&costly);
    until(|| elsewhere(&house, 0) == 2);
    use_disk(&mut costly);
    assert_eq!(front_end(&house, 0).unwrap().stalls.longest, Duration::from_millis(390));
    use_disk(&mut bystander);
    assert_eq!(on_cores(&house, 1), 2);
    assert_eq!(front_end(&house, 1).unwrap().stalls.count, 0);
}

#[test]
fn all_disks_of_a_guest_leave_the_cores_with_its_memory() {
    let house = House::on(&[House::disk(), House::disk()]);
    let guest = Guest::new(1);
    let _first = guest.connect(&house.path(0));
    let second = Client::connect(&house.path(1));
    guest.greeting().iter().for_each(|message| _ = second.tell(&message.clone().acknowledged()));
    stall(&guest);
    for index in [0, 1] {
        until(|| front_end(&house, index).unwrap().stalls.count > 0);
    }
}

#[test]
fn a_disk_that_comes_later_with_the_same_memory_is_not_served_by_a_core() {
    let house = House::on(&[House::disk(), House::disk()]);
    let mut guest = Guest::new(1);
    let first = guest.connect(&house.path(0));
    stall(&guest);
    until(|| front_end(&house, 0).unwrap().stalls.count > 0);
    drop(first);
    until(|| front_end(&house, 0).is_none());
    // The rig keeps the memory mapped, as another disk of the guest does.
    let _second = guest.connect(&house.path(1));
    assert_eq!(on_cores(&house, 1), 0);
    use_disk(&mut guest);
}

#[test]
fn a_front_end_that_leaves_its_cores_keeps_the_requests_that_were_taken() {
    let (house, delay) = House::slow(&[]);
    let mut guest = Guest::new(1);
    let _connection = guest.connect(&house.path(0));
    delay.hold();
    let sent = guest.rings[0].send(&Ask::read(0, 512));
    until(|| front_end(&house, 0).unwrap().queues[0].in_flight == 1);
    stall(&guest);
    until(|| front_end(&house, 0).unwrap().stalls.count > 0);
    delay.release();
    until(|| front_end(&house, 0).unwrap().queues.len() == 1);
    assert_eq!(guest.rings[0].answer(&sent).status, 0);
    use_disk(&mut guest);
}

/// A device without a channel for a core that has no CPU.
struct Pinned(Arc<dyn Device>);

impl Device for Pinned {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        if core.0 < 1 << 15 {
            return self.0.open(core);
        }
        let (device, users) = ("ssd".to_owned(), vec![0, 1]);
        Err(OpenError::NoQueue { device, core: core.0, queues: 2, users })
    }
}

#[test]
fn a_front_end_that_cannot_be_served_elsewhere_is_cut_off() {
    let house = House::on(&[Arc::new(Pinned(House::disk())), House::disk()]);
    let (costly, mut bystander) = (Guest::new(2), Guest::new(2));
    let client = costly.connect(&house.path(0));
    let _other = bystander.connect(&house.path(1));
    stall(&costly);
    assert!(client.is_cut_off());
    until(|| front_end(&house, 0).is_none());
    assert_eq!(house.endpoint(0).status().counts.protocol_errors, 1);
    use_disk(&mut bystander);
    let mut next = Guest::new(1);
    let _connection = next.connect(&house.path(0));
    use_disk(&mut next);
}

#[test]
fn a_front_end_may_end_while_it_leaves_its_cores() {
    let house = House::on(&[(); 8].map(|()| House::disk()));
    for index in 0..8 {
        let guest = Guest::new(2);
        let connection = guest.connect(&house.path(index));
        stall(&guest);
        drop(connection);
    }
    for index in 0..8 {
        until(|| front_end(&house, index).is_none());
    }
    let mut next = Guest::new(2);
    let _connection = next.connect(&house.path(0));
    use_disk(&mut next);
    assert_eq!(on_cores(&house, 0), 2);
}

/// Fills a file and makes holes of all of it until told to stop.
fn punch(file: &OwnedFd, len: u64, stop: &AtomicBool) {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    while !stop.load(Ordering::Relaxed) {
        fallocate(file, FallocateFlags::empty(), 0, len).unwrap();
        fallocate(file, hole, 0, len).unwrap();
    }
}

/// Reads a block to the end of the memory at `end` until the front end has left the cores of the house.
fn read_until_moved(house: &House, guest: &mut Guest, end: u64) {
    let deadline = Instant::now() + DEADLINE;
    while elsewhere(house, 0) == 0 {
        assert!(Instant::now() < deadline, "no wait was noticed");
        let ring = &mut guest.rings[0];
        let at = ring.queue.place(32);
        let header = RequestHeader { kind: RequestType::IN, reserved: 0.into(), sector: 0.into() };
        ring.queue.memory.write(GuestAddress(at), header.as_bytes());
        let pieces = [Piece::readable(at, 16), Piece::writable(end - 512, 512), Piece::writable(at + 16, 1)];
        ring.queue.driver.add(&pieces, Form::Direct).unwrap();
        signal(&ring.kick);
        until(|| ring.queue.driver.take_used().is_some());
    }
}

#[test]
fn a_front_end_that_makes_holes_in_its_memory_loses_its_cores_and_no_other_does() {
    if FaultLog::start().is_err() {
        return skip("perf_event_open is not allowed: set kernel.perf_event_paranoid to 2 or less");
    }
    let house = House::on(&[House::disk(), House::disk()]);
    let (mut hostile, mut bystander) = (Guest::new(1), Guest::new(2));
    let (at, len) = (0x2_0000_0000, 256 << 20);
    let (layout, file) = Guest::more_memory(at, len);
    hostile.files.push((layout, file.clone()));
    let _connections = [hostile.connect(&house.path(0)), bystander.connect(&house.path(1))];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| punch(&file, len, &stop));
        read_until_moved(&house, &mut hostile, at + len);
        stop.store(true, Ordering::Relaxed);
    });
    use_disk(&mut hostile);
    use_disk(&mut bystander);
    assert_eq!(on_cores(&house, 1), 2);
}
