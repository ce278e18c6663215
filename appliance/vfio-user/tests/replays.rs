//! Messages of clients that are in use, in the form in which they send them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_spec::vfio_user::{
    Command, DeviceInfo, DmaMap, DmaUnmap, DmaUnmapFlags, Header, MessageFlags, RegionAccess, RegionIndex,
    RegionInfo, SparseArea, Version,
};
use rig::House;
use rig::client::{Client, command, map, memory_file, message, unmap};
use rig::function::DOORBELLS;
use std::os::fd::AsFd;
use zerocopy::{FromBytes, IntoBytes};

const PAGE: u64 = 0x1000;

/// A command with message identifier 0, as SPDK sends all of them.
fn without_id(number: Command, payload: &[u8]) -> Vec<u8> {
    let mut bytes = command(number, payload);
    bytes[..2].fill(0);
    bytes
}

#[test]
fn spdks_initiator_finds_the_doorbells_and_maps_memory() {
    // SPDK, lib/vfio_user/host/vfio_user.c.
    let house = House::new();
    let client = Client::connect(&house.path());
    // vfio_user_dev_negotiate_version: four bytes, without JSON.
    let version: Version = client.ask(&without_id(Command::VERSION, &[0; 4])).get();
    assert_eq!(version.major.get(), 0);
    // vfio_user_get_dev_info: at most ten regions.
    let info: DeviceInfo = client.ask(&without_id(Command::GET_INFO, &[0; 16])).get();
    assert!(info.regions.get() <= 10);
    // vfio_user_get_dev_region_info: a payload with room for capabilities.
    for index in 0..info.regions.get() {
        let request =
            RegionInfo { argsz: 4064.into(), index: RegionIndex(index.into()), ..Default::default() };
        let mut payload = vec![0; 4064];
        payload[..32].copy_from_slice(request.as_bytes());
        let reply = client.ask(&without_id(Command::GET_REGION_INFO, &payload));
        let info: RegionInfo = reply.get();
        assert_eq!(info.index.0.get(), index);
        if index == 0 {
            let area = SparseArea::read_from_bytes(&reply.payload[48..]).unwrap();
            assert_eq!(area.offset.get(), DOORBELLS);
            assert_eq!(reply.files.len(), 1, "in the message of the header");
        }
    }
    // vfio_user_dev_dma_map_unmap: a file with either.
    let file = memory_file(PAGE);
    let reply = client.ask_with(&without_id(Command::DMA_MAP, map(0, PAGE, 0).as_bytes()), &[file.as_fd()]);
    assert_eq!(reply.error(), 0);
    let reply = client.ask_with(&without_id(Command::DMA_UNMAP, unmap(0, PAGE).as_bytes()), &[file.as_fd()]);
    assert_eq!(reply.error(), 0);
    assert_eq!(house.record.regions(), 0);
}

#[test]
fn qemus_client_starts_changes_its_memory_and_resets() {
    let house = House::new();
    let client = Client::connect(&house.path());
    // hw/vfio-user/proxy.c, caps_json and vfio_user_validate_version: the reply must not be longer than this.
    let json = "{\"capabilities\": {\"migration\": {\"max_bitmap_size\": 268435456, \"pgsize\": 4096}, \
                \"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, \"pgsizes\": 4096, \"max_dma_maps\": 65535, \
                \"write_multiple\": true}}\0";
    let bytes = command(Command::VERSION, &[&[0; 4], json.as_bytes()].concat()[..]);
    let reply = client.ask(&bytes);
    let version: Version = reply.get();
    assert_eq!(version.minor.get(), 0);
    assert!(reply.header.size.get() as usize <= bytes.len());
    // hw/vfio-user/container.c, vfio_user_dma_map in a transaction: several messages, then the replies; RAM with a file,
    // firmware without.
    let file = memory_file(4 * PAGE);
    client.send(&command(Command::DMA_MAP, &map(0, PAGE, 0)), &[file.as_fd()]).unwrap();
    client
        .send(&command(Command::DMA_MAP, &DmaMap { flags: Default::default(), ..map(PAGE, PAGE, 0) }), &[])
        .unwrap();
    client.send(&command(Command::DMA_MAP, &map(4 * PAGE, PAGE, PAGE)), &[file.as_fd()]).unwrap();
    for _ in 0..3 {
        assert_eq!(client.receive().unwrap().error(), 0);
    }
    assert_eq!(house.record.word_at(4 * PAGE), Some(PAGE));
    // hw/vfio-user/device.c: registers are written and read one after the other.
    let access = RegionAccess { offset: 0x14.into(), region: RegionIndex::BAR0, count: 4.into() };
    let write = [access.as_bytes(), &[1, 0, 0x46, 0]].concat();
    let posted = message(Command::REGION_WRITE, MessageFlags::COMMAND_WITHOUT_REPLY, &write);
    client.send(&posted, &[]).unwrap();
    let reply = client.ask(&command(Command::REGION_READ, &access));
    assert_eq!(reply.payload[16..], [1, 0, 0x46, 0]);
    // vfio_user_device_reset: a header alone.
    let reset = client.ask(&command(Command::DEVICE_RESET, &[0_u8; 0]));
    assert_eq!(reset.header.size.get() as usize, size_of::<Header>());
    // vfio_user_dma_unmap of everything, when the listener goes.
    let all = DmaUnmap { flags: DmaUnmapFlags(DmaUnmapFlags::ALL.into()), ..unmap(0, 0) };
    assert_eq!(client.unmap(all), 0);
}
