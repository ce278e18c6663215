//! Clients that keep cores waiting by their memory, or would by the memory of the doorbells.

use crate::rig::host::{read, write};
use crate::rig::{Host, Sled, disk};
use luge_block::{Channel, CoreId, Device, Geometry, MemoryDevice, OpenError, Shape};
use luge_core::BackgroundCore;
use luge_memory::{DmaSpace, PageSize};
use luge_nvme_target::NamespaceId;
use luge_spec::nvme::{StatusCode, offset};
use luge_vfio_user::RegionIndex;
use luge_volume::Volume;
use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Number of queues of the only controller that are on cores with a CPU, and on others.
fn placed(sled: &Sled) -> [usize; 2] {
    let controllers = sled.subsystem.controllers();
    let queues = &controllers[0].queues;
    let moved = queues.iter().filter(|queue| BackgroundCore::has(queue.core)).count();
    [queues.len() - moved, moved]
}

/// A host with two queue pairs.
fn host(sled: &Sled) -> Host {
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.create_queue_pair(2);
    host
}

/// Number of reads and writes that the volume of namespace 1 has had.
fn taken(sled: &Sled) -> u64 {
    let counters = sled.subsystem.namespaces().remove(0).volume.counters();
    counters.reads + counters.writes
}

fn wait_until_moved(sled: &Sled, host: &mut Host) {
    host.wait("leaving the cores", |_| placed(sled)[0] == 0);
}

#[test]
fn queues_of_a_client_whose_memory_keeps_a_core_waiting_leave_the_cores_and_work_on() {
    let sled = Sled::with_disk();
    let mut bystander = sled.host();
    bystander.create_queue_pair(1);
    drop(bystander);
    let mut host = host(&sled);
    assert_eq!(placed(&sled), [3, 0]);
    host.function.leave_cores();
    wait_until_moved(&sled, &mut host);
    assert_eq!(placed(&sled), [0, 3]);
    host.use_disk(0, 1);
    host.use_disk(1, 2);
    host.identify(1, 0);
    assert_eq!(host.function.failure(), None);
}

#[test]
fn what_comes_after_the_move_is_served_in_the_background_too() {
    let sled = Sled::with_disk();
    let mut host = host(&sled);
    host.function.leave_cores();
    wait_until_moved(&sled, &mut host);
    host.create_queue_pair(3);
    host.use_disk(2, 3);
    host.disable();
    host.enable();
    host.create_queue_pair(1);
    assert_eq!(placed(&sled), [0, 2]);
    sled.add(2, disk());
    host.wait("the namespace", |host| host.identify(0, 2)[..8] != [0; 8]);
    assert_eq!(host.io(0, read(2, 0)).status.code(), StatusCode::SUCCESS);
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| sled.subsystem.remove_namespace(NamespaceId(2)));
        host.wait("the removal", |_| removal.is_finished());
    });
    assert_eq!(host.io(0, read(2, 0)).status.code(), StatusCode::INVALID_FIELD);
    host.use_disk(0, 4);
}

#[test]
fn commands_in_flight_end_before_the_move_and_none_is_taken_meanwhile() {
    let (sled, delay) = Sled::slow();
    let mut host = host(&sled);
    delay.hold();
    host.send_io(0, read(1, 0));
    host.wait("a command in flight", |_| taken(&sled) == 1);
    host.function.leave_cores();
    host.send_io(0, write(1, 1));
    host.send_io(1, write(1, 2));
    for _ in 0..100 {
        host.pump();
    }
    assert_eq!(taken(&sled), 1, "nothing is taken");
    assert_eq!(placed(&sled), [3, 0]);
    delay.release();
    wait_until_moved(&sled, &mut host);
    for queue in [0, 0, 1] {
        let mut status = None;
        host.wait("a completion", |host| {
            status = host.take_io(queue).map(|completion| completion.status.code());
            status.is_some()
        });
        assert_eq!(status, Some(StatusCode::SUCCESS));
    }
}

#[test]
fn a_reset_and_a_shutdown_while_queues_leave_their_cores_are_complete() {
    let (sled, delay) = Sled::slow();
    let mut host = host(&sled);
    delay.hold();
    host.send_io(0, read(1, 0));
    host.wait("a command in flight", |_| taken(&sled) == 1);
    host.function.leave_cores();
    host.write32(offset::CC, 0);
    host.write32(offset::CC, luge_spec::nvme::Configuration::ENABLED.0);
    delay.release();
    host.disable();
    host.enable();
    host.create_queue_pair(1);
    wait_until_moved(&sled, &mut host);
    host.use_disk(0, 5);
}

