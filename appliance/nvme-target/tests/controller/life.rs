//! Enable, shutdown and resets, with and without commands in flight.

use crate::rig::host::{identify, read, write};
use crate::rig::{Host, Sled, disk};
use luge_memory::GuestAddress;
use luge_nvme_target::ControllerPhase;
use luge_spec::nvme::{
    AdminOpcode, Capabilities, Configuration, SUBSYSTEM_RESET, Shutdown, StatusCode, SubmissionEntry, offset,
};
use luge_vfio_user::{Progress, RegionIndex};
use luge_virtqueue::rig::RigMemory;
use luge_volume::doubles::Delay;
use std::sync::Arc;

/// CSTS of a ready controller.
const READY: u32 = 1;

/// CSTS.CFS.
const FAILED: u32 = 2;

/// CSTS.SHST of a shutdown that is not complete, and of one that is.
const SHUTTING_DOWN: u32 = 1 << 2;
const SHUT_DOWN: u32 = 2 << 2;

/// Offset of device control in configuration space, whose bit 15 resets the function.
const DEVICE_CONTROL: u64 = 0x68;

fn reset_function(host: &mut Host) {
    host.function.write(RegionIndex::CONFIG, DEVICE_CONTROL, &0x8000_u16.to_le_bytes());
}

/// Sends a read that does not end, and waits until a volume has it.
fn send_stuck_read(host: &mut Host, sled: &Sled) {
    host.send_io(0, read(1, 0));
    let volume = sled.subsystem.namespaces().remove(0).volume;
    host.wait("a read in flight", |_| volume.counters().reads > 0);
}

/// A host with a queue pair, whose read is in flight until the delay is released.
fn stuck_read() -> (Sled, Delay, Host) {
    let (sled, delay) = Sled::slow();
    let mut host = sled.host();
    host.create_queue_pair(1);
    delay.hold();
    send_stuck_read(&mut host, &sled);
    (sled, delay, host)
}

#[test]
fn registers_say_what_the_controller_is() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    assert_eq!(host.read32(offset::VS), 0x0002_0000);
    assert_eq!(host.read64(offset::CAP) & 0xffff, 4095);
    assert_eq!(host.read32(offset::CRTO) & 0xffff, host.read32(offset::CAP) >> 24);
    assert_eq!(host.status(), 0);
    let mut byte = [0xaa];
    host.function.read(RegionIndex::BAR0, u64::from(offset::VS) + 2, &mut byte);
    assert_eq!(byte, [2], "bytes of registers can be read");
}

#[test]
fn a_host_writes_and_reads_blocks() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.use_disk(0, 0x5a);
}

#[test]
fn a_controller_is_enabled_and_disabled_again_and_again() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    for byte in 1..5 {
        host.enable();
        host.create_queue_pair(1);
        host.use_disk(0, byte);
        host.disable();
        assert_eq!(host.status(), 0);
        assert_eq!(host.read32(offset::AQA), 31 | 31 << 16, "the admin queues stay");
    }
}

#[test]
fn settings_that_are_not_possible_fail_the_controller_until_it_is_reset() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    let enabled = Configuration::ENABLED.0;
    for configuration in
        [enabled | 5 << 7, enabled | 1 << 4, enabled | 6 << 4, enabled | 1 << 11, enabled | 1 << 24]
    {
        host.set_admin_queues();
        host.write32(offset::CC, configuration);
        assert_eq!(host.status(), FAILED, "{configuration:#x}");
        host.write32(offset::CC, 0);
        assert_eq!(host.status(), 0);
    }
    host.enable();
}

#[test]
fn admin_queues_of_one_entry_or_outside_of_memory_fail_the_controller() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    let cases: [fn(&mut Host); 4] = [
        |host| host.write32(offset::AQA, 31),
        |host| host.write32(offset::AQA, 31 << 16),
        |host| host.write64(offset::ASQ, 0x7000_0000),
        |host| host.write64(offset::ACQ, u64::MAX),
    ];
    for case in cases {
        host.set_admin_queues();
        case(&mut host);
        host.write32(offset::CC, Configuration::ENABLED.0);
        assert_eq!(host.status(), FAILED);
        host.write32(offset::CC, 0);
    }
    host.enable();
}

