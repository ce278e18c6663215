//! Which rings belong to one tenant of a core.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_core::Tenant;
use luge_vhost::{BlkDevice, Endpoint};
use rig::client::{Guest, until};
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
