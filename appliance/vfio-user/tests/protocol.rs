//! Each message of the protocol, and what the function and the client see of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rig;

use luge_memory::{GuestRegion, Unmappable};
use luge_spec::vfio_user::{
    Command, DeviceInfo, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, InterruptIndex, InterruptInfo,
    IoFdsInfo, MessageFlags, RegionAccess, RegionIndex, RegionInfo, SetInterrupts,
    SetInterruptsFlags as Flags, SparseArea, SparseMmap, WriteMulti, WriteOne,
};
use luge_vfio_user::Progress;
use rig::client::{Client, command, map, memory_file, message, unmap};
use rig::function::{BAR_BYTES, DOORBELLS, VECTORS, Write};
use rig::{House, until};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, IntoBytes};

const PAGE: u64 = 0x1000;

fn errno(errno: Errno) -> i32 {
    errno.raw_os_error()
}

fn access(region: RegionIndex, offset: u64, count: u32) -> RegionAccess {
    RegionAccess { offset: offset.into(), region, count: count.into() }
}

fn read(client: &Client, region: RegionIndex, offset: u64, count: u32) -> Result<Vec<u8>, i32> {
    let request = access(region, offset, count);
    let reply = client.ask(&command(Command::REGION_READ, &request));
    if reply.error() != 0 {
        return Err(reply.error());
    }
    let (head, data) = RegionAccess::read_from_prefix(&reply.payload).unwrap();
    assert_eq!(head, request);
    assert_eq!(data.len(), count as usize);
    Ok(data.to_vec())
}

fn write(client: &Client, region: RegionIndex, offset: u64, data: &[u8]) -> i32 {
    let request = access(region, offset, u32::try_from(data.len()).unwrap());
    let payload = [request.as_bytes(), data].concat();
    let reply = client.ask(&command(Command::REGION_WRITE, &payload[..]));
    if reply.error() == 0 {
        assert_eq!(reply.payload, request.as_bytes());
    }
    reply.error()
}

fn region_info(client: &Client, index: u32, argsz: u32) -> rig::client::Reply {
    let request = RegionInfo { argsz: argsz.into(), index: RegionIndex(index.into()), ..Default::default() };
    client.ask(&command(Command::GET_REGION_INFO, &request))
}

fn set_irqs(index: InterruptIndex, flags: u32, start: u32, count: u32) -> SetInterrupts {
    SetInterrupts {
        argsz: 20.into(),
        flags: luge_spec::vfio_user::SetInterruptsFlags(flags.into()),
        index,
        start: start.into(),
        count: count.into(),
    }
}

const TRIGGER_EVENTFD: u32 = Flags::DATA_EVENTFD | Flags::ACTION_TRIGGER;
const TRIGGER_NONE: u32 = Flags::DATA_NONE | Flags::ACTION_TRIGGER;
const TRIGGER_BOOL: u32 = Flags::DATA_BOOL | Flags::ACTION_TRIGGER;

fn eventfds(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| eventfd(0, EventfdFlags::CLOEXEC).unwrap()).collect()
}

/// Vectors that have an eventfd.
fn set_vectors(house: &House) -> Vec<usize> {
    let state = house.record.state();
    state.vectors.iter().enumerate().filter(|(_, eventfd)| eventfd.is_some()).map(|(at, _)| at).collect()
}

#[test]
fn a_function_is_described_as_what_it_is() {
    let house = House::new();
    let client = house.client();
    let info: DeviceInfo = client.ask(&command(Command::GET_INFO, &[0_u8; 16])).get();
    assert_eq!(info.flags.0.get(), 3, "it can be reset, and is a PCI function");
    assert_eq!(info.regions.get(), 9);
    assert_eq!(info.interrupts.get(), 5);
    for (index, count) in [(0, 0), (1, 0), (2, u32::from(VECTORS)), (3, 0), (4, 0)] {
        let request = InterruptInfo { index: InterruptIndex(index.into()), ..Default::default() };
        let info: InterruptInfo = client.ask(&command(Command::GET_IRQ_INFO, &request)).get();
        assert_eq!(info.count.get(), count, "interrupts of kind {index}");
    }
    let request = InterruptInfo { index: InterruptIndex(5.into()), ..Default::default() };
    assert_eq!(client.ask(&command(Command::GET_IRQ_INFO, &request)).error(), errno(Errno::INVAL));
}