#[test]
fn a_client_may_leave_while_its_queues_leave_their_cores() {
    let sled = Sled::with_disk();
    for _ in 0..8 {
        let mut host = host(&sled);
        host.send_io(0, read(1, 0));
        host.function.leave_cores();
    }
    let mut next = host(&sled);
    next.use_disk(0, 6);
    assert_eq!(placed(&sled), [3, 0]);
}

/// A device without a channel for a core that has no CPU.
struct Pinned(Arc<dyn Device>);

impl Device for Pinned {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        if !BackgroundCore::has(core) {
            return self.0.open(core);
        }
        let (device, users) = ("ssd".to_owned(), vec![0, 1]);
        Err(OpenError::NoQueue { device, core: core.0, queues: 2, users })
    }
}

#[test]
fn a_client_whose_volume_cannot_be_served_elsewhere_is_given_up() {
    let sled = Sled::new();
    let shape = Shape::new(512, luge_block::Blocks(2048)).unwrap();
    let memory = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, None).unwrap();
    sled.add(1, Arc::new(Volume::whole(Arc::new(Pinned(Arc::new(memory))))));
    let mut host = host(&sled);
    host.function.leave_cores();
    host.wait("the failure", |host| host.function.failure().is_some());
    assert!(host.function.failure().unwrap().contains("ssd"), "{:?}", host.function.failure());
    drop(host);
    sled.host();
}

/// Memory of the doorbells, as a client has it, from the file that it gets.
fn doorbells(host: &Host) -> std::os::fd::OwnedFd {
    let mappable = host.function.region(RegionIndex::BAR0).mappable.unwrap();
    mappable.file.try_clone().unwrap()
}

/// Tries to make a hole.
fn punch(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0x1000, 0x1000)
}

#[test]
fn doorbells_that_a_core_looks_at_cannot_be_taken_away() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    let file = doorbells(&host);
    assert_eq!(punch(file.as_fd()), Ok(()), "no core looks at them yet");
    host.enable();
    host.create_queue_pair(1);
    assert_eq!(punch(file.as_fd()), Err(Errno::PERM));
    assert_eq!(ftruncate(&file, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&file, 1 << 20), Err(Errno::PERM));
    let again = std::fs::File::options()
        .write(true)
        .open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    assert_eq!(punch(again.unwrap().as_fd()), Err(Errno::PERM));
    host.use_disk(0, 7);
    host.disable();
    host.enable();
    host.create_queue_pair(1);
    host.use_disk(0, 8);
}

/// A disk that opens no queue on a background core before it may, and notes who asked for one there.
struct Reluctant {
    disk: Arc<dyn Device>,
    may_open: Arc<AtomicBool>,
    opener: mpsc::SyncSender<ThreadId>,
}

impl Device for Reluctant {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn open(&self, core: CoreId) -> Result<Box<dyn Channel>, OpenError> {
        if BackgroundCore::has(core) {
            self.opener.send(thread::current().id()).unwrap();
            // Whoever waits on the controller's thread would wait forever.
            let may_wait = 3_000;
            for _ in 0..may_wait {
                if self.may_open.load(Relaxed) {
                    break;
                }
                thread::park_timeout(Duration::from_millis(1));
            }
        }
        self.disk.open(core)
    }
}

#[test]
fn a_namespace_that_comes_after_the_move_is_opened_while_the_client_is_served() {
    let sled = Sled::with_disk();
    let mut host = host(&sled);
    host.function.leave_cores();
    wait_until_moved(&sled, &mut host);
    let (opener, opened_by) = mpsc::sync_channel(8);
    let may_open = Arc::new(AtomicBool::new(false));
    let memory = MemoryDevice::new(
        &DmaSpace::new(),
        Shape::new(512, luge_block::Blocks(64)).unwrap(),
        PageSize::Base,
        None,
    );
    let device = Reluctant { disk: Arc::new(memory.unwrap()), may_open: may_open.clone(), opener };
    sled.add(2, Arc::new(Volume::whole(Arc::new(device))));
    sled.add(3, disk());
    host.wait("an opener", |_| opened_by.try_recv().is_ok_and(|thread| thread != thread::current().id()));
    host.use_disk(0, 1);
    assert_eq!(host.identify(0, 2)[..8], [0; 8], "not there yet");
    may_open.store(true, Relaxed);
    for id in [2, 3] {
        host.wait("the namespace", |host| host.identify(0, id)[..8] != [0; 8]);
        assert_eq!(host.io(0, read(id, 0)).status.code(), StatusCode::SUCCESS);
    }
}