#[test]
fn a_reset_with_a_command_in_flight_is_complete_when_that_has_ended() {
    let (_sled, delay, mut host) = stuck_read();
    host.write32(offset::CC, 0);
    assert_eq!(host.status(), READY, "not complete");
    host.pump();
    assert_eq!(host.status(), READY, "not complete");
    delay.release();
    host.wait("the reset", |host| host.status() == 0);
    host.enable();
    host.create_queue_pair(1);
    host.use_disk(0, 3);
}

#[test]
fn a_controller_that_is_enabled_while_it_resets_is_ready_afterwards() {
    let (sled, delay, mut host) = stuck_read();
    host.write32(offset::CC, 0);
    host.set_admin_queues();
    host.write32(offset::CC, Configuration::ENABLED.0);
    delay.release();
    let phase = || sled.subsystem.controllers().remove(0).phase;
    host.wait("the reset", |_| phase() == ControllerPhase::Ready);
    host.identify(1, 0);
    host.create_queue_pair(1);
    host.use_disk(0, 3);
}

#[test]
fn a_function_level_reset_resets_all_registers_and_the_configuration_space() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.function.write(RegionIndex::CONFIG, 4, &6_u16.to_le_bytes());
    reset_function(&mut host);
    host.wait("the reset", |host| host.status() == 0);
    assert_eq!(host.read32(offset::CC), 0);
    assert_eq!(host.read32(offset::AQA), 0);
    assert_eq!(host.read64(offset::ASQ), 0);
    let mut command = [0xff; 2];
    host.function.read(RegionIndex::CONFIG, 4, &mut command);
    assert_eq!(command, [0, 0]);
    host.enable();
}

#[test]
fn a_device_reset_waits_for_commands_in_flight_without_blocking() {
    let (_sled, delay, mut host) = stuck_read();
    assert_eq!(host.function.reset(), Progress::Pending);
    assert_eq!(host.read32(offset::CC), 0);
    assert_eq!(host.status(), READY);
    assert_eq!(host.function.reset(), Progress::Pending, "a second one");
    delay.release();
    host.wait("the reset", |host| host.function.progress() == Progress::Done);
    assert_eq!(host.status(), 0);
}

#[test]
fn a_subsystem_reset_is_not_offered_and_does_nothing() {
    // It would reset the controllers of all guests of the subsystem.
    let sled = Sled::with_disk();
    let (mut host, mut other) = (sled.host(), sled.host());
    assert_eq!(host.read64(offset::CAP) & Capabilities::SUBSYSTEM_RESET, 0);
    host.write32(offset::NSSR, SUBSYSTEM_RESET);
    for host in [&mut host, &mut other] {
        assert_eq!(host.status(), READY);
        host.identify(1, 0);
    }
    assert_eq!(host.read32(offset::NSSR), 0);
}

#[test]
fn a_controller_that_is_no_bus_master_touches_no_memory_and_goes_on_where_it_stopped() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.set_bus_master(false);
    let id = host.send(identify(1, 0));
    host.send_io(0, read(1, 0));
    host.fill_data(4096);
    let before = host.memory.bytes(GuestAddress(RigMemory::RINGS.0), 0x10000);
    let volume = sled.subsystem.namespaces().remove(0).volume;
    let reads = volume.counters().reads;
    sled.add(2, disk());
    for _ in 0..1000 {
        host.pump();
    }
    assert_eq!(volume.counters().reads, reads);
    assert!(host.memory.bytes(GuestAddress(RigMemory::RINGS.0), 0x10000) == before, "queues");
    assert_eq!(host.data(4096), [0xa5; 4096]);
    assert_eq!(host.status(), READY, "registers are there");
    host.set_bus_master(true);
    assert_eq!(host.wait_for(id).status.code(), StatusCode::SUCCESS);
    host.wait("the read", |host| host.take_io(0).is_some());
    host.use_disk(0, 9);
}

#[test]
fn a_controller_that_is_enabled_before_it_is_bus_master_serves_once_it_is() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    host.set_admin_queues();
    host.set_bus_master(false);
    host.write32(offset::CC, Configuration::ENABLED.0);
    host.wait("CSTS.RDY", |host| host.status() == READY);
    let id = host.send(identify(1, 0));
    (0..100).for_each(|_| host.pump());
    assert!(host.completion(id).is_none());
    host.set_bus_master(true);
    host.wait_for(id);
}