#[test]
fn a_region_is_described_and_has_its_file_where_there_is_room_for_the_areas() {
    let house = House::new();
    let client = house.client();
    let short = region_info(&client, 0, 32);
    let info: RegionInfo = short.get();
    assert_eq!(info.size.get(), BAR_BYTES);
    assert_eq!(info.flags.0.get(), 7, "readable, writable, mappable");
    assert_eq!(info.argsz.get(), 64);
    assert_eq!(short.payload.len(), 32);
    assert!(short.files.is_empty());

    let whole = region_info(&client, 0, 64);
    let info: RegionInfo = whole.get();
    assert_eq!(info.flags.0.get(), 15);
    assert_eq!(info.cap_offset.get(), 32);
    assert_eq!(whole.payload[32..40], [1, 0, 1, 0, 0, 0, 0, 0]);
    let (sparse, areas) = SparseMmap::read_from_prefix(&whole.payload[40..]).unwrap();
    assert_eq!(sparse.areas.get(), 1);
    let area = SparseArea::read_from_bytes(areas).unwrap();
    assert_eq!(area, SparseArea { offset: DOORBELLS.into(), size: PAGE.into() });
    assert_eq!(whole.files.len(), 1);
    rustix::io::pwrite(&whole.files[0], b"tail", DOORBELLS).unwrap();
    let mut tail = [0; 4];
    rustix::io::pread(&house.record.doorbells, &mut tail, DOORBELLS).unwrap();
    assert_eq!(&tail, b"tail");
}

#[test]
fn other_regions_have_no_areas_and_those_that_do_not_exist_are_empty() {
    let house = House::new();
    let client = house.client();
    for (index, len, flags) in [(1, 0, 0), (6, 16, 1), (7, 256, 3), (8, 0, 0)] {
        let reply = region_info(&client, index, 4064);
        let info: RegionInfo = reply.get();
        assert_eq!(info.size.get(), len, "region {index}");
        assert_eq!(info.flags.0.get(), flags, "region {index}");
        assert!(reply.files.is_empty());
    }
    assert_eq!(region_info(&client, 9, 4064).error(), errno(Errno::INVAL));
    assert_eq!(region_info(&client, u32::MAX, 4064).error(), errno(Errno::INVAL));
}

#[test]
fn no_eventfds_replace_writes() {
    let house = House::new();
    let client = house.client();
    let request = IoFdsInfo { argsz: 4096.into(), ..Default::default() };
    let reply = client.ask(&command(Command::GET_REGION_IO_FDS, &request));
    let info: IoFdsInfo = reply.get();
    assert_eq!(info.count.get(), 0);
    assert_eq!(info.argsz.get(), 16);
    assert!(reply.files.is_empty());
    let wrong = IoFdsInfo { index: RegionIndex(9.into()), ..request };
    assert_eq!(client.ask(&command(Command::GET_REGION_IO_FDS, &wrong)).error(), errno(Errno::INVAL));
}

#[test]
fn a_region_is_read_and_written_inside_and_nowhere_else() {
    let house = House::new();
    let client = house.client();
    assert_eq!(write(&client, RegionIndex::BAR0, 0x14, &[1, 2, 3, 4]), 0);
    assert_eq!(read(&client, RegionIndex::BAR0, 0x10, 8), Ok(vec![0, 0, 0, 0, 1, 2, 3, 4]));
    assert_eq!(read(&client, RegionIndex::CONFIG, 0, 256), Ok(vec![0; 256]));
    assert_eq!(read(&client, RegionIndex::CONFIG, 256, 0), Ok(Vec::new()));
    let beyond = [
        (RegionIndex::CONFIG, 255, 2),
        (RegionIndex::BAR0, BAR_BYTES, 1),
        (RegionIndex::BAR0, u64::MAX, 4),
        (RegionIndex::BAR0, u64::MAX - 3, 4),
        (RegionIndex::BAR0, 0, u32::MAX),
        (RegionIndex(1.into()), 0, 1),
        (RegionIndex(9.into()), 0, 1),
        (RegionIndex(u32::MAX.into()), 0, 1),
    ];
    for (region, offset, count) in beyond {
        assert_eq!(read(&client, region, offset, count), Err(errno(Errno::INVAL)), "{count} at {offset:#x}");
    }
    house.record.state().writes.clear();
    for (region, offset, count) in beyond.into_iter().filter(|&(_, _, count)| count < 100) {
        assert_eq!(write(&client, region, offset, &vec![7; count as usize]), errno(Errno::INVAL));
    }
    assert_eq!(write(&client, RegionIndex::ROM, 0, &[7]), errno(Errno::INVAL), "it can only be read");
    assert_eq!(read(&client, RegionIndex::ROM, 0, 4), Ok(vec![0; 4]));
    assert!(house.record.state().writes.is_empty());
}

