//! Which rings belong to one tenant of a core, and the parts of an SSD that tenants get.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Device, Geometry, Status};
use luge_core::Tenant;
use luge_vhost::{BlkConfig, BlkDevice, Endpoint};
use rig::Ask;
use rig::client::{Client, Guest, until};
use rig::house::{House, use_disk};
use std::sync::Arc;

/// A house with two endpoints, of owners if they have names.
fn house(owners: [Option<&str>; 2]) -> House {
    let mut house = House::on(&[]);
    for (index, owner) in owners.into_iter().enumerate() {
        let disk = Arc::new(BlkDevice::open(house.disk_config(House::disk())).unwrap());
        let mut config = house.config(index, disk);
        config.owner = owner.map(str::to_owned);
        house.endpoints.push(Endpoint::start(config).unwrap());
    }
    house
}

/// Tenants that have rings on any core, without repetition.
fn tenants(house: &House) -> Vec<Tenant> {
    let accounts = house.cores.iter().flat_map(|core| core.accounts());
    let mut tenants: Vec<_> = accounts.map(|account| account.tenant().clone()).collect();
    tenants.sort();
    tenants.dedup();
    tenants
}

#[test]
fn disks_whose_front_ends_share_a_memory_file_are_one_tenant() {
    let house = house([None, None]);
    // Both serve the guest's ring, which nobody uses.
    let guest = Guest::new(1);
    let _connections = [guest.connect(&house.path(0)), guest.connect(&house.path(1))];
    let runs = |index| house.endpoint(index).status().front_end.is_some_and(|it| it.queues.len() == 1);
    until(|| runs(0) && runs(1));
    let found = tenants(&house);
    assert!(matches!(found[..], [Tenant::Memory(_)]), "{found:?}");
}

#[test]
fn disks_with_memory_files_of_their_own_are_tenants_of_their_own() {
    let house = house([None, None]);
    let (first, second) = (Guest::new(1), Guest::new(1));
    let _connections = [first.connect(&house.path(0)), second.connect(&house.path(1))];
    until(|| tenants(&house).len() == 2);
}

#[test]
fn disks_of_one_owner_are_one_tenant_whatever_their_memory() {
    let house = house([Some("cloud"), Some("cloud")]);
    let (mut first, mut second) = (Guest::new(1), Guest::new(1));
    let connections = [first.connect(&house.path(0)), second.connect(&house.path(1))];
    use_disk(&mut first);
    use_disk(&mut second);
    assert_eq!(tenants(&house), [Tenant::Owner("cloud".into())]);
    let work: u64 = house.cores.iter().flat_map(|core| core.accounts()).map(|account| account.work()).sum();
    assert!(work > 0, "what was done is counted");
    drop(connections);
    until(|| tenants(&house).is_empty());
}

/// First blocks of the requests of two tenants.
const FIRST: u64 = 0;
const SECOND: u64 = 100;

/// Two tenants with disks on one SSD and one core. The SSD has room for 32 requests, and ends them when it is told to.
struct Neighbours {
    ssd: Scripted,
    first: Guest,
    second: Guest,
    _connections: [Client; 2],
    /// Taken when it is dropped.
    house: Option<House>,
}

impl Neighbours {
    fn new() -> Self {
        let (mut house, ssd) = (House::on(&[]), Scripted::new(Geometry::for_tests(), 32));
        let device: Arc<dyn Device> = Arc::new(ssd.clone());
        for index in 0..2 {
            let disk = BlkConfig { cores: house.cores[..1].into(), ..house.disk_config(device.clone()) };
            house.serve(index, disk);
        }
        let (first, second) = (Guest::new(4), Guest::new(2));
        let connections = [first.connect(&house.path(0)), second.connect(&house.path(1))];
        let mut neighbours = Self { ssd, first, second, _connections: connections, house: Some(house) };
        neighbours.ask_each();
        neighbours
    }

    /// Has a request of each tenant served.
    fn ask_each(&mut self) {
        for (guest, lba) in [(&mut self.first, FIRST), (&mut self.second, SECOND)] {
            let sent = guest.rings[0].send(&Ask::read(lba, 512));
            until(|| self.ssd.complete_all(Status::Success) == 1);
            guest.rings[0].answer(&sent);
        }
    }

    /// Sends requests on all rings of a guest.
    fn flood(guest: &mut Guest, lba: u64) {
        for ring in &mut guest.rings {
            for _ in 0..12 {
                ring.send(&Ask::read(lba, 512));
            }
        }
    }

    /// Number of requests that the SSD has of a tenant.
    fn at_the_ssd(&self, lba: u64) -> usize {
        self.ssd.taken().iter().filter(|request| request.lba.0 == lba).count()
    }

    /// Ends the oldest request of the first tenant, and lets the core take a few turns.
    fn end_one(&self) {
        let oldest = self.ssd.taken().into_iter().find(|request| request.lba.0 == FIRST).unwrap();
        until(|| self.ssd.complete(oldest.tag, Status::Success));
        let core = &self.house.as_ref().unwrap().cores[0];
        (0..4).for_each(|_| core.call(|_| ()));
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        let house = self.house.take();
        // The disks stop when what they have in flight has ended.
        std::thread::scope(|scope| {
            let stop = scope.spawn(move || drop(house));
            while !stop.is_finished() {
                self.ssd.complete_all(Status::Success);
                std::thread::yield_now();
            }
        });
    }
}

#[test]
fn tenants_of_an_ssd_get_equal_parts_of_its_slots_whoever_came_first() {
    let mut neighbours = Neighbours::new();
    Neighbours::flood(&mut neighbours.first, FIRST);
    until(|| neighbours.at_the_ssd(FIRST) >= 30);
    Neighbours::flood(&mut neighbours.second, SECOND);
    until(|| neighbours.at_the_ssd(SECOND) > 0);
    (0..15).for_each(|_| neighbours.end_one());
    assert_eq!(neighbours.at_the_ssd(SECOND), 15);
    assert_eq!(neighbours.at_the_ssd(FIRST), 15);
}
