//! Interrupts: eventfds of vectors, which clients set, change and take away.

use crate::rig::host::{create_completion_queue, create_submission_queue, identify, read};
use crate::rig::queue::QueuePair;
use crate::rig::{Host, Sled};
use luge_spec::nvme::StatusCode;
use luge_virtqueue::rig::RigMemory;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The client's side of a vector.
struct Vector(OwnedFd);

impl Vector {
    /// A vector that signals an eventfd from now on.
    fn set(host: &mut Host, vector: u16) -> Self {
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        host.function.set_vectors(vector, vec![Some(eventfd.try_clone().unwrap())]);
        Self(eventfd)
    }

    /// Number of signals since the last call.
    fn count(&self) -> u64 {
        let mut count = [0; 8];
        let read = rustix::io::read(&self.0, &mut count);
        if read == Err(Errno::AGAIN) { 0 } else { u64::from_ne_bytes(count) }
    }

    /// Waits for a signal. The host has not consumed the completion before: one that it has seen needs none.
    fn wait(&self, host: &mut Host) {
        host.wait("an interrupt", |_| self.count() > 0);
    }

    /// Reads a block, as a host does that looks for completions only when it is signalled: perhaps once too often.
    fn wait_for_read(&self, host: &mut Host, queue: usize) {
        let id = host.send_io(queue, read(1, 7));
        let mut found = None;
        host.wait("an interrupt", |host| {
            found = if self.count() > 0 { host.take_io(queue) } else { None };
            found.is_some()
        });
        let completion = found.unwrap();
        assert_eq!(completion.command_id, id);
        assert_eq!(completion.status.code(), StatusCode::SUCCESS);
    }
}

#[test]
fn completions_of_the_admin_queue_signal_the_first_vector() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    let vector = Vector::set(&mut host, 0);
    host.enable();
    let id = host.send(identify(1, 0));
    vector.wait(&mut host);
    let completion = host.completion(id).expect("a signal comes after its completion");
    assert_eq!(completion.status.code(), StatusCode::SUCCESS);
}

#[test]
fn a_queue_signals_its_own_vector_also_one_that_was_set_later() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let (admin, other) = (Vector::set(&mut host, 0), Vector::set(&mut host, 2));
    host.create_queue_pair(1);
    let vector = Vector::set(&mut host, 1);
    admin.count();
    vector.wait_for_read(&mut host, 0);
    assert_eq!(other.count(), 0);
    let changed = Vector::set(&mut host, 1);
    changed.wait_for_read(&mut host, 0);
}

#[test]
fn two_queues_share_a_vector() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.create_queue_pair(1);
    let vector = Vector::set(&mut host, 1);
    for queue in 0..2 {
        vector.count();
        vector.wait_for_read(&mut host, queue);
    }
}

#[test]
fn a_vector_without_an_eventfd_and_a_queue_without_interrupts_serve_all_the_same() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let vector = Vector::set(&mut host, 1);
    host.function.set_vectors(0, (0..9).map(|_| None).collect());
    vector.count();
    host.use_disk(0, 1);
    assert_eq!(vector.count(), 0);
    let queue = QueuePair::new(&host.memory, 2, 64, RigMemory::RINGS.0 + 0x8000);
    let mut polled = create_completion_queue(&queue, 2);
    polled.cdw10[1] = 1 | 2 << 16;
    host.succeed(polled);
    host.succeed(create_submission_queue(&queue, 2));
    host.queues.push(queue);
    // The vector that the command names, which is not used.
    let vector = Vector::set(&mut host, 2);
    assert_eq!(host.io(1, read(1, 0)).status.code(), StatusCode::SUCCESS);
    assert_eq!(vector.count(), 0);
}

#[test]
fn vectors_stay_over_a_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let vector = Vector::set(&mut host, 1);
    host.disable();
    host.enable();
    host.create_queue_pair(1);
    vector.wait_for_read(&mut host, 0);
}

#[test]
fn a_client_can_trigger_a_vector() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    let vector = Vector::set(&mut host, 8);
    host.function.trigger(8);
    assert_eq!(vector.count(), 1);
    host.function.trigger(7);
    host.function.trigger(0xffff);
    assert_eq!(vector.count(), 0);
}

#[test]
fn an_eventfd_that_its_client_has_filled_delays_nobody() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let vector = eventfd(0, EventfdFlags::empty()).unwrap();
    rustix::io::write(&vector, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    host.function.set_vectors(1, vec![Some(vector.try_clone().unwrap())]);
    rustix::fs::fcntl_setfl(&vector, rustix::fs::OFlags::empty()).unwrap();
    (0..3).for_each(|byte| host.use_disk(0, byte));
    host.function.trigger(1);
}

#[test]
fn a_file_that_is_no_eventfd_signals_nothing() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let (reader, writer) = std::io::pipe().unwrap();
    host.function.set_vectors(1, vec![Some(writer.into())]);
    host.create_queue_pair(1);
    host.use_disk(0, 1);
    drop(reader);
}