#[test]
fn a_write_whose_data_is_not_as_long_as_it_says_is_refused() {
    let house = House::new();
    let client = house.client();
    for (says, has) in [(4, 3), (4, 5), (0, 1), (u32::MAX, 8)] {
        let payload = [access(RegionIndex::BAR0, 0, says).as_bytes(), &vec![1; has]].concat();
        let reply = client.ask(&command(Command::REGION_WRITE, &payload[..]));
        assert_eq!(reply.error(), errno(Errno::INVAL), "{has} bytes for {says}");
    }
    assert!(house.record.state().writes.is_empty());
}

fn write_one(offset: u64, count: u32, data: u64) -> WriteOne {
    WriteOne {
        offset: offset.into(),
        region: RegionIndex::BAR0,
        count: count.into(),
        data: data.to_le_bytes(),
    }
}

fn write_multi(writes: u64, list: &[WriteOne]) -> Vec<u8> {
    let head = WriteMulti { writes: writes.into() };
    command(Command::REGION_WRITE_MULTI, &[head.as_bytes(), list.as_bytes()].concat()[..])
}

#[test]
fn several_writes_come_in_their_order_up_to_the_first_that_is_wrong() {
    let house = House::new();
    let client = house.client();
    let list = [write_one(0, 4, 0x0403_0201), write_one(8, 8, u64::MAX), write_one(0, 1, 9)];
    let done: WriteMulti = client.ask(&write_multi(3, &list)).get();
    assert_eq!(done.writes.get(), 3);
    let written = |offset, data: &[u8]| Write { region: 0, offset, data: data.to_vec() };
    let expected = [written(0, &[1, 2, 3, 4]), written(8, &[255; 8]), written(0, &[9])];
    assert_eq!(house.record.state().writes, expected);

    house.record.state().writes.clear();
    for wrong in [write_one(0, 9, 0), write_one(BAR_BYTES, 1, 0), write_one(u64::MAX, 8, 0)] {
        let reply = client.ask(&write_multi(3, &[list[0], wrong, list[1]]));
        assert_eq!(reply.error(), errno(Errno::INVAL));
    }
    assert_eq!(house.record.state().writes, vec![written(0, &[1, 2, 3, 4]); 3]);
    for count in [0, 2, 4, u64::MAX, u64::MAX / 24 + 1] {
        assert_eq!(client.ask(&write_multi(count, &list)).error(), errno(Errno::INVAL), "{count}");
    }
    let none: WriteMulti = client.ask(&write_multi(0, &[])).get();
    assert_eq!(none.writes.get(), 0);
}

