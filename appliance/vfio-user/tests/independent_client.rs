//! The client of the crate `vfio_user`, as cloud-hypervisor uses it: a witness of the protocol that is not ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use rig::client::memory_file;
use rig::function::{BAR_BYTES, CONFIG_BYTES, DOORBELLS, VECTORS};
use rig::{House, until};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsRawFd, OwnedFd};
use vfio_user::Client;

const PAGE: u64 = 0x1000;
const BAR0: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;
/// `VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER`.
const SET_EVENTFDS: u32 = 1 << 2 | 1 << 5;
/// `VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER`.
const SWITCH_OFF: u32 = 1 << 0 | 1 << 5;

#[test]
fn regions_are_found_with_the_areas_that_can_be_mapped() {
    let house = House::new();
    let client = Client::new(&house.path()).unwrap();
    let bar = client.region(BAR0).unwrap();
    assert_eq!(bar.size, BAR_BYTES);
    assert_eq!(bar.flags & 0xf, 0xf);
    assert_eq!(bar.sparse_areas.len(), 1);
    assert_eq!(bar.sparse_areas[0].offset, DOORBELLS);
    assert_eq!(bar.sparse_areas[0].size, PAGE);
    let file = bar.file_offset.as_ref().unwrap();
    assert_eq!(file.start(), 0);
    rustix::io::pwrite(file.file(), b"tail", DOORBELLS).unwrap();
    let mut tail = [0; 4];
    rustix::io::pread(&house.record.doorbells, &mut tail, DOORBELLS).unwrap();
    assert_eq!(&tail, b"tail");
    assert_eq!(client.region(CONFIG).unwrap().size, CONFIG_BYTES);
    assert_eq!(client.region(1).unwrap().size, 0);
}

#[test]
fn registers_are_read_and_written() {
    let house = House::new();
    let mut client = Client::new(&house.path()).unwrap();
    client.region_write(BAR0, 0x20, &[1, 2, 3, 4]).unwrap();
    let mut data = [0; 8];
    client.region_read(BAR0, 0x1e, &mut data).unwrap();
    assert_eq!(data, [0, 0, 1, 2, 3, 4, 0, 0]);
}

#[test]
fn memory_is_mapped_and_unmapped() {
    let house = House::new();
    let mut client = Client::new(&house.path()).unwrap();
    let file = memory_file(4 * PAGE);
    client.dma_map(PAGE, 0x10_0000, 2 * PAGE, file.as_raw_fd()).unwrap();
    assert_eq!(house.record.word_at(0x10_1000), Some(2 * PAGE));
    client.dma_unmap(0x10_0000, 2 * PAGE).unwrap();
    assert_eq!(house.record.word_at(0x10_1000), None);
    // It reads the whole of a reply that is an error, too.
    client.dma_unmap(0x10_0000, 2 * PAGE).unwrap();
    client.reset().unwrap();
    assert_eq!(house.record.state().resets, 1);
}

#[test]
fn interrupts_are_set_sixteen_at_a_time() {
    let house = House::new();
    let mut client = Client::new(&house.path()).unwrap();
    assert_eq!(client.get_irq_info(MSIX).unwrap().count, u32::from(VECTORS));
    let eventfds: Vec<OwnedFd> = (0..16).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect();
    let raw: Vec<_> = eventfds.iter().map(AsRawFd::as_raw_fd).collect();
    client.set_irqs(MSIX, SET_EVENTFDS, 0, 16, &raw).unwrap();
    client.set_irqs(MSIX, SET_EVENTFDS, 16, 16, &raw).unwrap();
    let set = || house.record.state().vectors.iter().flatten().count();
    assert_eq!(set(), 32);
    client.set_irqs(MSIX, SWITCH_OFF, 0, 0, &[]).unwrap();
    assert_eq!(set(), 0);
}

#[test]
fn a_client_that_leaves_is_followed_by_the_next() {
    let house = House::new();
    for count in 1..4 {
        let client = Client::new(&house.path()).unwrap();
        client.shutdown().unwrap();
        until(|| house.record.state().departures == count);
    }
    assert_eq!(house.protocol_errors(), 0);
}
