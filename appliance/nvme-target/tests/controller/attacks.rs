//! Hostile and hasty hosts, and what went wrong in other emulations: another host of the subsystem goes on meanwhile.

use crate::rig::host::{DATA, IO_ENTRIES, get_feature, read, set_feature, write};
use crate::rig::{Host, NAMESPACES_MAX, Sled, disk};
use luge_memory::{GuestAddress, GuestMemory};
use luge_nvme_target::NamespaceId;
use luge_seeded::{Random, fuzz};
use luge_spec::nvme::{StatusCode, SubmissionEntry, offset};
use luge_vfio_user::{Progress, RegionIndex};
use luge_virtqueue::rig::RigMemory;
use std::sync::Arc;

/// Steps of a random host.
const STEPS: usize = 60;

/// A word that is likely to matter somewhere.
fn word(random: &mut Random) -> u32 {
    let likely = [0, 1, 0x0046_0001, 0x0046_4001, 0x4e56_4d65, u32::MAX, 0x1f_001f, 0x10_0000, 1 << 31];
    if random.once_in(2) { random.pick(&likely) } else { random.below(u32::MAX) }
}

/// An address of data: in memory, across its end, or nowhere.
fn address(random: &mut Random) -> u64 {
    let offset = random.below(0x2_0000_u64);
    let at = random.pick(&[DATA, RigMemory::RINGS.0 + 0xf_0000, 0x7000_0000, 0]) + offset;
    if random.once_in(2) { at & !0xfff } else { at }
}

fn admin_command(random: &mut Random) -> SubmissionEntry {
    let opcodes = [0, 1, 2, 4, 5, 6, 8, 9, 0xa, 0xc, 0xd, 0x15, 0x18, 0x7c, 0x80, 0xff];
    SubmissionEntry {
        opcode: random.pick(&opcodes),
        flags: if random.once_in(8) { random.pick(&[1, 2, 0x40, 0xff]) } else { 0 },
        namespace: random.pick(&[0, 1, 2, NAMESPACES_MAX, 9, u32::MAX - 1, u32::MAX]),
        prp1: address(random),
        prp2: address(random),
        cdw10: std::array::from_fn(|_| if random.once_in(2) { random.below(64_u32) } else { word(random) }),
        ..SubmissionEntry::default()
    }
}

/// Accesses any region at any place with any length.
fn access(host: &mut Host, random: &mut Random) {
    let index = random.pick(&[0, 1, 4, 7, 8]);
    let region = RegionIndex(index.into());
    let len = random.pick(&[1, 2, 3, 4, 8, 12, 64]);
    let end = if index == 0 && random.once_in(2) { 0x80 } else { host.function.region(region).len };
    let Some(last) = end.checked_sub(len) else { return };
    let at = random.below(last + 1) & if random.once_in(2) { !3 } else { !0 };
    let mut data = random.bytes(usize::try_from(len).unwrap());
    if let [a, b, c, d, ..] = &mut data[..] {
        [*a, *b, *c, *d] = word(random).to_le_bytes();
    }
    if random.once_in(3) {
        host.function.read(region, at, &mut data);
    } else {
        host.function.write(region, at, &data);
    }
}

/// Resets the function whatever it does, and starts it again.
fn start_again(host: &mut Host) {
    host.function.reset();
    host.wait("the reset", |host| host.function.progress() == Progress::Done);
    let table = host.memory.table.clone();
    host.function.memory_added(&table);
    host.enable();
    host.create_queue_pair(1);
}

/// A host of the same subsystem that writes and reads its own namespace.
fn neighbour(sled: &Sled) -> Host {
    let mut host = sled.host();
    host.create_queue_pair(1);
    host
}

#[test]
fn any_access_and_any_admin_command_leaves_the_function_usable_and_others_alone() {
    let sled = Sled::with_disk();
    let mut other = neighbour(&sled);
    fuzz(|random| {
        let mut host = sled.host();
        for _ in 0..STEPS {
            match random.below(8_u32) {
                0..=2 => access(&mut host, random),
                3 => host.function.on_event(),
                4 if host.status() & 1 == 0 => host.enable(),
                _ => {
                    host.send(admin_command(random));
                    host.pump();
                }
            }
        }
        // A host may have detached the namespace from the other.
        start_again(&mut host);
        host.identify(1, 0);
        drop(host);
        other.identify(1, 0);
        assert_eq!(other.status(), 1, "another controller is as it was");
    });
}

#[test]
fn resets_of_all_kinds_with_io_in_flight_leave_the_controller_usable() {
    let (sled, delay) = Sled::slow();
    sled.add(2, disk());
    fuzz(|random| {
        let mut host = sled.host();
        host.create_queue_pair(1);
        for _ in 0..random.between(1_u32, u32::from(IO_ENTRIES) - 2) {
            let command = if random.once_in(2) { read(1, 0) } else { write(random.between(1_u32, 2), 1) };
            host.send_io(0, command);
        }
        if random.once_in(2) {
            delay.hold();
        }
        for _ in 0..random.between(1_u32, 4) {
            match random.below(6_u32) {
                0 => host.write32(offset::CC, 0),
                1 => host.write32(offset::CC, 0x0046_0001 | random.between(1_u32, 2) << 14),
                2 => host.set_bus_master(random.once_in(2)),
                3 => host.function.write(RegionIndex::CONFIG, 0x68, &0x8000_u16.to_le_bytes()),
                4 => {
                    host.function.memory_removed(&Arc::new(GuestMemory::default()));
                }
                _ => {
                    host.function.reset();
                }
            }
            host.pump();
        }
        if random.once_in(4) {
            drop(host);
            delay.release();
            return;
        }
        delay.release();
        start_again(&mut host);
        host.use_disk(0, random.below(255_u8));
    });
    assert!(sled.subsystem.controllers().is_empty());
}