#[test]
fn memory_comes_and_goes_as_the_client_says() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(16 * PAGE));
    assert_eq!(client.map(map(0x10_0000, 4 * PAGE, PAGE), &file), 0);
    assert_eq!(house.record.word_at(0x10_0008), Some(PAGE + 8));
    assert_eq!(client.map(map(0x20_0000, PAGE, 8 * PAGE), &file), 0);
    assert_eq!(house.record.word_at(0x20_0000), Some(8 * PAGE));
    for (address, size) in [(0x10_0000, 4 * PAGE), (0x10_3000, PAGE), (0xf_f000, 2 * PAGE), (0, 1 << 40)] {
        assert_eq!(client.map(map(address, size, 0), &file), errno(Errno::EXIST), "{address:#x}");
    }
    let reply = client.ask(&command(Command::DMA_UNMAP, &unmap(0x10_0000, 4 * PAGE)));
    assert_eq!(reply.get::<DmaUnmap>(), unmap(0x10_0000, 4 * PAGE));
    assert_eq!(house.record.word_at(0x10_0000), None);
    assert_eq!(house.record.word_at(0x20_0000), Some(8 * PAGE));
    assert_eq!(client.unmap(unmap(0x10_0000, 4 * PAGE)), errno(Errno::NOENT));
    assert_eq!(client.map(map(0x10_0000, PAGE, 0), &file), 0, "its place is free again");
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(16 * PAGE));
    let refused = [
        (map(0, 0, 0), Errno::INVAL),
        (map(u64::MAX, 1, 0), Errno::INVAL),
        (map(1, u64::MAX, 0), Errno::INVAL),
        (map(0, 17 * PAGE, 0), Errno::INVAL),
        (map(0, PAGE, 16 * PAGE), Errno::INVAL),
        (map(0, PAGE, u64::MAX), Errno::INVAL),
        (map(0, PAGE, u64::MAX - PAGE), Errno::INVAL),
        (map(0, 1 << 50, 0), Errno::NOMEM),
    ];
    for (map, error) in refused {
        assert_eq!(client.map(map, &file), errno(error), "{map:?}");
    }
    assert_eq!(house.record.regions(), 0);
}

#[test]
fn a_range_takes_all_mappings_in_it_and_none_in_part() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(16 * PAGE));
    for n in 0..8 {
        assert_eq!(client.map(map(n * 2 * PAGE, PAGE, n * PAGE), &file), 0);
    }
    assert_eq!(client.unmap(unmap(0, 2 * PAGE + 1)), errno(Errno::INVAL));
    assert_eq!(client.unmap(unmap(1, PAGE - 1)), errno(Errno::INVAL));
    assert_eq!(client.unmap(unmap(8, 8)), errno(Errno::INVAL));
    assert_eq!(client.unmap(unmap(PAGE, PAGE)), errno(Errno::NOENT));
    assert_eq!(client.unmap(unmap(PAGE, 0)), errno(Errno::NOENT));
    assert_eq!(client.unmap(unmap(u64::MAX, 2)), errno(Errno::NOENT));
    assert_eq!(house.record.regions(), 8);
    assert_eq!(client.unmap(unmap(PAGE, 4 * PAGE)), 0);
    assert_eq!(house.record.regions(), 6);
    assert_eq!(client.unmap(unmap(0, 1 << 40)), 0);
    assert_eq!(house.record.regions(), 0);
}

#[test]
fn all_memory_goes_at_once() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(16 * PAGE));
    (0..8).for_each(|n| assert_eq!(client.map(map(n * PAGE, PAGE, n * PAGE), &file), 0));
    let all = DmaUnmap { flags: DmaUnmapFlags(DmaUnmapFlags::ALL.into()), ..unmap(0, 0) };
    assert_eq!(client.unmap(DmaUnmap { size: PAGE.into(), ..all }), errno(Errno::INVAL));
    let both = DmaUnmapFlags((DmaUnmapFlags::ALL | DmaUnmapFlags::GET_DIRTY_BITMAP).into());
    assert_eq!(client.unmap(DmaUnmap { flags: both, ..all }), errno(Errno::INVAL));
    assert_eq!(house.record.regions(), 8);
    assert_eq!(client.unmap(all), 0);
    assert_eq!(house.record.regions(), 0);
    assert_eq!(client.unmap(all), 0, "there is nothing more");
    assert_eq!(house.record.state().removals, 1);
}

#[test]
fn dirty_pages_are_not_tracked() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(PAGE));
    assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
    let flags = DmaUnmapFlags(DmaUnmapFlags::GET_DIRTY_BITMAP.into());
    assert_eq!(client.unmap(DmaUnmap { flags, ..unmap(0, PAGE) }), errno(Errno::NOTSUP));
    assert_eq!(house.record.regions(), 1);
}

/// Reasons why regions of the client's memory are not mapped.
fn unmappable(house: &House) -> Vec<Unmappable> {
    let memory = house.record.state().memory.clone();
    memory.unmapped().filter_map(GuestRegion::unmappable).collect()
}