#[test]
fn an_event_while_the_controller_is_no_bus_master_is_told_when_it_is_again() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let id = host.send(SubmissionEntry::admin(AdminOpcode::ASYNC_EVENT_REQUEST, 0, 0));
    host.identify(1, 0);
    host.set_bus_master(false);
    sled.add(2, disk());
    (0..100).for_each(|_| host.pump());
    assert!(host.completion(id).is_none());
    host.set_bus_master(true);
    host.wait_for(id);
}

#[test]
fn a_shutdown_is_complete_when_commands_in_flight_have_ended() {
    for shutdown in [Shutdown::Normal, Shutdown::Abrupt] {
        let (_sled, delay, mut host) = stuck_read();
        host.write32(offset::CC, Configuration::ENABLED.with_shutdown(shutdown).0);
        assert_eq!(host.status(), READY | SHUTTING_DOWN);
        delay.release();
        host.wait("the shutdown", |host| host.status() == READY | SHUT_DOWN);
        assert!(host.take_io(0).is_some(), "the command was completed");
        host.disable();
        assert_eq!(host.status(), 0);
        host.enable();
    }
}

#[test]
fn no_command_is_served_after_a_shutdown() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.write32(offset::CC, Configuration::ENABLED.with_shutdown(Shutdown::Normal).0);
    host.wait("the shutdown", |host| host.status() == READY | SHUT_DOWN);
    host.send_io(0, write(1, 0));
    host.write32(offset::CC, 0);
    host.wait("the reset", |host| host.status() == 0);
    assert_eq!(host.take_io(0), None);
    assert_eq!(sled.subsystem.namespaces()[0].volume.counters().writes, 0);
}

#[test]
fn a_controller_that_is_not_enabled_is_shut_down_at_once() {
    let sled = Sled::with_disk();
    let mut host = sled.connect();
    host.write32(offset::CC, Configuration(0).with_shutdown(Shutdown::Normal).0);
    assert_eq!(host.status(), SHUT_DOWN);
    host.write32(offset::CC, 0);
    assert_eq!(host.status(), 0);
    host.enable();
}

#[test]
fn a_client_that_leaves_with_commands_in_flight_delays_nobody() {
    let (sled, delay, host) = stuck_read();
    drop(host);
    assert!(sled.subsystem.controllers().is_empty());
    let mut next = sled.host();
    next.identify(1, 0);
    delay.release();
    next.create_queue_pair(1);
    next.use_disk(0, 9);
}

#[test]
fn the_memory_of_a_command_in_flight_is_removed_when_that_has_ended() {
    let (_sled, delay, mut host) = stuck_read();
    let data = luge_virtqueue::rig::RigMemory::DATA;
    let fewer = host.memory.table.without(luge_memory::GuestAddress(data.0), data.1).unwrap();
    let fewer = std::sync::Arc::new(fewer);
    assert_eq!(host.function.memory_removed(&fewer), Progress::Pending);
    delay.release();
    host.wait("the removal", |host| host.function.progress() == Progress::Done);
    let mut taken = None;
    host.wait("the completion", |host| {
        taken = host.take_io(0);
        taken.is_some()
    });
    assert_eq!(taken.unwrap().status.code(), StatusCode::SUCCESS);
    let refused = host.io(0, read(1, 0));
    assert_eq!(refused.status.code(), StatusCode::DATA_TRANSFER_ERROR, "its memory is gone");
    let table = host.memory.table.clone();
    host.function.memory_added(&table);
    host.use_disk(0, 1);
}

#[test]
fn commands_that_come_while_memory_is_removed_are_served_and_the_removal_does_not_wait_for_them() {
    let (sled, delay, mut host) = stuck_read();
    sled.add(2, disk());
    host.wait("the namespace", |host| host.identify(0, 2)[..8] != [0; 8]);
    let without = host.memory.table.without(GuestAddress(RigMemory::FAR_DATA.0), RigMemory::FAR_DATA.1);
    let without = Arc::new(without.unwrap());
    assert_eq!(host.function.memory_removed(&without), Progress::Pending, "the read might use it");
    for _ in 0..3 {
        assert_eq!(host.io(0, read(2, 0)).status.code(), StatusCode::SUCCESS);
    }
    let far = SubmissionEntry { prp1: RigMemory::FAR_DATA.0, ..read(2, 0) };
    assert_eq!(
        host.io(0, far).status.code(),
        StatusCode::DATA_TRANSFER_ERROR,
        "it is gone for those to come"
    );
    assert_eq!(host.function.progress(), Progress::Pending);
    delay.release();
    host.wait("the removal", |host| host.function.progress() == Progress::Done);
    host.wait("the read", |host| host.take_io(0).is_some());
}