#[test]
fn commands_of_an_earlier_life_are_not_served() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.send(set_feature(1, 3));
    // The core has relayed it, and the controller has not looked at it.
    host.wait_for_event();
    host.write32(offset::CC, 0);
    assert_eq!(host.status() & 1, 0);
    host.enable();
    assert_eq!(host.succeed(get_feature(1, 0)), 7, "the default");
    assert!(host.unexpected.is_empty());
}

#[test]
fn shadow_doorbells_of_an_earlier_life_are_not_touched() {
    // openvmm, pull requests 4011 and 4080: the next driver's memory was overwritten.
    let sled = Sled::with_disk();
    let mut host = sled.host();
    let [shadow, _] = host.use_shadow_doorbells();
    host.create_queue_pair(1);
    let resets: [fn(&mut Host); 3] = [
        |host| host.write32(offset::CC, 0),
        |host| host.function.write(RegionIndex::CONFIG, 0x68, &0x8000_u16.to_le_bytes()),
        |host| assert_eq!(host.function.reset(), Progress::Done),
    ];
    for reset in resets {
        reset(&mut host);
        host.wait("the reset", |host| host.status() & 1 == 0);
        host.memory.write(GuestAddress(shadow), &[0xa5; 8192]);
        host.enable();
        host.create_queue_pair(1);
        host.use_disk(0, 3);
        assert_eq!(host.memory.bytes(GuestAddress(shadow), 8192), [0xa5; 8192]);
        host.use_shadow_doorbells();
    }
}

#[test]
fn memory_with_queues_that_goes_before_the_reset_takes_nothing_along() {
    // spdk, issue 2100: a guest reboots, its memory is unmapped while queues are there.
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    host.use_disk(0, 1);
    assert_eq!(host.function.memory_removed(&Arc::new(GuestMemory::default())), Progress::Done);
    host.write32(0x1000, 5);
    host.write32(0x1008, 9);
    host.pump();
    start_again(&mut host);
    host.use_disk(0, 2);
}

#[test]
fn a_subsystem_without_namespaces_has_as_many_identifiers_as_any() {
    // openvmm, pull request 3740: NN was the highest identifier in use.
    let sled = Sled::new();
    let mut host = sled.host();
    assert_eq!(host.identify(1, 0)[516..520], NAMESPACES_MAX.to_le_bytes());
    host.create_queue_pair(1);
    assert_eq!(host.io(0, read(1, 0)).status.code(), StatusCode::INVALID_FIELD);
}

#[test]
fn clients_that_come_and_go_with_stuck_commands_do_not_disturb_one_that_stays() {
    // spdk, issues 1813 and 2590: a killed VM, and others that are served.
    let (sled, delay) = Sled::slow();
    sled.add(2, disk());
    let mut other = neighbour(&sled);
    delay.hold();
    for _ in 0..8 {
        let mut host = sled.host();
        host.create_queue_pair(1);
        (0..4).for_each(|_| {
            host.send_io(0, read(1, 0));
        });
        drop(host);
        assert_eq!(other.io(0, read(2, 0)).status.code(), StatusCode::SUCCESS);
    }
    assert_eq!(sled.subsystem.controllers().len(), 1);
    delay.release();
    assert_eq!(other.io(0, read(1, 0)).status.code(), StatusCode::SUCCESS);
}

#[test]
fn namespaces_that_change_all_the_time_lose_no_command() {
    let sled = Sled::with_disk();
    let mut host = sled.host();
    host.create_queue_pair(1);
    let subsystem = sled.subsystem.clone();
    let churn = std::thread::spawn(move || {
        for _ in 0..20 {
            let config = luge_nvme_target::NamespaceConfig {
                id: Some(NamespaceId(2)),
                volume: disk(),
                name: "volume2".into(),
                identity: luge_nvme_target::NamespaceIdentity::default(),
            };
            subsystem.add_namespace(config).unwrap();
            subsystem.remove_namespace(NamespaceId(2)).unwrap();
        }
    });
    let mut rounds = 0_u8;
    while !churn.is_finished() {
        host.use_disk(0, rounds);
        let status = host.io(0, read(2, 0)).status.code();
        assert!(matches!(status, StatusCode::SUCCESS | StatusCode::INVALID_FIELD), "{status}");
        rounds = rounds.wrapping_add(1);
        host.pump();
    }
    churn.join().unwrap();
}

#[test]
fn a_client_that_comes_and_goes_while_an_ssd_is_stuck_is_refused_in_the_end_and_served_afterwards() {
    let (sled, delay) = Sled::slow();
    delay.hold();
    let mut lives = 0;
    loop {
        let mut host = sled.connect();
        host.set_admin_queues();
        host.write32(offset::CC, 0x0046_0001);
        if host.status() & 2 != 0 {
            break;
        }
        host.create_queue_pair(1);
        host.send_io(0, read(1, 0));
        let volume = sled.subsystem.namespaces().remove(0).volume;
        lives += 1;
        host.wait("a read in flight", |_| volume.counters().reads == lives);
        assert!(lives < 100, "each life keeps a thread");
    }
    delay.release();
    let mut host = sled.connect();
    host.wait("the end of earlier commands", |host| {
        host.set_admin_queues();
        host.write32(offset::CC, 0);
        host.write32(offset::CC, 0x0046_0001);
        host.status() == 1
    });
    host.create_queue_pair(1);
    host.use_disk(0, 1);
}