#[test]
fn memory_without_a_memory_file_has_its_place_and_cannot_be_reached() {
    let house = House::new();
    let client = house.client();
    let without_file = DmaMap { offset: 12.into(), ..map(0, PAGE, 0) };
    assert_eq!(client.ask(&command(Command::DMA_MAP, &without_file)).error(), 0);
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(client.map(map(PAGE, PAGE, 0), &program.into()), 0);
    assert_eq!(house.record.word_at(0), None);
    assert_eq!(unmappable(&house), [Unmappable::NotShared, Unmappable::NotMemory]);
    assert_eq!(client.ask(&command(Command::DMA_MAP, &map(0, PAGE, 0))).error(), errno(Errno::EXIST));
    assert_eq!(client.unmap(unmap(0, PAGE)), 0);
}

#[test]
#[expect(unsafe_code, reason = "spans of memory that is kept")]
fn memory_for_reading_only_is_not_written() {
    use luge_memory::{GuestAddress, Use};
    let house = House::new();
    let (client, file) = (house.client(), memory_file(PAGE));
    let flags = DmaMapFlags(DmaMapFlags::READ.into());
    assert_eq!(client.map(DmaMap { flags, ..map(0, PAGE, 0) }, &file), 0);
    let memory = house.record.state().memory.clone();
    // SAFETY: nothing looks at the bytes of the spans.
    assert!(unsafe { memory.lookup().whole_for(Use::Write, GuestAddress(0), 8) }.is_none());
    // SAFETY: as above.
    assert!(unsafe { memory.lookup().whole_for(Use::Read, GuestAddress(0), 8) }.is_some());
}

#[test]
fn maps_of_a_batch_are_there_for_what_follows_it() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(64 * PAGE));
    for n in 0..64 {
        let bytes = map(n * PAGE, PAGE, n * PAGE);
        let bytes = message(Command::DMA_MAP, MessageFlags::COMMAND_WITHOUT_REPLY, bytes.as_bytes());
        client.send(&bytes, &[file.as_fd()]).unwrap();
    }
    assert_eq!(read(&client, RegionIndex::BAR0, 0, 4), Ok(vec![0; 4]), "the first reply is to the read");
    assert_eq!(house.record.regions(), 64);
    assert_eq!(house.record.word_at(63 * PAGE), Some(63 * PAGE));
}

#[test]
fn a_map_without_reply_is_there_soon_though_nothing_follows_it() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(PAGE));
    let bytes = message(Command::DMA_MAP, MessageFlags::COMMAND_WITHOUT_REPLY, map(0, PAGE, 0).as_bytes());
    client.send(&bytes, &[file.as_fd()]).unwrap();
    until(|| house.record.regions() == 1);
    client.send(&bytes, &[file.as_fd()]).unwrap();
    client.send(&message(Command::GET_INFO, MessageFlags::COMMAND, &[0; 15])[..20], &[]).unwrap();
    until(|| house.record.regions() == 1);
}

#[test]
fn interrupts_are_set_in_chunks_and_switched_off_together() {
    let house = House::new();
    let (client, files) = (house.client(), eventfds(16));
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let ask = |request: SetInterrupts, count: usize| {
        client.ask_with(&command(Command::SET_IRQS, &request), &files[..count]).error()
    };
    assert_eq!(ask(set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 0, 16), 16), 0);
    assert_eq!(ask(set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 16, 3), 3), 0);
    assert_eq!(set_vectors(&house), (0..19).collect::<Vec<_>>());
    assert_eq!(ask(set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 2, 15), 0), 0, "these are taken away");
    assert_eq!(set_vectors(&house), [0, 1, 17, 18]);
    assert_eq!(ask(set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, 0, 0), 0), 0);
    assert!(set_vectors(&house).is_empty());
}

#[test]
fn an_interrupt_that_is_set_signals_the_clients_eventfd() {
    let house = House::new();
    let (client, files) = (house.client(), eventfds(1));
    let request = set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 5, 1);
    assert_eq!(client.ask_with(&command(Command::SET_IRQS, &request), &[files[0].as_fd()]).error(), 0);
    rustix::io::write(house.record.state().vectors[5].as_ref().unwrap(), &3_u64.to_ne_bytes()).unwrap();
    let mut count = [0; 8];
    rustix::io::read(&files[0], &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 3);
}

