//! Which core serves a ring: spread over those allowed, away from a busy one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::{Blocks, Completion, CoreId, MemoryDevice, NullDevice, Shape};
use luge_core::{Armed, CoreHandle, Kick, Published, Session, SessionId, Tenant, Took, Work};
use luge_memory::{DmaSpace, PageSize};
use luge_vhost::{BlkConfig, Endpoint};
use luge_volume::Graph;
use rig::client::{Client, Guest, Message, code, until};
use rig::house::{House, use_disk};
use rustix::io::pwrite;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Rings of an endpoint on each of its cores.
fn rings(house: &House, endpoint: usize) -> [usize; 2] {
    let queues = house.endpoint(endpoint).status().front_end.map(|front_end| front_end.queues);
    let queues = queues.unwrap_or_default();
    [0, 1].map(|core| queues.iter().filter(|queue| queue.core == CoreId(core)).count())
}

/// A house with as many endpoints, each on a disk of its own.
fn house(endpoints: usize) -> House {
    House::on(&(0..endpoints).map(|_| House::disk()).collect::<Vec<_>>())
}

fn connect(house: &House, endpoint: usize, rings: u64) -> (Guest, Client) {
    let guest = Guest::new(rings);
    let client = guest.connect(&house.path(endpoint));
    (guest, client)
}

/// Turns rings of a guest off or on.
fn enable(client: &Client, rings: u32, on: u32) {
    for index in 0..rings {
        client.tell(&Message::ring(code::SET_VRING_ENABLE, index, on).acknowledged()).unwrap();
    }
}

#[test]
fn the_rings_of_a_disk_are_spread_over_its_cores() {
    let house = house(1);
    let (mut guest, _client) = connect(&house, 0, 4);
    assert_eq!(rings(&house, 0), [2, 2]);
    use_disk(&mut guest);
}

#[test]
fn guests_with_one_ring_each_are_spread_over_the_cores() {
    let house = house(10);
    let _guests: Vec<_> = (0..10).map(|endpoint| connect(&house, endpoint, 1)).collect();
    let cores: Vec<_> = house.cores.iter().map(CoreHandle::rings).collect();
    assert_eq!(cores.iter().sum::<usize>(), 10);
    assert!(cores[0].abs_diff(cores[1]) <= 2, "{cores:?}");
}

#[test]
fn rings_of_guests_that_all_come_at_once_are_spread_over_the_cores() {
    let house = house(16);
    let guests: Vec<_> = std::thread::scope(|scope| {
        let house = &house;
        let connecting: Vec<_> =
            (0..16).map(|endpoint| scope.spawn(move || connect(house, endpoint, 1))).collect();
        connecting.into_iter().map(|guest| guest.join().unwrap()).collect()
    });
    let cores: Vec<_> = house.cores.iter().map(CoreHandle::rings).collect();
    assert_eq!(cores.iter().sum::<usize>(), 16);
    assert!(cores[0].abs_diff(cores[1]) <= 2, "{cores:?}");
    drop(guests);
    until(|| house.cores.iter().all(|core| core.rings() == 0));
}

/// A session that is always busy.
struct Busy;

impl Session for Busy {
    fn adopt(&mut self, _id: SessionId) {}

    fn take(&mut self, _graph: &mut Graph, _allowance: Work) -> Took {
        Took::Work(Work::REQUEST)
    }

    fn finish(&mut self, _done: &[Completion]) {}

    fn publish(&mut self) -> Published {
        Published::All
    }

    fn arm(&mut self) -> Armed {
        Armed::Waiting
    }

    fn disarm(&mut self) {}

    fn kick(&self) -> Option<&Kick> {
        None
    }

