//! Another front end, that of the crate `vhost`, agrees with the endpoint about the protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_virtqueue::rig::RigMemory;
use rig::client::{Guest, PROTOCOL};
use rig::house::{House, use_disk};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::EventFd;

fn event(file: &OwnedFd) -> EventFd {
    let file = file.try_clone().unwrap().into_raw_fd();
    // SAFETY: the descriptor was just made, and belongs to nobody else.
    #[expect(unsafe_code, reason = "the other crate's type for an eventfd is made of a number")]
    unsafe {
        std::os::fd::FromRawFd::from_raw_fd(file)
    }
}

fn regions(guest: &Guest) -> Vec<VhostUserMemoryRegionInfo> {
    let regions = guest.files.iter().map(|(layout, file)| VhostUserMemoryRegionInfo {
        guest_phys_addr: layout.guest.0,
        memory_size: layout.len,
        userspace_addr: layout.driver.0,
        mmap_offset: layout.file_offset,
        mmap_handle: file.as_raw_fd(),
    });
    regions.collect()
}

fn start_ring(frontend: &mut Frontend, guest: &Guest) {
    let ring = &guest.rings[0];
    let driver = |at| RigMemory::driver_address(at).0;
    let config = VringConfigData {
        queue_max_size: 1024,
        queue_size: ring.layout.size.get(),
        flags: 0,
        desc_table_addr: driver(ring.layout.descriptors),
        used_ring_addr: driver(ring.layout.used),
        avail_ring_addr: driver(ring.layout.available),
        log_addr: None,
    };
    frontend.set_vring_num(0, ring.layout.size.get()).unwrap();
    frontend.set_vring_addr(0, &config).unwrap();
    frontend.set_vring_base(0, 0).unwrap();
    frontend.set_vring_call(0, &event(&ring.call)).unwrap();
    frontend.set_vring_err(0, &event(&ring.error)).unwrap();
    frontend.set_vring_kick(0, &event(&ring.kick)).unwrap();
    frontend.set_vring_enable(0, true).unwrap();
}

#[test]
fn it_connects_uses_the_disk_and_stops_it() {
    let house = House::new();
    let mut guest = Guest::new(1);
    let mut frontend = Frontend::connect(house.path(0), 4).unwrap();
    assert_eq!(frontend.get_features().unwrap() & guest.features.0, guest.features.0);
    frontend.set_owner().unwrap();
    frontend.set_features(guest.features.0).unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    assert_eq!(protocol.bits(), PROTOCOL);
    frontend.set_protocol_features(protocol).unwrap();
    assert!(protocol.contains(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS));
    frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    assert_eq!(frontend.get_queue_num().unwrap(), 4);
    let (_, config) = frontend.get_config(0, 60, VhostUserConfigFlags::empty(), &[0; 60]).unwrap();
    assert_eq!(config[..8], 2048_u64.to_le_bytes());
    let regions = regions(&guest);
    frontend.set_mem_table(&regions).unwrap();
    start_ring(&mut frontend, &guest);
    use_disk(&mut guest);
    assert_eq!(frontend.get_vring_base(0).unwrap(), 3);
    assert!(frontend.get_max_mem_slots().unwrap() > 0);
    frontend.remove_mem_region(&regions[3]).unwrap();
    frontend.add_mem_region(&regions[3]).unwrap();
    frontend.reset_device().unwrap();
}
