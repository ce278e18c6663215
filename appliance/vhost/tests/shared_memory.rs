//! Disks of one virtual machine: their front ends announce the same memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_block::doubles::Scripted;
use luge_block::{Device, Geometry};
use luge_memory::{Iommu, Iova, IovaRange, Mapping};
use rig::client::{Client, Guest, signal, until};
use rig::house::{House, use_disk};
use rustix::fs::ftruncate;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// An IOMMU that notes what is mapped in it.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<Iova, u64>>);

impl Ledger {
    fn of(house: &House) -> Arc<Self> {
        let ledger = Arc::<Self>::default();
        house.space.attach(ledger.clone()).unwrap();
        ledger
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Iommu for Ledger {
    fn usable(&self) -> io::Result<Vec<IovaRange>> {
        Ok(vec![IovaRange { first: 0, last: (1 << 48) - 1 }])
    }

    fn map(&self, iova: Iova, memory: &Mapping) -> io::Result<()> {
        self.0.lock().unwrap().insert(iova, memory.len());
        Ok(())
    }

    fn unmap(&self, iova: Iova, _: u64) -> io::Result<()> {
        self.0.lock().unwrap().remove(&iova);
        Ok(())
    }
}

/// A disk of a device that transfers data itself.
fn ssd() -> Arc<dyn Device> {
    Arc::new(Scripted::new(Geometry::for_tests(), 64))
}

/// Connects, and announces the guest's memory.
fn announce(guest: &Guest, house: &House, index: usize) -> Client {
    let client = Client::connect(&house.path(index));
    for message in guest.greeting() {
        client.tell(&message.acknowledged()).unwrap();
    }
    client
}

#[test]
fn guest_memory_is_in_the_iommu_once_while_a_disk_of_an_ssd_is_connected() {
    let house = House::on(&[House::disk(), ssd(), ssd()]);
    let (ledger, guest) = (Ledger::of(&house), Guest::new(1));
    let _memory_disk = announce(&guest, &house, 0);
    assert_eq!(ledger.count(), 0, "no SSD needs it");
    let first = announce(&guest, &house, 1);
    assert_eq!(ledger.count(), guest.files.len());
    let second = announce(&guest, &house, 2);
    assert_eq!(ledger.count(), guest.files.len());
    drop(first);
    until(|| house.endpoint(1).status().front_end.is_none());
    assert_eq!(ledger.count(), guest.files.len());
    drop(second);
    until(|| ledger.count() == 0);
}

#[test]
fn memory_that_is_taken_away_ends_all_front_ends_that_share_it_and_no_other() {
    let house = House::on(&[House::disk(), House::disk(), House::disk()]);
    let (hostile, mut bystander) = (Guest::new(1), Guest::new(1));
    let running = hostile.connect(&house.path(0));
    let idle = announce(&hostile, &house, 1);
    let _other = bystander.connect(&house.path(2));
    hostile.files.iter().for_each(|(_, file)| ftruncate(file, 0).unwrap());
    signal(&hostile.rings[0].kick);
    assert!(running.is_cut_off());
    assert!(idle.is_cut_off());
    use_disk(&mut bystander);
    for index in [0, 1] {
        until(|| house.endpoint(index).status().front_end.is_none());
        assert_eq!(house.endpoint(index).status().counts.protocol_errors, 1);
    }
}