#[test]
fn a_client_may_trigger_interrupts() {
    let house = House::new();
    let client = house.client();
    let all = set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, 3, 2);
    assert_eq!(client.ask(&command(Command::SET_IRQS, &all)).error(), 0);
    let some = set_irqs(InterruptIndex::MSIX, TRIGGER_BOOL, 10, 4);
    let some = [some.as_bytes(), &[0, 1, 0, 255]].concat();
    assert_eq!(client.ask(&command(Command::SET_IRQS, &some[..])).error(), 0);
    assert_eq!(house.record.state().triggers, [3, 4, 11, 13]);
}

#[test]
fn interrupts_that_there_are_not_are_refused() {
    let house = House::new();
    let (client, files) = (house.client(), eventfds(2));
    let mask = Flags::DATA_NONE | Flags::ACTION_MASK;
    let wrong = [
        set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, 39, 2),
        set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, 40, 1),
        set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, u32::MAX, 1),
        set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, 1, u32::MAX),
        set_irqs(InterruptIndex::MSIX, TRIGGER_NONE, 1, 0),
        set_irqs(InterruptIndex::MSIX, TRIGGER_BOOL, 0, 1),
        set_irqs(InterruptIndex::MSIX, TRIGGER_BOOL, 0, 0),
        set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 0, 0),
        set_irqs(InterruptIndex::MSIX, mask, 0, 1),
        set_irqs(InterruptIndex::MSIX, Flags::ACTION_TRIGGER, 0, 1),
        set_irqs(InterruptIndex::MSIX, Flags::DATA_NONE, 0, 1),
        set_irqs(InterruptIndex::MSIX, u32::MAX, 0, 1),
        set_irqs(InterruptIndex::INTX, TRIGGER_EVENTFD, 0, 1),
        set_irqs(InterruptIndex::MSI, TRIGGER_NONE, 0, 1),
        set_irqs(InterruptIndex(5.into()), TRIGGER_NONE, 0, 0),
        set_irqs(InterruptIndex(u32::MAX.into()), TRIGGER_NONE, 0, 1),
    ];
    for request in wrong {
        let reply = client.ask(&command(Command::SET_IRQS, &request));
        assert_eq!(reply.error(), errno(Errno::INVAL), "{request:?}");
    }
    let both: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let request = command(Command::SET_IRQS, &set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 0, 3));
    assert_eq!(client.ask_with(&request, &both).error(), errno(Errno::INVAL), "two files for three vectors");
    let off = command(Command::SET_IRQS, &set_irqs(InterruptIndex::INTX, TRIGGER_NONE, 0, 0));
    assert_eq!(client.ask(&off).error(), 0, "nothing is switched off where there is nothing");
    assert!(set_vectors(&house).is_empty());
    assert!(house.record.state().triggers.is_empty());
}

#[test]
fn a_reset_is_possible_at_any_time() {
    let house = House::new();
    let client = house.client();
    for count in 1..4 {
        assert_eq!(client.ask(&command(Command::DEVICE_RESET, &[0_u8; 0])).error(), 0);
        assert_eq!(house.record.state().resets, count);
    }
}

#[test]
fn a_reply_waits_for_requests_in_flight_and_the_function_goes_on_meanwhile() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(PAGE));
    assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
    house.record.set_progress(Progress::Pending);
    client.send(&command(Command::DMA_UNMAP, &unmap(0, PAGE)), &[]).unwrap();
    client.send(&command(Command::GET_INFO, &[0_u8; 16]), &[]).unwrap();
    until(|| house.record.state().removals == 1);
    let events = house.record.state().events;
    house.record.signal();
    until(|| house.record.state().events > events);
    client.stream.set_nonblocking(true).unwrap();
    assert!(client.receive().is_none(), "no reply overtakes it");
    client.stream.set_nonblocking(false).unwrap();
    house.record.set_progress(Progress::Done);
    assert_eq!(client.receive().unwrap().header.command, Command::DMA_UNMAP);
    assert_eq!(client.receive().unwrap().header.command, Command::GET_INFO);
}