    fn needs_polling(&self) -> bool {
        true
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn quiesce(&mut self) {}
}

/// Keeps a core busy until its load shows it.
fn make_busy(core: &CoreHandle) -> SessionId {
    let id =
        core.add_session(Box::new(Busy), &Tenant::Owner("busy".into())).unwrap_or_else(|_| unreachable!());
    until(|| core.load() > 0.6);
    id
}

#[test]
fn a_busy_core_is_left_alone_while_another_is_idle() {
    let house = house(1);
    let session = make_busy(&house.cores[0]);
    until(|| house.cores[1].load() < 0.2);
    let _guest = connect(&house, 0, 1);
    assert_eq!(rings(&house, 0), [0, 1]);
    drop(house.cores[0].remove_session(session));
}

#[test]
fn rings_that_are_started_and_stopped_without_end_leave_the_choice_to_others_as_it_was() {
    let house = house(2);
    let (mut guest, client) = connect(&house, 0, 4);
    (0..100).for_each(|_| [0, 1].into_iter().for_each(|on| enable(&client, 4, on)));
    assert_eq!(rings(&house, 0), [2, 2]);
    let _other = connect(&house, 1, 4);
    assert_eq!(rings(&house, 1), [2, 2]);
    use_disk(&mut guest);
    enable(&client, 4, 0);
    let cores: Vec<_> = house.cores.iter().map(CoreHandle::rings).collect();
    assert_eq!(cores, [2, 2]);
}

#[test]
fn a_disk_with_fewer_queues_than_cores_is_on_the_core_with_fewer_disks() {
    let mut house = house(0);
    for index in 0..4 {
        let config = BlkConfig { queues: 1, ..house.disk_config(House::disk()) };
        house.serve(index, config);
    }
    let cores: Vec<_> = house.endpoints.iter().map(|endpoint| endpoint.status().cores).collect();
    assert_eq!(cores, [0, 1, 0, 1].map(|core| [CoreId(core)]));
}

/// A core of each NUMA node of this machine, where it has CPUs.
fn a_core_per_node() -> Vec<CoreHandle> {
    let nodes = std::fs::read_dir("/sys/devices/system/node").into_iter().flatten();
    let nodes = nodes.filter(|node| node.as_ref().unwrap().file_name().to_str().unwrap().starts_with("node"));
    let lists = nodes.map(|node| std::fs::read_to_string(node.unwrap().path().join("cpulist")).unwrap());
    let first = lists.filter_map(|list| list.trim().split([',', '-']).next()?.parse().ok());
    first.map(|cpu| CoreHandle::spawn(CoreId(cpu)).unwrap()).collect()
}

/// On a machine with one node there is nothing to choose; on others this is.
#[test]
fn a_disk_in_memory_of_a_node_is_served_by_a_core_of_that_node() {
    let mut house = house(0);
    let cores = a_core_per_node();
    assert!(!cores.is_empty());
    for (index, near) in cores.iter().enumerate() {
        let shape = Shape::new(512, Blocks(8192)).unwrap();
        let disk = MemoryDevice::new(&DmaSpace::new(), shape, PageSize::Base, near.node()).unwrap();
        let (cores, queues_max) = (cores.clone(), 1);
        let config = BlkConfig { cores, queues: queues_max, ..house.disk_config(Arc::new(disk)) };
        house.serve(index, config);
        assert_eq!(house.endpoint(index).status().cores, [near.id()], "{:?}", near.node());
    }
    house.endpoints.drain(..).for_each(Endpoint::stop);
    cores.iter().for_each(CoreHandle::stop);
}

/// On a machine with one node there is nothing to choose; on others this is.
#[test]
fn a_guest_is_served_by_a_core_of_the_node_of_its_memory() {
    let mut house = house(0);
    let cores = a_core_per_node();
    for (index, near) in cores.iter().enumerate() {
        let disk = Arc::new(NullDevice::new(Shape::new(512, Blocks(8192)).unwrap()));
        let config = BlkConfig { cores: cores.clone(), ..house.disk_config(disk) };
        house.serve(index, config);
        let guest = on_cpu(near.id(), || {
            let guest = Guest::new(1);
            guest.files.iter().for_each(|(layout, file)| touch(file, layout.len));
            guest
        });
        let _client = guest.connect(&house.path(index));
        let queues = house.endpoint(index).status().front_end.unwrap().queues;
        assert_eq!(queues[0].core, near.id(), "{:?}", near.node());
    }
    house.endpoints.drain(..).for_each(Endpoint::stop);
    cores.iter().for_each(CoreHandle::stop);
}

/// Does something on a CPU, near which new memory is then.
fn on_cpu<R: Send>(cpu: CoreId, work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let there = scope.spawn(move || {
            let mut cpus = CpuSet::new();
            cpus.set(cpu.0.into());
            sched_setaffinity(None, &cpus).unwrap();
            work()
        });
        there.join().unwrap()
    })
}

/// Makes the pages of a file.
fn touch(file: &OwnedFd, len: u64) {
    let len = usize::try_from(len).unwrap();
    assert_eq!(pwrite(file, &vec![0; len], 0).unwrap(), len);
}