#[test]
fn memory_that_goes_twice_while_a_command_is_stuck_is_gone_when_that_has_ended() {
    let (_sled, delay, mut host) = stuck_read();
    let without = host.memory.table.without(GuestAddress(RigMemory::FAR_DATA.0), RigMemory::FAR_DATA.1);
    let without = Arc::new(without.unwrap());
    assert_eq!(host.function.memory_removed(&without), Progress::Pending);
    host.function.memory_added(&host.memory.table.clone());
    let data = RigMemory::DATA;
    let without = host.memory.table.without(GuestAddress(data.0), data.1).unwrap();
    assert_eq!(host.function.memory_removed(&Arc::new(without)), Progress::Pending);
    host.send_io(0, read(1, 1));
    delay.release();
    host.wait("the removal", |host| host.function.progress() == Progress::Done);
    for _ in 0..2 {
        host.wait("a read", |host| host.take_io(0).is_some());
    }
    host.function.memory_added(&host.memory.table.clone());
    host.use_disk(0, 4);
}

/// As a guest with an IOMMU of its own does: a page comes for a command, and goes after it.
#[test]
fn memory_that_a_stuck_command_does_not_use_comes_and_goes_at_once() {
    let (sled, delay) = Sled::slow();
    sled.add(2, disk());
    let mut host = sled.host();
    host.create_queue_pair(1);
    let table = host.memory.table.clone();
    let far = RigMemory::FAR_DATA;
    let without = Arc::new(table.without(GuestAddress(far.0), far.1).unwrap());
    assert_eq!(host.function.memory_removed(&without), Progress::Done);
    delay.hold();
    send_stuck_read(&mut host, &sled);
    for _ in 0..3 {
        host.function.memory_added(&table);
        let there = SubmissionEntry { prp1: far.0, ..read(2, 0) };
        assert_eq!(host.io(0, there).status.code(), StatusCode::SUCCESS);
        assert_eq!(host.function.memory_removed(&without), Progress::Done);
    }
    // Memory that it uses goes, and the reply waits for it. That of other memory does not.
    let data = RigMemory::DATA;
    let neither = Arc::new(without.without(GuestAddress(data.0), data.1).unwrap());
    assert_eq!(host.function.memory_removed(&neither), Progress::Pending);
    let far_only = Arc::new(table.without(GuestAddress(data.0), data.1).unwrap());
    host.function.memory_added(&far_only);
    assert_eq!(host.function.memory_removed(&neither), Progress::Done);
    assert_eq!(host.function.progress(), Progress::Pending);
    delay.release();
    host.wait("the removal", |host| host.function.progress() == Progress::Done);
    host.wait("the stuck read", |host| host.take_io(0).is_some());
}

#[test]
fn a_subsystem_for_named_hosts_starts_no_controller_of_a_client_without_a_name() {
    let sled = Sled::with_disk();
    sled.subsystem.allow_any_host(false);
    let mut host = sled.connect();
    host.set_admin_queues();
    host.write32(offset::CC, Configuration::ENABLED.0);
    assert_eq!(host.status(), FAILED);
}

#[test]
fn odd_accesses_change_nothing() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let before = host.read32(offset::CC);
    for (at, len) in [(0x14, 1), (0x14, 2), (0x15, 4), (0x12, 4), (0x14, 3), (0x16, 2), (0xfff, 4), (0x13, 8)]
    {
        host.function.write(RegionIndex::BAR0, at, &vec![0; len]);
    }
    assert_eq!(host.read32(offset::CC), before);
    host.function.write(RegionIndex::BAR0, 0x1001, &[0xff; 4]);
    host.function.write(RegionIndex::BAR0, 0x1000, &[0xff; 2]);
    host.identify(1, 0);
    let mut long = vec![0xaa; 0x4000];
    host.function.read(RegionIndex::BAR0, 0, &mut long);
    assert_eq!(long[8..12], 0x0002_0000_u32.to_le_bytes());
    assert_eq!(long[0x3fff], 0);
}