#[test]
fn no_reply_waits_longer_than_a_second() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(PAGE));
    assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
    house.record.set_progress(Progress::Pending);
    let start = Instant::now();
    let reply = client.ask(&command(Command::DMA_UNMAP, &unmap(0, PAGE)));
    assert_eq!(reply.error(), errno(Errno::BUSY));
    assert_eq!(reply.payload.len(), 24, "clients of rust-vmm wait for all of it");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(client.unmap(unmap(0, PAGE)), errno(Errno::NOENT), "for new requests it is gone");
    assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
    assert_eq!(client.ask(&command(Command::DEVICE_RESET, &[0_u8; 0])).error(), errno(Errno::BUSY));
}

#[test]
fn many_replies_wait_no_longer_than_one() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(8 * PAGE));
    for page in 0..8 {
        assert_eq!(client.map(map(page * PAGE, PAGE, page * PAGE), &file), 0);
    }
    house.record.set_progress(Progress::Pending);
    let start = Instant::now();
    for page in 0..8 {
        client.send(&command(Command::DMA_UNMAP, &unmap(page * PAGE, PAGE)), &[]).unwrap();
    }
    for _ in 0..8 {
        assert_eq!(client.receive().unwrap().error(), errno(Errno::BUSY));
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    house.record.set_progress(Progress::Done);
    assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
    house.record.set_progress(Progress::Pending);
    client.send(&command(Command::DMA_UNMAP, &unmap(0, PAGE)), &[]).unwrap();
    until(|| house.record.state().removals == 9);
    house.record.set_progress(Progress::Done);
    assert_eq!(client.receive().unwrap().error(), 0, "those for other requests wait anew");
}

#[test]
fn a_client_that_leaves_while_its_reply_waits_is_gone_at_once() {
    let house = House::new();
    let (client, file) = (house.client(), memory_file(PAGE));
    assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
    house.record.set_progress(Progress::Pending);
    client.send(&command(Command::DMA_UNMAP, &unmap(0, PAGE)), &[]).unwrap();
    until(|| house.record.state().removals == 1);
    let start = Instant::now();
    drop(client);
    until(|| house.record.state().departures == 1);
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn the_function_is_woken_at_its_time() {
    let house = House::new();
    let _client = house.client();
    let at = Instant::now() + Duration::from_millis(50);
    house.record.state().wake_at = Some(at);
    let events = house.record.state().events;
    house.record.signal();
    until(|| house.record.state().events > events);
    house.record.state().wake_at = Some(at);
    // The thread asks for the time before it waits.
    house.record.signal();
    until(|| house.record.state().wake_at.is_none());
}

#[test]
fn the_next_client_finds_nothing_of_the_one_before() {
    let house = House::new();
    let file = memory_file(PAGE);
    for number in 1..4 {
        let client = house.client();
        assert_eq!(house.record.state().connections, number);
        assert_eq!(house.record.regions(), 0);
        assert!(set_vectors(&house).is_empty());
        assert_eq!(read(&client, RegionIndex::BAR0, 0, 1), Ok(vec![0]));
        assert_eq!(client.map(map(0, PAGE, 0), &file), 0);
        assert_eq!(write(&client, RegionIndex::BAR0, 0, &[1]), 0);
        let eventfd = eventfds(1);
        let request = command(Command::SET_IRQS, &set_irqs(InterruptIndex::MSIX, TRIGGER_EVENTFD, 0, 1));
        assert_eq!(client.ask_with(&request, &[eventfd[0].as_fd()]).error(), 0);
        drop(client);
        until(|| house.record.state().departures == number);
    }
    assert_eq!(house.protocol_errors(), 0);
}

#[test]
fn commands_that_there_are_not_are_refused_and_the_connection_stays() {
    let house = House::new();
    let client = house.client();
    let foreign = [Command::DMA_READ, Command::DMA_WRITE, Command::DEVICE_FEATURE, Command::MIG_DATA_READ];
    let unknown = [0, 14, 19, 0x7fff, 0xffff].map(|number: u16| Command(number.into()));
    for wrong in foreign.into_iter().chain(unknown) {
        let reply = client.ask(&command(wrong, &[0_u8; 32]));
        assert_eq!(reply.error(), errno(Errno::NOTSUP), "{wrong}");
        assert!(reply.payload.is_empty());
    }
    assert_eq!(client.ask(&command(Command::VERSION, &[0_u8; 4])).error(), errno(Errno::INVAL));
    assert_eq!(client.ask(&command(Command::GET_INFO, &[0_u8; 16])).error(), 0);
}
